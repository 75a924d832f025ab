//! While a system is fetched, which may take hours: what goes on, what waits, and what is asked again.

use super::*;
use std::time::Duration;

use compliance_checks::command::Command;
use compliance_executor::engine::Job;
use compliance_protocol::gate::GateName;
use compliance_protocol::local::Answer;
use compliance_protocol::time::Timestamp;

use super::drift::expect;
use super::restart::reboot;
use crate::common::run_backup;

/// An order that leaves a lot of time.
fn patient(form: OrderForm) -> OrderForm {
    form.with("max_runtime_s", 86_400).with("start_before", "2026-11-25T00:00:00.000Z")
}

/// What is asked for is done, other than what `keeps` says: that is kept for later.
fn get_on(site: &mut Site, keeps: impl Fn(&Job) -> bool) -> Vec<Job> {
    let mut kept = Vec::new();
    site.rig.engine.tick(site.rig.reading).unwrap();
    loop {
        let jobs = site.rig.engine.take_jobs();
        if jobs.is_empty() {
            return kept;
        }
        for job in jobs {
            if keeps(&job) { kept.push(job) } else { site.rig.run(job) }
        }
    }
}

fn is_fetch(job: &Job) -> bool {
    matches!(job, Job::Effect(permit) if permit.effect().prepares())
}

fn hand_over(site: &mut Site) {
    let ticket = site.rig.ticket();
    let answer = site.rig.plane.answer(&ticket, site.rig.reading.wall);
    assert!(matches!(site.rig.handle(answer), Answer::Feed { fresh: true, .. }));
}

/// The order comes, and its system is being fetched.
fn being_fetched(site: &mut Site, form: &OrderForm) -> Vec<Job> {
    site.rig.plane.issue(form.clone());
    hand_over(site);
    let fetch = get_on(site, is_fetch);
    assert_eq!(fetch.len(), 1, "{:?}", site.rig.about(form));
    assert_eq!(site.rig.status().activation.unwrap().phase, "realising");
    fetch
}

/// So long passes, with a poll at its end, while it is being fetched.
fn hours_pass(site: &mut Site, span: Span) {
    site.rig.pass(span);
    hand_over(site);
    assert!(get_on(site, is_fetch).is_empty(), "it is fetched once");
}

fn is_here(site: &mut Site, fetch: Vec<Job>) {
    for job in fetch {
        site.rig.run(job);
    }
    site.rig.settle();
}

#[test]
fn a_system_that_took_too_long_to_fetch_is_kept_and_not_begun_without_time_for_an_undo() {
    let mut site = Site::new();
    let form = activate(1);
    let fetch = being_fetched(&mut site, &form);
    hours_pass(&mut site, Span::from_secs(3600 - 2520 + 1));
    is_here(&mut site, fetch);
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Failed, "max_runtime")]);
    assert_eq!(site.links(), [OLD, OLD, OLD]);
    assert!(site.machine.lock().unwrap().deadman.is_none());
    let rooted = |argv: &Vec<String>| argv.iter().any(|part| part.ends_with("gcroots/next"));
    assert!(site.rig.host.runs().iter().any(rooted));
    let again = site.order(activate(2).after(&form).issued(site.rig.reading.wall));
    site.minutes(4);
    assert_eq!(site.rig.about(&again), [outcome(Outcome::Success, "activated")]);
}

#[test]
fn what_is_fetched_just_in_time_is_begun() {
    let mut site = Site::new();
    let form = activate(1);
    let fetch = being_fetched(&mut site, &form);
    hours_pass(&mut site, Span::from_secs(3600 - 2520));
    is_here(&mut site, fetch);
    site.minutes(4);
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Success, "activated")]);
}

#[test]
fn what_cannot_be_fetched_in_time_is_not_fetched_for_longer() {
    let mut site = Site::new();
    let form = activate(1);
    let fetch = being_fetched(&mut site, &form);
    hours_pass(&mut site, Span::from_secs(3600 - 2520 - 100));
    is_here(&mut site, fetch);
    let limit = |command: &Command| {
        let argv: Vec<String> = command.argv.clone().into();
        argv.iter().any(|part| part == "--add-root").then_some(command.limit)
    };
    let limits: Vec<_> = site.rig.host.commands().iter().filter_map(limit).collect();
    assert_eq!(limits[0], Duration::from_secs(100));
}

#[test]
fn a_fetch_that_is_ended_by_its_time_is_not_called_missing() {
    let mut site = Site::new();
    let form = activate(1);
    let fetch = being_fetched(&mut site, &form);
    let ended = || Err(HostError::TimedOut { what: "nix-store".to_owned(), limit: Duration::ZERO });
    site.rig.host.install_deed("/old/nix-store", Box::new(move |_, _| ended()));
    hours_pass(&mut site, Span::from_secs(3600 - 2520 + 1));
    is_here(&mut site, fetch);
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Failed, "max_runtime")]);
}

#[test]
fn a_build_that_was_left_by_an_executor_that_is_gone_is_stopped_before_it_is_begun_again() {
    for left in [true, false] {
        let mut site = Site::with(|setup| {
            let switching = setup.switching.as_mut().unwrap();
            switching.nix = "/old/nix".parse().unwrap();
            switching.source = Source::StorePathOrFlake;
        });
        let form = from_a_flake(activate(1));
        being_fetched(&mut site, &form);
        let (_, intent) =
            Ledger::read(&site.rig.ledger_path()).unwrap().open_intents().unwrap().remove(0);
        let build = format!("compliance-build-{}", intent.activation.unwrap().id);
        let state = if left { "active" } else { "inactive" };
        let units = vec![unit(&format!("{build}.service"), "loaded", state, "")];
        site.rig.restart();
        let fetch = get_on(&mut site, is_fetch);
        site.rig.host.set_units(Ok(units));
        let runs = site.rig.host.runs().len();
        for job in fetch {
            site.rig.run(job);
        }
        let since = site.rig.host.runs().split_off(runs);
        let stop = ["/old/systemctl", "stop", "--", &format!("{build}.service")];
        assert_eq!(since[0] == stop, left, "{since:?}");
        let begun = since.iter().find(|argv| argv[0] == "/old/systemd-run").unwrap();
        assert_eq!(begun[1], format!("--unit={build}"));
    }
}

#[test]
fn a_window_that_ends_meanwhile_defers_it_to_the_next_one() {
    let mut site = Site::new();
    let form = patient(activate(1));
    let fetch = being_fetched(&mut site, &form);
    // 10:41 of a window that ends at 11:00.
    hours_pass(&mut site, Span::from_hours(1));
    is_here(&mut site, fetch);
    let deferred = outcome(Outcome::Deferred, "outside_window");
    assert_eq!(site.rig.about(&form), std::slice::from_ref(&deferred));
    let next: Timestamp = "2026-11-21T09:00:00.000Z".parse().unwrap();
    assert_eq!(site.last(&form).retry_after, Some(next));
    assert_eq!(site.links(), [OLD, OLD, OLD]);
    site.rig.pass(next.since(site.rig.reading.wall));
    site.rig.poll();
    site.minutes(4);
    assert_eq!(site.rig.about(&form), [deferred, outcome(Outcome::Success, "activated")]);
}

#[test]
fn start_before_is_asked_when_it_starts_and_not_again_when_it_is_here() {
    let mut site = Site::new();
    let form = activate(1);
    let fetch = being_fetched(&mut site, &form);
    // It was to be started within 15 minutes, and it was.
    hours_pass(&mut site, Span::from_secs(17 * 60));
    is_here(&mut site, fetch);
    site.minutes(4);
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Success, "activated")]);
}

#[test]
fn what_is_deferred_when_start_before_has_passed_is_started_no_more() {
    let mut site = Site::new();
    let form = activate(1).with("max_runtime_s", 86_400);
    let fetch = being_fetched(&mut site, &form);
    hours_pass(&mut site, Span::from_hours(1));
    is_here(&mut site, fetch);
    site.minutes(1);
    let told =
        [outcome(Outcome::Deferred, "outside_window"), outcome(Outcome::Expired, "start_before")];
    assert_eq!(site.rig.about(&form), told);
}

#[test]
fn an_order_that_overrides_the_window_does_so_through_a_restart_while_it_is_fetched() {
    let mut site = Site::with(|setup| setup.windows = Windows::default());
    let form = activate(1).with("when", "now");
    let keys = Keys::default();
    let bytes = form.sign(&[&keys.orders[0], &keys.orders[1]]);
    site.rig.plane.open.push((form.clone(), bytes));
    hand_over(&mut site);
    assert_eq!(get_on(&mut site, is_fetch).len(), 1);
    let started = site.rig.reading.wall;
    hours_pass(&mut site, Span::from_secs(300));
    site.rig.restart();
    site.rig.poll();
    site.minutes(4);
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Success, "activated")]);
    assert_eq!(site.links(), [NEXT, NEXT, NEXT]);
    assert_eq!(site.last(&form).started_at, started, "the bundle tells of all of it");
}

#[test]
fn a_restart_while_it_is_fetched_gives_it_no_more_time_than_it_had() {
    let mut site = Site::new();
    let form = activate(1);
    being_fetched(&mut site, &form);
    hours_pass(&mut site, Span::from_secs(3600 - 2520 + 1));
    site.rig.restart();
    site.rig.poll();
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Failed, "max_runtime")]);
}

#[test]
fn a_power_cut_while_it_is_fetched_ends_it() {
    let mut site = Site::new();
    let form = activate(1);
    being_fetched(&mut site, &form);
    site.rig.reboot();
    site.rig.settle();
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Failed, "interrupted")]);
}

#[test]
fn what_is_fetched_is_not_begun_by_an_executor_that_shall_change_nothing_any_more() {
    type Change = fn(&mut Setup);
    let changes: [Change; 2] = [|setup| setup.dry_run = true, |setup| setup.switching = None];
    for change in changes {
        let mut site = Site::new();
        let form = activate(1);
        being_fetched(&mut site, &form);
        let runs = site.rig.host.runs().len();
        change(&mut site.rig.setup);
        site.rig.restart();
        site.minutes(1);
        assert_eq!(site.rig.about(&form), [outcome(Outcome::Failed, "interrupted")]);
        let stores = site.rig.host.runs().split_off(runs);
        assert!(!stores.iter().any(|argv| argv[0] == "/old/nix-store"), "{stores:?}");
    }
}

#[test]
fn what_is_built_from_a_flake_is_not_begun_again_where_that_is_no_longer_allowed() {
    let mut site = Site::with(|setup| {
        setup.switching.as_mut().unwrap().source = Source::StorePathOrFlake;
    });
    let form = from_a_flake(activate(1));
    being_fetched(&mut site, &form);
    let runs = site.rig.host.runs().len();
    site.rig.setup.switching.as_mut().unwrap().source = Source::StorePath;
    site.rig.restart();
    site.minutes(1);
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Failed, "interrupted")]);
    let builds = site.rig.host.runs().split_off(runs);
    assert!(!builds.iter().any(|argv| argv[0] == "/old/systemd-run"), "{builds:?}");
}

#[test]
fn while_a_system_is_fetched_other_things_are_healed() {
    let mut site = Site::new();
    let form = patient(activate(1));
    let fetch = being_fetched(&mut site, &form);
    let busy = |site: &mut Site| {
        let gates = site.rig.status().gates;
        gates.into_iter().find(|gate| gate.gate == GateName::Busy).unwrap()
    };
    assert!(busy(&mut site).is_open());
    assert_eq!(site.rig.status().doing, Some(format!("activation of {NEXT}")));
    site.rig.age_backup(Span::from_hours(50));
    site.rig.backup_does(site.rig.reading.wall.plus(Span::from_secs(60)), true);
    hours_pass(&mut site, Span::from_secs(60));
    assert_eq!((site.rig.backups_run(), site.rig.because("done").len()), (1, 1));
    is_here(&mut site, fetch);
    assert!(!busy(&mut site).is_open(), "from here on they wait");
    site.minutes(4);
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Success, "activated")]);
}

#[test]
fn an_order_of_another_kind_is_carried_out_meanwhile() {
    let mut site = Site::new();
    let form = patient(activate(1));
    let fetch = being_fetched(&mut site, &form);
    let backup = OrderForm::new(2, &run_backup()).after(&form);
    site.rig.backup_does(site.rig.reading.wall, true);
    site.rig.plane.issue(backup.clone());
    hours_pass(&mut site, Span::from_secs(60));
    assert_eq!(site.rig.about(&backup), [outcome(Outcome::Success, "done")]);
    is_here(&mut site, fetch);
    site.minutes(4);
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Success, "activated")]);
}

#[test]
fn a_heal_that_still_goes_on_when_the_system_is_here_is_waited_for() {
    let mut site = Site::new();
    let form = patient(activate(1));
    let fetch = being_fetched(&mut site, &form);
    site.rig.age_backup(Span::from_hours(50));
    site.rig.backup_does(site.rig.reading.wall.plus(Span::from_secs(300)), true);
    site.rig.pass(Span::from_secs(60));
    let backup = get_on(&mut site, |job| matches!(job, Job::Effect(_)));
    assert_eq!(backup.len(), 1);
    for job in fetch {
        site.rig.run(job);
    }
    site.minutes(4);
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Deferred, "busy")]);
    assert_eq!(site.links(), [OLD, OLD, OLD]);
    for job in backup {
        site.rig.run(job);
    }
    site.minutes(5);
    assert_eq!(site.rig.about(&form)[1..], [outcome(Outcome::Success, "activated")]);
}

#[test]
fn while_a_system_is_fetched_neither_is_another_nor_is_the_machine_restarted() {
    let mut site = Site::new();
    let form = patient(activate(1));
    let fetch = being_fetched(&mut site, &form);
    let mut second = activate(2).after(&form);
    second.0["action"]["store_path"] = OLD.into();
    let restart = reboot().with("sequence", 3).with("id", activate(3).id().to_string());
    let restart = restart.after(&second);
    for form in [&second, &restart] {
        site.rig.plane.issue(form.clone());
    }
    hours_pass(&mut site, Span::from_secs(60));
    for form in [&second, &restart] {
        assert_eq!(site.rig.about(form), [outcome(Outcome::Deferred, "busy")]);
    }
    assert!(restarts(&site).is_empty());
    is_here(&mut site, fetch);
    site.minutes(4);
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Success, "activated")]);
}

#[test]
fn a_pause_that_begins_while_it_is_fetched_holds_up_what_nobody_ordered() {
    let mut site = Site::with(|setup| setup.heal.patching = HealMode::Auto);
    expect(&mut site, OLD);
    site.minutes(1);
    let mut ledger = Ledger::join(&site.rig.ledger_path()).unwrap();
    ledger.commit(|tx| tx.set_fact(Fact::ExpectedSystem, NEXT)).unwrap();
    site.rig.restart();
    hand_over(&mut site);
    let fetch = get_on(&mut site, is_fetch);
    assert_eq!(fetch.len(), 1);
    let until = site.rig.reading.wall.plus(Span::from_hours(1));
    ledger.commit(|tx| tx.set_fact(Fact::PauseUntil, &until.to_string())).unwrap();
    is_here(&mut site, fetch);
    let held = site.rig.because("paused").pop().unwrap();
    assert_eq!((held.outcome, held.retry_after), (Outcome::Deferred, Some(until)));
    assert_eq!(site.links(), [OLD, OLD, OLD]);
}
