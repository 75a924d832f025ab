//! The activation of a system, simulated: every fault at every step, then many at random. Whatever happens,
//! it ends with the old system or the proven new one, what boots is never unproven, and one outcome is on
//! record.
//!
//! `ACTIVATION_RUNS` says how many random runs, `ACTIVATION_SEED` with which first seed; a failure prints the
//! seed that replays it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs
)]

#[path = "activation/bugs.rs"]
mod bugs;
#[path = "activation/look.rs"]
mod look;
#[path = "activation/machine.rs"]
mod machine;
#[path = "activation/run.rs"]
mod run;
#[path = "activation/scenario.rs"]
mod scenario;
#[path = "activation/watch.rs"]
mod watch;

use std::collections::BTreeMap;

use bugs::BUGS;
use compliance_protocol::evidence::Outcome;
use machine::Sys;
use run::{Ran, Violation, run};
use scenario::{BEHAVIOURS, Behaviour, Scenario, faults};

fn number(name: &str, otherwise: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

fn all_plain() -> impl Iterator<Item = Scenario> {
    let classes = [false, true].into_iter();
    classes.flat_map(|reboot| BEHAVIOURS.map(|behaviour| Scenario::plain(reboot, behaviour)))
}

#[test]
fn without_a_fault_a_good_system_stays_and_a_bad_one_goes() {
    for scenario in all_plain() {
        let ran = run(&scenario, None).unwrap_or_else(|Violation(why)| panic!("{why}"));
        // The last look is two minutes after the switch.
        let good = matches!(
            scenario.behaviour,
            Behaviour::Good
                | Behaviour::RestartsExecutor
                | Behaviour::UnitFailsAfter(360_000)
                | Behaviour::Panics(600_000)
        );
        // No switch tells how the script ended, when a boot ran it; nor does one hang.
        let by_boot = matches!(scenario.behaviour, Behaviour::ScriptFails | Behaviour::HangsAfter);
        let expected = match scenario.behaviour {
            _ if good || (scenario.reboot && by_boot) => Outcome::Success,
            Behaviour::NoWayBack if !scenario.reboot => Outcome::Failed,
            _ => Outcome::Reverted,
        };
        let (outcome, reason) = (ran.ending.outcome, &ran.ending.reason);
        assert_eq!(outcome, expected, "{reason}, in {scenario:?}");
    }
}

/// Each fault at each step of a run; what `each` finds is counted.
fn every_fault_at_every_step(mut each: impl FnMut(Scenario)) {
    for plain in all_plain() {
        let steps = run(&plain, None).map_or(60, |ran| ran.steps);
        for step in 1..=steps {
            for fault in faults() {
                each(plain.clone().with(step, fault));
            }
        }
    }
}

#[test]
fn any_one_fault_at_any_step_leaves_the_old_system_or_the_proven_new_one() {
    let mut outcomes = BTreeMap::new();
    let mut violations = Vec::new();
    every_fault_at_every_step(|scenario| match run(&scenario, None) {
        Ok(ran) => *outcomes.entry(told(&ran)).or_insert(0_u32) += 1,
        Err(Violation(why)) => violations.push(why),
    });
    let few = violations.iter().take(5).cloned().collect::<Vec<_>>().join("\n");
    assert!(violations.is_empty(), "{} violations:\n{few}", violations.len());
    let runs = outcomes.values().sum::<u32>();
    println!("figure: {runs} runs with one fault, {} kinds of ending", outcomes.len());
}

/// What the ending says, and which system runs.
fn told(ran: &Ran) -> String {
    let system = if ran.running == Sys::Next { "new" } else { "old" };
    format!("{} {} {system}", ran.ending.outcome.code(), ran.ending.reason)
}

#[test]
fn many_faults_at_random_leave_the_old_system_or_the_proven_new_one() {
    let (runs, first) = (number("ACTIVATION_RUNS", 20_000), number("ACTIVATION_SEED", 1));
    let faults = faults();
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..workers)
            .map(|worker| {
                let faults = &faults;
                scope.spawn(move || {
                    let seeds = (first..first + runs).skip(worker);
                    seeds
                        .step_by(workers)
                        .filter_map(|seed| {
                            let Violation(why) =
                                run(&Scenario::random(seed, faults), None).err()?;
                            Some(format!("ACTIVATION_SEED={seed} ACTIVATION_RUNS=1: {why}"))
                        })
                        .take(5)
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        all.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    println!("figure: {runs} random runs from seed {first}, no violation");
}

#[test]
fn every_planted_bug_is_caught() {
    let faults = faults();
    for bug in BUGS {
        let singles = || {
            let mut caught = 0;
            every_fault_at_every_step(|s| caught += u32::from(run(&s, Some(bug)).is_err()));
            caught
        };
        let plain = all_plain().filter(|s| run(s, Some(bug)).is_err()).count();
        let random =
            || (1..20_000).find(|seed| run(&Scenario::random(*seed, &faults), Some(bug)).is_err());
        let caught = plain > 0 || random().is_some() || singles() > 0;
        assert!(caught, "{bug:?} is not noticed");
    }
}
