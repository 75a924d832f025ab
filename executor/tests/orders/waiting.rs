//! Orders that wait: for the window, for the time to be known, for something else to end; and how waiting
//! ends.

use compliance_executor::engine::Job;
use compliance_protocol::evidence::Outcome;
use compliance_protocol::gate::GateName;
use compliance_protocol::time::{Span, Timestamp};
use compliance_testkit::{OrderForm, T0};

use crate::common::{Rig, SYSTEMCTL, outcome, restart_frontdesk, run_backup, run_checks};

/// A restart that waits for the window, at most until the first of December.
fn patient(sequence: u64) -> OrderForm {
    OrderForm::new(sequence, &restart_frontdesk()).with("start_before", "2026-12-01T00:00:00.000Z")
}

fn deferred(rig: &mut Rig, form: &OrderForm) {
    rig.plane.issue(form.clone());
    rig.poll();
    assert_eq!(rig.about(form), [outcome(Outcome::Deferred, "outside_window")]);
}

#[test]
fn an_order_that_waited_for_the_window_is_carried_out_when_it_opens() {
    let mut rig = Rig::new();
    let form = patient(1);
    deferred(&mut rig, &form);
    let opens: Timestamp = "2026-11-21T02:00:00.000Z".parse().unwrap();
    rig.pass(Span::from_millis(opens.since(T0).as_millis() - 1));
    rig.settle();
    assert_eq!(rig.about(&form).len(), 1, "not a millisecond early");
    rig.pass(Span::from_millis(1));
    rig.settle();
    let story = [outcome(Outcome::Deferred, "outside_window"), outcome(Outcome::Success, "done")];
    assert_eq!(rig.about(&form), story);
    assert_eq!(rig.ran(SYSTEMCTL), 2, "restart, and is it active");
    rig.round();
    assert_eq!(rig.about(&form), story, "once");
}

#[test]
fn waiting_survives_a_restart_and_a_reboot() {
    let mut rig = Rig::new();
    let form = patient(1);
    deferred(&mut rig, &form);
    rig.restart();
    rig.settle();
    rig.pass(Span::from_hours(17));
    rig.reboot();
    // The clock is synchronised, and 17 h are no jump.
    rig.settle();
    let story = [outcome(Outcome::Deferred, "outside_window"), outcome(Outcome::Success, "done")];
    assert_eq!(rig.about(&form), story);
}

#[test]
fn an_order_is_deferred_once_however_often_it_is_looked_at() {
    let mut rig = Rig::new();
    let form = patient(1);
    deferred(&mut rig, &form);
    for _ in 0..20 {
        rig.round();
        rig.poll();
    }
    rig.restart();
    rig.settle();
    assert_eq!(rig.about(&form).len(), 1);
    let bundle = rig.because("outside_window").pop().unwrap();
    assert_eq!(bundle.retry_after.unwrap().to_string(), "2026-11-21T02:00:00.000Z");
    let closed: Vec<_> = bundle.gates.iter().filter(|gate| !gate.is_open()).collect();
    assert_eq!(closed.iter().map(|gate| gate.gate).collect::<Vec<_>>(), [GateName::Window]);
}

#[test]
fn heals_that_come_and_go_do_not_change_why_an_order_waits() {
    let mut rig = Rig::new();
    let form = patient(1);
    deferred(&mut rig, &form);
    for hour in 1..4 {
        rig.pass(Span::from_hours(1));
        rig.age_backup(Span::from_hours(50));
        rig.backup_does(rig.reading.wall, true);
        rig.settle();
        assert_eq!(rig.backups_run(), hour, "a heal");
    }
    assert_eq!(rig.about(&form), [outcome(Outcome::Deferred, "outside_window")]);
}

#[test]
fn an_order_that_the_newest_head_no_longer_lists_is_withdrawn() {
    let mut rig = Rig::new();
    let form = patient(1);
    deferred(&mut rig, &form);
    rig.plane.open.clear();
    rig.poll();
    let story =
        [outcome(Outcome::Deferred, "outside_window"), outcome(Outcome::Expired, "withdrawn")];
    assert_eq!(rig.about(&form), story);
    let last = rig.because("withdrawn").pop().unwrap();
    assert_eq!(last.trigger.order_id, Some(form.id()));
    // Listed again, it stays ended.
    rig.plane.issue(form.clone());
    rig.poll();
    rig.pass(Span::from_hours(17));
    rig.settle();
    assert_eq!(rig.about(&form), story);
    assert_eq!(rig.ran(SYSTEMCTL), 0);
}

#[test]
fn an_order_that_is_started_already_is_not_withdrawn() {
    let mut rig = Rig::new();
    rig.settle();
    let form = OrderForm::new(1, &run_backup());
    rig.plane.issue(form.clone());
    let ticket = rig.ticket();
    let answer = rig.plane.answer(&ticket, rig.reading.wall);
    rig.handle(answer);
    rig.plane.open.clear();
    let ticket = rig.ticket();
    let answer = rig.plane.answer(&ticket, rig.reading.wall);
    rig.handle(answer);
    rig.settle();
    assert_eq!(rig.about(&form), [outcome(Outcome::Success, "done")]);
}

#[test]
fn only_the_newest_head_withdraws_not_one_that_is_refused() {
    let mut rig = Rig::new();
    let form = patient(1);
    deferred(&mut rig, &form);
    let ticket = rig.ticket();
    rig.plane.open.clear();
    let empty = rig.plane.answer(&ticket, rig.reading.wall);
    rig.ticket();
    rig.handle(empty);
    assert_eq!(rig.about(&form).len(), 1);
}

#[test]
fn start_before_over_an_accepted_order_expires() {
    let mut rig = Rig::new();
    let by = T0.plus(Span::from_hours(2)).to_string();
    let form = OrderForm::new(1, &restart_frontdesk()).with("start_before", by);
    deferred(&mut rig, &form);
    rig.pass(Span::from_millis(2 * 3_600_000 - 1));
    rig.settle();
    assert_eq!(rig.about(&form).len(), 1);
    rig.pass(Span::from_millis(1));
    rig.settle();
    let story =
        [outcome(Outcome::Deferred, "outside_window"), outcome(Outcome::Expired, "start_before")];
    assert_eq!(rig.about(&form), story);
}

#[test]
fn an_order_that_was_accepted_in_time_may_start_after_expires_at_until_start_before() {
    let mut rig = Rig::new();
    let form = patient(1);
    deferred(&mut rig, &form);
    rig.pass(Span::from_hours(17)); // expires_at was 15 minutes after its issue
    rig.settle();
    assert_eq!(rig.about(&form).last(), Some(&outcome(Outcome::Success, "done")));
}

#[test]
fn without_start_before_an_order_waits_until_expires_at() {
    let mut rig = Rig::new();
    let form = OrderForm::new(1, &restart_frontdesk());
    deferred(&mut rig, &form);
    rig.pass(Span::from_secs(900));
    rig.settle();
    assert_eq!(rig.about(&form).last(), Some(&outcome(Outcome::Expired, "start_before")));
}

#[test]
fn what_is_not_disruptive_does_not_wait_for_the_window() {
    let mut rig = Rig::with(|setup| {
        if let Ok(baseline) = &mut setup.baseline {
            let text = serde_json::to_string(&*baseline).unwrap();
            let text = text.replace(r#""disruptive":true"#, r#""disruptive":false"#);
            *baseline = serde_json::from_str(&text).unwrap();
        }
    });
    let form = OrderForm::new(1, &restart_frontdesk());
    rig.plane.issue(form.clone());
    rig.poll();
    assert_eq!(rig.about(&form), [outcome(Outcome::Success, "done")]);
}

#[test]
fn one_thing_is_done_at_a_time_in_ascending_sequence() {
    let mut rig = Rig::new();
    rig.settle();
    let one = OrderForm::new(1, &run_backup());
    let two = OrderForm::new(2, &run_backup()).after(&one);
    rig.plane.issue(one.clone());
    rig.plane.issue(two.clone());
    let ticket = rig.ticket();
    let answer = rig.plane.answer(&ticket, rig.reading.wall);
    rig.handle(answer);
    let jobs = rig.engine.take_jobs();
    assert!(matches!(jobs[..], [Job::Effect(_)]), "{jobs:?}");
    assert_eq!(rig.about(&two), [outcome(Outcome::Deferred, "busy")]);
    rig.backup_does(T0.plus(Span::from_secs(1)), true);
    for job in jobs {
        rig.run(job);
    }
    rig.backup_does(T0.plus(Span::from_secs(2)), true);
    rig.settle();
    assert_eq!(rig.about(&one), [outcome(Outcome::Success, "done")]);
    let story = [outcome(Outcome::Deferred, "busy"), outcome(Outcome::Success, "done")];
    assert_eq!(rig.about(&two), story);
}

#[test]
fn an_order_that_must_be_signed_by_others_now_is_refused_when_it_is_to_start() {
    let mut rig = Rig::new();
    let form = patient(1);
    deferred(&mut rig, &form);
    // The next trust file names another key for orders.
    let mut next = rig.plane.keys.trust();
    next.version = 2;
    let other = compliance_signing::PrivateKey::from_seed(&[40; 32]).unwrap();
    let keys = vec![rig.plane.keys.orders[1].public(), other.public()];
    next.roles.orders.any = compliance_protocol::key::KeySet::new(keys, 1).unwrap();
    let envelope = compliance_signing::sign(&next, &[&rig.plane.keys.root]).unwrap();
    let envelope: serde_json::Value = serde_json::from_slice(&envelope).unwrap();
    let update = serde_json::json!({ "type": "update_trust", "envelope": envelope });
    let update = OrderForm::new(2, &update).after(&form);
    rig.plane.issue(update.clone());
    rig.poll();
    assert_eq!(rig.about(&update), [outcome(Outcome::Success, "trust_updated")]);
    rig.settle();
    assert_eq!(rig.about(&form).last(), Some(&outcome(Outcome::Rejected, "bad_signature")));
    assert_eq!(rig.ran(SYSTEMCTL), 0);
}

#[test]
fn an_effect_waits_for_the_first_look_and_an_order_to_look_does_not() {
    let mut rig = Rig::new();
    let look = OrderForm::new(1, &run_checks());
    let form = OrderForm::new(2, &run_backup()).after(&look);
    rig.plane.issue(look.clone());
    rig.plane.issue(form.clone());
    let ticket = rig.ticket();
    let answer = rig.plane.answer(&ticket, rig.reading.wall);
    rig.handle(answer);
    assert_eq!(rig.status().waiting.len(), 1);
    assert_eq!(rig.status().waiting[0].reason, "first_look");
    assert_eq!(rig.backups_run(), 0);
    rig.settle();
    assert_eq!(rig.about(&look), [outcome(Outcome::Success, "checked")]);
    assert_eq!(rig.about(&form), [outcome(Outcome::Success, "done")]);
    let bundle = rig.because("done").pop().unwrap();
    assert!(bundle.pre["records"]["finished_at"].is_string(), "{:?}", bundle.pre);
    assert_ne!(bundle.pre["records"]["finished_at"], bundle.post["records"]["finished_at"]);
}
