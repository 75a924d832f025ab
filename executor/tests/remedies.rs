//! Remedies of services, firewall and logging: what is done, what proves it, and what takes it back.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod common;

use std::sync::{Arc, Mutex};

use common::{ROUND, Rig, SYSTEMCTL, Setup, outcome};
use compliance_checks::baseline::Section;
use compliance_checks::command::Output;
use compliance_checks::firewall;
use compliance_checks::host::UnitState;
use compliance_executor::config::HealMode;
use compliance_executor::engine::Job;
use compliance_protocol::evidence::{Bundle, Outcome, State, StepResult};
use compliance_protocol::time::{Span, Timestamp};
use compliance_testkit::host::{silent_success, unit};
use compliance_testkit::{FakeHost, OrderForm};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn section<T: DeserializeOwned>(written: Value) -> Section<T> {
    Section::Expected(serde_json::from_value(written).unwrap())
}

/// What was done, in order.
fn deeds(rig: &Rig) -> Vec<Bundle> {
    let mut all = rig.evidence();
    all.retain(|bundle| !bundle.actions.is_empty());
    all
}

fn issue(rig: &mut Rig, sequence: u64, action: &Value) -> OrderForm {
    let form = OrderForm::new(sequence, action);
    rig.plane.issue(form.clone());
    form
}

fn pass(rig: &mut Rig, span: Span) {
    for _ in 0..span.as_millis() / ROUND.as_millis() {
        rig.round();
    }
}

mod services {
    use super::*;

    const UNIT: &str = "records.service";

    /// An appliance with one critical unit, seen to be up.
    fn settled(disruptive: bool) -> Rig {
        let units = json!({ "units": [{ "unit": UNIT, "disruptive": disruptive }] });
        let mut rig = Rig::with(|setup| {
            setup.heal.settle_s = 10;
            setup.baseline.as_mut().unwrap().services = section(units);
        });
        is(&rig, "active", "running");
        rig.settle();
        assert_eq!(rig.status().checks[1].state, State::Compliant);
        rig
    }

    fn is(rig: &Rig, active: &str, sub: &str) {
        rig.host.set_units(Ok(vec![unit(UNIT, "loaded", active, sub)]));
    }

    fn verbs(rig: &Rig) -> Vec<String> {
        let ours = rig.host.runs().into_iter().filter(|argv| argv[0] == SYSTEMCTL);
        ours.map(|argv| format!("{} {}", argv[2], argv[4])).collect()
    }

    #[test]
    fn a_unit_that_failed_is_restarted_and_counts_as_healed_only_once_it_stayed_up() {
        let mut rig = settled(false);
        is(&rig, "failed", "failed");
        rig.round();
        assert_eq!(verbs(&rig), ["restart records.service", "is-active records.service"]);
        assert!(rig.story().is_empty(), "it has not stayed up yet: {:?}", rig.story());
        assert_eq!(rig.status().doing.as_deref(), Some("restart of records.service"));
        is(&rig, "active", "running");
        rig.pass(Span::from_secs(9));
        rig.settle();
        assert!(rig.story().is_empty());
        rig.pass(Span::from_secs(1));
        rig.settle();
        assert_eq!(rig.story(), [outcome(Outcome::Success, "done")]);
        let bundle = deeds(&rig).pop().unwrap();
        assert_eq!((bundle.findings.len(), bundle.state), (1, Some(State::Compliant)));
    }

    #[test]
    fn a_unit_that_falls_over_again_was_not_healed_and_the_next_attempts_come_later_and_later() {
        let mut rig = settled(false);
        is(&rig, "failed", "failed");
        let mut waits = Vec::new();
        let mut last = rig.reading.wall;
        for _ in 0..3 {
            let before = verbs(&rig).len();
            while verbs(&rig).len() == before {
                rig.round();
            }
            waits.push(rig.reading.wall.since(last).as_millis() / 1000);
            last = rig.reading.wall;
        }
        assert_eq!(waits, [15, 135, 255], "the interval, and twice as long after each failure");
        pass(&mut rig, Span::from_hours(12));
        let story = rig.story();
        assert_eq!(verbs(&rig).len(), 6, "and then somebody must look");
        assert_eq!(
            story.iter().filter(|o| **o == outcome(Outcome::Failed, "not_healed")).count(),
            3
        );
        assert_eq!(story.last(), Some(&outcome(Outcome::Alert, "breaker_open")));
    }

    #[test]
    fn a_unit_that_is_between_two_automatic_restarts_has_not_been_healed() {
        let mut rig = settled(false);
        is(&rig, "failed", "failed");
        rig.round();
        is(&rig, "activating", "auto-restart");
        rig.round();
        assert_eq!(rig.story(), [outcome(Outcome::Failed, "not_healed")]);
    }

    #[test]
    fn a_unit_that_flaps_or_cannot_be_started_is_told_and_not_restarted() {
        for wrong in [
            UnitState { restarts: 3, ..unit(UNIT, "loaded", "active", "running") },
            unit(UNIT, "masked", "inactive", "dead"),
            unit(UNIT, "not-found", "inactive", "dead"),
            unit(UNIT, "bad-setting", "inactive", "dead"),
        ] {
            let mut rig = settled(false);
            rig.host.set_units(Ok(vec![wrong.clone()]));
            rig.round();
            assert_eq!(rig.story(), [outcome(Outcome::Alert, "drift")], "{wrong:?}");
            assert!(verbs(&rig).is_empty(), "{wrong:?}");
        }
        let mut rig = settled(false);
        let failed = unit(UNIT, "loaded", "failed", "failed");
        rig.host.set_units(Ok(vec![UnitState { restarts: 3, ..failed }]));
        rig.round();
        assert_eq!(verbs(&rig).len(), 2, "one that flapped until it was down is started again");
    }

    #[test]
    fn a_restart_that_interrupts_people_waits_for_the_window() {
        let mut rig = settled(true);
        is(&rig, "inactive", "dead");
        rig.round();
        assert_eq!(rig.story(), [outcome(Outcome::Deferred, "drift")]);
        let held = rig.because("drift").pop().unwrap();
        assert_eq!(held.retry_after.unwrap().to_string(), "2026-11-21T02:00:00.000Z");
        assert!(verbs(&rig).is_empty());
        let until: Timestamp = "2026-11-21T02:00:00.000Z".parse().unwrap();
        rig.pass(until.since(rig.reading.wall));
        rig.settle();
        assert_eq!(verbs(&rig).len(), 2);
    }

    #[test]
    fn a_dry_run_says_once_what_it_would_do_and_does_nothing() {
        let units = json!({ "units": [{ "unit": UNIT }] });
        let mut rig = Rig::with(|setup| {
            setup.dry_run = true;
            setup.baseline.as_mut().unwrap().services = section(units);
        });
        is(&rig, "failed", "failed");
        pass(&mut rig, Span::from_secs(300));
        assert_eq!(rig.story(), [outcome(Outcome::Alert, "dry_run")]);
        let form = issue(&mut rig, 1, &json!({ "type": "restart_service", "unit": UNIT }));
        rig.poll();
        assert_eq!(rig.about(&form), [outcome(Outcome::Alert, "dry_run")]);
        for bundle in deeds(&rig) {
            let steps: Vec<_> = bundle.actions.iter().map(|a| (&*a.name, a.result)).collect();
            let would = StepResult::Would;
            assert_eq!(steps, [("restart_unit", would), ("unit_is_active", would)]);
        }
        assert!(verbs(&rig).is_empty());
    }
}

mod logging {
    use super::*;

    const FORWARDER: &str = "vector.service";

    fn settled() -> Rig {
        let logging = json!({ "persistent": false, "forwarders": [FORWARDER] });
        let mut rig = Rig::with(|setup| {
            setup.heal.settle_s = 10;
            let baseline = setup.baseline.as_mut().unwrap();
            baseline.logging = section(logging);
            baseline.services = section(json!({ "units": [] }));
        });
        rig.host.set_synchronised(true);
        rig.host.write("/usr/bin/journalctl", "");
        rig.host.set_journal(None);
        is(&rig, "active");
        rig.settle();
        assert_eq!(rig.status().checks[4].state, State::Compliant, "{:?}", rig.status().checks[4]);
        rig
    }

    fn is(rig: &Rig, active: &str) {
        rig.host.set_units(Ok(vec![unit(FORWARDER, "loaded", active, "x")]));
    }

    fn restarted(rig: &Rig) -> Vec<String> {
        let ours =
            rig.host.runs().into_iter().filter(|argv| argv.get(2).is_some_and(|v| v == "restart"));
        ours.map(|argv| argv[4].clone()).collect()
    }

    #[test]
    fn a_forwarder_that_is_down_is_restarted() {
        let mut rig = settled();
        is(&rig, "inactive");
        rig.round();
        assert_eq!(restarted(&rig), [FORWARDER]);
        is(&rig, "active");
        rig.round();
        assert_eq!(rig.story(), [outcome(Outcome::Success, "done")]);
        assert_eq!(deeds(&rig)[0].check.as_deref(), Some("logging"));
    }

    #[test]
    fn a_folder_that_no_restart_makes_is_one_alert_and_restarts_nothing() {
        let mut rig = Rig::with(|setup| {
            let baseline = setup.baseline.as_mut().unwrap();
            baseline.logging = section(json!({ "persistent": true }));
            baseline.services = section(json!({ "units": [] }));
        });
        rig.host.set_synchronised(true);
        rig.host.write("/usr/bin/journalctl", "");
        rig.host.set_journal(None);
        pass(&mut rig, Span::from_secs(600));
        assert_eq!(rig.story(), [outcome(Outcome::Alert, "drift")]);
        assert_eq!(rig.because("drift")[0].findings[0].subject, "journal storage");
        assert_eq!(restarted(&rig), [""; 0]);
    }

    #[test]
    fn a_journal_that_loses_entries_is_restarted_and_found_to_record_again() {
        let mut rig = settled();
        rig.host.install("/usr/bin/journalctl", Box::new(|_| silent_success()));
        while restarted(&rig).is_empty() {
            rig.round();
        }
        assert_eq!(restarted(&rig), ["systemd-journald.service"]);
        // The restart helped: what is written now is found.
        rig.host.remove_program("/usr/bin/journalctl");
        rig.round();
        assert_eq!(rig.story(), [outcome(Outcome::Success, "done")]);
    }
}

mod firewall_load {
    use super::*;

    /// What the kernel's ruleset is: the fake nft lists and loads it.
    type Kernel = Arc<Mutex<(String, u32)>>;

    const GOOD: &str = r#"{"nftables":[{"metainfo":{"version":"1.1.3","release_name":"x","json_schema_version":1}},
        {"table":{"family":"inet","name":"filter","handle":1}},
        {"chain":{"family":"inet","table":"filter","name":"in","handle":1,"type":"filter","hook":"input","prio":0,"policy":"drop"}}]}"#;

    fn opened() -> String {
        GOOD.replace("\"drop\"", "\"accept\"")
    }

    const TEXT: &str = "table inet filter {\n}\n";

    fn install(host: &FakeHost, kernel: &Kernel) {
        host.write("/usr/sbin/nft", "");
        let kernel = Arc::clone(kernel);
        host.install_deed(
            "/usr/sbin/nft",
            Box::new(move |host, arguments| {
                let mut kernel = kernel.lock().unwrap();
                let said = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                    ["-j", "-s", "-n", "list", "ruleset"] => kernel.0.clone(),
                    ["-s", "list", "ruleset"] if kernel.0 == GOOD => TEXT.to_owned(),
                    ["-s", "list", "ruleset"] => format!("{TEXT}#open\n"),
                    ["-c", "-f", "-"] => String::new(),
                    ["-f", "-"] => {
                        let input = host.commands().pop().unwrap().input;
                        let script = String::from_utf8(input).unwrap();
                        assert!(
                            script.starts_with("add table inet filter\ndelete table inet filter\n")
                        );
                        *kernel = (
                            if script.contains("#open") { opened() } else { GOOD.to_owned() },
                            kernel.1 + 1,
                        );
                        String::new()
                    }
                    _ => panic!("{arguments:?}"),
                };
                Ok(Output { code: Some(0), stdout: said.into_bytes(), stderr: Vec::new() })
            }),
        );
    }

    /// An appliance whose firewall is the baseline's.
    fn settled() -> (Rig, Kernel) {
        settled_with(HealMode::Auto)
    }

    fn settled_with(mode: HealMode) -> (Rig, Kernel) {
        settled_where(mode, |_| ())
    }

    fn settled_where(mode: HealMode, change: impl FnOnce(&mut Setup)) -> (Rig, Kernel) {
        let kernel = Arc::new(Mutex::new((GOOD.to_owned(), 1)));
        let host = FakeHost::default();
        install(&host, &kernel);
        let captured = firewall::capture(&host).expected.unwrap();
        let mut rig = Rig::with(|setup: &mut Setup| {
            let baseline = setup.baseline.as_mut().unwrap();
            baseline.firewall = Section::Expected(captured);
            setup.heal.firewall = mode;
            baseline.services = section(json!({ "units": [] }));
            change(setup);
        });
        rig.host.set_units(Ok(Vec::<UnitState>::new()));
        install(&rig.host, &kernel);
        rig.settle();
        assert_eq!(rig.status().checks[3].state, State::Compliant, "{:?}", rig.status().checks);
        (rig, kernel)
    }

    fn open(kernel: &Kernel) {
        let mut kernel = kernel.lock().unwrap();
        *kernel = (opened(), kernel.1 + 1);
    }

    fn is_good(kernel: &Kernel) -> bool {
        kernel.lock().unwrap().0 == GOOD
    }

    /// Adds a rule to the chain that the baseline has without any.
    fn add_rule(kernel: &Kernel) {
        let mut kernel = kernel.lock().unwrap();
        let handle = kernel.1 + 10;
        let rule = format!(
            r#",{{"rule":{{"family":"inet","table":"filter","chain":"in","handle":{handle},"expr":[{{"accept":null}}]}}}}]}}"#
        );
        *kernel = (format!("{}{rule}", kernel.0.strip_suffix("]}").unwrap()), kernel.1 + 1);
    }

    #[test]
    fn each_further_change_of_a_chain_that_has_drifted_already_leaves_evidence() {
        let (mut rig, kernel) = settled_with(HealMode::Order);
        for changes in 1..=3 {
            add_rule(&kernel);
            pass(&mut rig, Span::from_secs(60));
            // A transaction that changes nothing is no change.
            kernel.lock().unwrap().1 += 1;
            pass(&mut rig, Span::from_secs(60));
            assert_eq!(rig.story(), vec![outcome(Outcome::Alert, "drift"); changes]);
        }
        let told = rig.because("drift");
        let findings: std::collections::BTreeSet<_> =
            told.iter().map(|b| (&b.findings[0].subject, &b.findings[0].expected)).collect();
        assert_eq!(findings.len(), 1, "all about the same chain");
    }

    #[test]
    fn a_changed_ruleset_is_replaced_in_one_transaction_and_a_poll_through_it_proves_it() {
        let (mut rig, kernel) = settled();
        open(&kernel);
        rig.round();
        assert!(is_good(&kernel));
        assert!(rig.story().is_empty(), "no poll got through yet: {:?}", rig.story());
        rig.poll();
        assert_eq!(rig.story(), [outcome(Outcome::Success, "done")]);
        let bundle = deeds(&rig).pop().unwrap();
        let steps: Vec<_> = bundle.actions.iter().map(|action| action.name.as_str()).collect();
        assert_eq!(steps, ["keep_ruleset", "check_undo", "check_ruleset", "load_ruleset"]);
        assert!(bundle.rollback.available && !bundle.rollback.performed);
        // Proven once, it need not be again.
        assert!(rig.host.runs().iter().all(|argv| argv[0] != SYSTEMCTL));
        open(&kernel);
        pass(&mut rig, Span::from_secs(120));
        assert!(is_good(&kernel));
        assert_eq!(rig.story().last(), Some(&outcome(Outcome::Success, "done")));
    }

    #[test]
    fn the_unit_that_fills_the_sets_is_started_at_once_and_without_it_the_ruleset_stays_loaded() {
        for fills in [true, false] {
            let (mut rig, kernel) = settled_where(HealMode::Auto, |setup| {
                setup.fills_sets = Some("egress.service".parse().unwrap());
            });
            if !fills {
                let fails = || silent_success().map(|it| Output { code: Some(1), ..it });
                rig.host.install(SYSTEMCTL, Box::new(move |_| fails()));
            }
            open(&kernel);
            rig.round();
            rig.poll();
            assert!(is_good(&kernel));
            assert_eq!(rig.story(), [outcome(Outcome::Success, "done")]);
            let last = deeds(&rig).pop().unwrap().actions.pop().unwrap();
            assert_eq!((last.name.as_str(), last.target.as_str()), ("fill_sets", "egress.service"));
            assert_eq!(last.result, if fills { StepResult::Done } else { StepResult::Failed });
            let started = [SYSTEMCTL, "--quiet", "--no-block", "start", "--", "egress.service"];
            let runs = rig.host.runs();
            let started = runs.iter().position(|argv| *argv == started).unwrap();
            let loaded = runs.iter().position(|argv| {
                argv.ends_with(&["-f".into(), "-".into()]) && !argv.contains(&"-c".into())
            });
            assert_eq!(loaded.map(|at| at + 1), Some(started), "nothing is done between");
        }
    }

    /// The agent asks for a ticket each minute, and no poll gets through.
    fn polls_fail(rig: &mut Rig, minutes: i64) {
        for _ in 0..minutes {
            let _ = rig.ticket();
            pass(rig, Span::from_secs(60));
        }
    }

    #[test]
    fn a_ruleset_that_lets_no_poll_through_is_taken_back_once() {
        let (mut rig, kernel) = settled();
        open(&kernel);
        rig.round();
        polls_fail(&mut rig, 9);
        assert!(is_good(&kernel) && rig.story().is_empty());
        polls_fail(&mut rig, 2);
        assert!(!is_good(&kernel));
        assert_eq!(rig.story(), [outcome(Outcome::Reverted, "no_poll_through")]);
        let bundle = deeds(&rig).pop().unwrap();
        assert_eq!(bundle.actions.last().unwrap().name, "undo_ruleset");
        assert!(bundle.rollback.performed);
        // The control plane may be gone for another reason: the next time it stays.
        polls_fail(&mut rig, 20);
        assert!(is_good(&kernel));
        assert_eq!(rig.story().last(), Some(&outcome(Outcome::Success, "done")));
    }

    #[test]
    fn as_long_as_no_poll_was_tried_the_ruleset_stays_but_not_for_ever() {
        let (mut rig, kernel) = settled();
        open(&kernel);
        rig.round();
        pass(&mut rig, Span::from_secs(74 * 60));
        assert!(is_good(&kernel) && rig.story().is_empty());
        pass(&mut rig, Span::from_secs(120));
        assert!(!is_good(&kernel));
        assert_eq!(rig.story()[0], outcome(Outcome::Reverted, "no_poll_through"));
    }

    #[test]
    fn what_somebody_else_loaded_meanwhile_is_left_alone() {
        let (mut rig, kernel) = settled();
        open(&kernel);
        rig.round();
        let other = GOOD.replace("\"prio\":0", "\"prio\":10");
        *kernel.lock().unwrap() = (other.clone(), 77);
        polls_fail(&mut rig, 11);
        assert_eq!(rig.story()[0], outcome(Outcome::Failed, "superseded"));
        assert!(!rig.evidence().iter().flat_map(|b| &b.actions).any(|a| a.name == "undo_ruleset"));
    }

    #[test]
    fn a_ruleset_that_nobody_can_see_is_neither_proven_nor_taken_back() {
        let (mut rig, kernel) = settled();
        open(&kernel);
        rig.round();
        let nft = rig.host.take_deed("/usr/sbin/nft");
        kernel.lock().unwrap().1 += 1;
        polls_fail(&mut rig, 30);
        let unknown = rig.because("unknown");
        assert!(unknown.iter().all(|bundle| bundle.check.as_deref() != Some("firewall")));
        assert!(is_good(&kernel) && rig.story().is_empty(), "{:?}", rig.story());
        rig.host.install_deed("/usr/sbin/nft", nft);
        rig.poll();
        polls_fail(&mut rig, 2);
        assert_eq!(rig.story()[0], outcome(Outcome::Success, "done"));
    }

    #[test]
    fn a_crash_at_any_moment_of_the_proof_ends_in_a_proof_or_in_an_undo() {
        for minutes in [0, 5, 9] {
            let (mut rig, kernel) = settled();
            open(&kernel);
            rig.round();
            polls_fail(&mut rig, minutes);
            assert!(is_good(&kernel), "{minutes}");
            rig.restart();
            polls_fail(&mut rig, 9);
            assert!(is_good(&kernel) && rig.story().is_empty(), "{minutes}: {:?}", rig.story());
            polls_fail(&mut rig, 2);
            assert!(!is_good(&kernel), "{minutes}");
            assert_eq!(rig.story()[0], outcome(Outcome::Reverted, "no_poll_through"), "{minutes}");
        }
    }

    #[test]
    fn after_a_crash_what_somebody_else_loaded_is_not_replaced_by_what_was_kept_long_ago() {
        let (mut rig, kernel) = settled();
        open(&kernel);
        // The intent is on disk, and the process ends before anything is done.
        rig.pass(ROUND);
        rig.engine.tick(rig.reading).unwrap();
        for job in rig.engine.take_jobs() {
            rig.run(job);
        }
        assert!(matches!(rig.engine.take_jobs()[..], [Job::Effect(_)]));
        std::fs::write(rig.dir.path().join("firewall-before.nft"), TEXT).unwrap();
        let other = GOOD.replace("\"prio\":0", "\"prio\":10");
        *kernel.lock().unwrap() = (other.clone(), 77);
        rig.restart();
        rig.settle();
        assert_eq!(rig.story(), [outcome(Outcome::Failed, "interrupted")]);
        assert!(!rig.evidence().iter().flat_map(|b| &b.actions).any(|a| a.name == "undo_ruleset"));
    }

    #[test]
    fn an_order_loads_the_ruleset_of_the_baseline_in_force_and_of_no_other() {
        let (mut rig, kernel) = settled();
        rig.poll();
        let load = |sha256: &str| json!({ "type": "restore_firewall", "baseline_sha256": sha256 });
        let other = issue(&mut rig, 1, &load(&"ab".repeat(32)));
        rig.poll();
        assert_eq!(rig.about(&other), [outcome(Outcome::Rejected, "bad_parameter")]);
        let ours = rig.evidence().iter().find_map(|bundle| bundle.baseline_sha256).unwrap();
        let form = OrderForm::new(2, &load(&ours.to_string())).after(&other);
        rig.plane.issue(form.clone());
        rig.poll();
        assert_eq!(rig.about(&form), [outcome(Outcome::Success, "done")]);
        assert!(is_good(&kernel));
    }
}

#[test]
fn only_units_that_the_baseline_lists_are_restarted() {
    let mut rig = Rig::new();
    rig.settle();
    let form = issue(&mut rig, 1, &json!({ "type": "restart_service", "unit": "sshd.service" }));
    rig.poll();
    assert_eq!(rig.about(&form), [outcome(Outcome::Rejected, "bad_parameter")]);
    assert_eq!(rig.ran(SYSTEMCTL), 0);
}
