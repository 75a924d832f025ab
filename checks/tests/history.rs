//! Random histories of hosts: what is harmless is never drift, what is harmful is never missed.
//!
//! Each check has its own machine in `history/`, which lives through random events; a check that joins adds
//! a file there and a line to each list below. A failing history is printed, shortened, with its seed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::assigning_clones,     // These are short words,
    clippy::format_push_string,   // and short tables.
    missing_docs
)]

mod given;
#[path = "history/backups.rs"]
mod of_backups;
#[path = "history/encryption.rs"]
mod of_encryption;
#[path = "history/firewall.rs"]
mod of_firewall;
#[path = "history/logging.rs"]
mod of_logging;
#[path = "history/patching.rs"]
mod of_patching;
#[path = "history/services.rs"]
mod of_services;

use compliance_checks::baseline::Baseline;
use compliance_checks::{Check, Circumstances, Host, Verdict};
use compliance_protocol::clock::{ClockSource, TrustedNow};
use compliance_protocol::name::StorePath;
use compliance_protocol::time::{Span, Timestamp};
use proptest::prelude::*;
use serde_json::Value;

/// A machine as one check sees it.
trait Machine: Default {
    /// How many kinds of harm there are.
    const HARMS: usize;

    /// In which round after it harm is known at the latest.
    const KNOWN_AFTER: usize = 1;

    /// A check that has seen nothing yet.
    fn check() -> impl Check;

    /// The parts of the baseline that it is judged by.
    fn baseline() -> Value;

    /// Something harmless happens. What, is up to `event`.
    fn live(&mut self, event: Event);

    /// Something harmful happens, of the given kind.
    fn harm(&mut self, kind: usize, event: Event);

    /// The time until the next round after harm passes, and the harm goes on.
    fn suffer(&mut self, _kind: usize) {}

    /// Shows what can be seen of it now.
    fn show(&self, look: &mut dyn FnMut(&dyn Host));

    /// The time there.
    fn now(&self) -> Timestamp {
        START
    }

    /// How long it is up.
    fn uptime(&self) -> Span {
        Span::from_hours(1)
    }

    /// The system that should run.
    fn expected_system(&self) -> Option<StorePath> {
        None
    }
}

/// When all machines begin.
const START: Timestamp = Timestamp::from_millis(1_795_167_671_000);

/// What chance gives to an event.
#[derive(Debug, Clone, Copy)]
struct Event {
    kind: u8,
    amount: u32,
}

impl Event {
    /// One of `n`.
    fn one_of(self, n: u8) -> u8 {
        self.kind % n
    }

    /// A number below `n`.
    fn below(self, n: u32) -> u32 {
        self.amount % n
    }
}

fn events(most: usize) -> impl Strategy<Value = Vec<Event>> {
    proptest::collection::vec(event(), 0..=most)
}

fn event() -> impl Strategy<Value = Event> {
    any::<(u8, u32)>().prop_map(|(kind, amount)| Event { kind, amount })
}

/// A check on its machine, from round to round.
struct Life<M, C> {
    machine: M,
    check: C,
    baseline: Baseline,
    rounds: u128,
}

impl<M: Machine> Life<M, ()> {
    fn begin() -> Life<M, impl Check> {
        let baseline = given::baseline(&M::baseline());
        Life { machine: M::default(), check: M::check(), baseline, rounds: 0 }
    }
}

impl<M: Machine, C: Check> Life<M, C> {
    fn round(&mut self) -> Verdict {
        self.rounds += 1;
        let about = Circumstances {
            now: TrustedNow::Known { at: self.machine.now(), source: ClockSource::Kernel },
            uptime: self.machine.uptime(),
            expected_system: self.machine.expected_system(),
            nonce: self.rounds.to_be_bytes(),
        };
        let (check, baseline, mut verdict) = (&mut self.check, &self.baseline, None);
        self.machine.show(&mut |host| verdict = Some(check.run(host, baseline, &about).verdict));
        verdict.unwrap()
    }

    /// The machine is compliant after each event.
    fn is_well(&mut self, events: &[Event]) {
        for event in events {
            self.machine.live(*event);
            assert_eq!(self.round(), Verdict::Compliant, "after {event:?}");
        }
    }
}

fn lives_well<M: Machine>(events: &[Event]) {
    Life::<M, ()>::begin().is_well(events);
}

/// The harm is known in time, and still is in the round after.
fn is_harmed<M: Machine>(before: &[Event], kind: usize, event: Event) {
    let (mut life, kind) = (Life::<M, ()>::begin(), kind % M::HARMS);
    life.is_well(before);
    assert_eq!(life.round(), Verdict::Compliant);
    life.machine.harm(kind, event);
    let is_drift = |verdict: &Verdict| matches!(verdict, Verdict::Drifted(_));
    let mut verdicts = Vec::new();
    while verdicts.len() < M::KNOWN_AFTER && !verdicts.last().is_some_and(is_drift) {
        verdicts.push(life.round());
        life.machine.suffer(kind);
    }
    verdicts.push(life.round());
    let known = verdicts.iter().rev().take(2).filter(|verdict| is_drift(verdict)).count();
    assert_eq!(known, 2, "{kind}: {verdicts:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn harmless_histories_of_systems_are_never_drift(events in events(9)) {
        lives_well::<of_patching::Nixos>(&events);
    }

    #[test]
    fn harmless_histories_of_units_are_never_drift(events in events(9)) {
        lives_well::<of_services::Units>(&events);
    }

    #[test]
    fn harmless_histories_of_backups_are_never_drift(events in events(9)) {
        lives_well::<of_backups::Jobs>(&events);
    }

    #[test]
    fn harmless_histories_of_rulesets_are_never_drift(events in events(3)) {
        lives_well::<of_firewall::Ruleset>(&events);
    }

    #[test]
    fn harmless_histories_of_journals_are_never_drift(events in events(9)) {
        lives_well::<of_logging::Journal>(&events);
    }

    #[test]
    fn harmless_histories_of_volumes_are_never_drift(events in events(9)) {
        lives_well::<of_encryption::Volumes>(&events);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn no_harm_to_systems_is_missed(before in events(9), kind in 0..100_usize, event in event()) {
        is_harmed::<of_patching::Nixos>(&before, kind, event);
    }

    #[test]
    fn no_harm_to_units_is_missed(before in events(9), kind in 0..100_usize, event in event()) {
        is_harmed::<of_services::Units>(&before, kind, event);
    }

    #[test]
    fn no_harm_to_backups_is_missed(before in events(9), kind in 0..100_usize, event in event()) {
        is_harmed::<of_backups::Jobs>(&before, kind, event);
    }

    #[test]
    fn no_harm_to_rulesets_is_missed(before in events(3), kind in 0..100_usize, event in event()) {
        is_harmed::<of_firewall::Ruleset>(&before, kind, event);
    }

    #[test]
    fn no_harm_to_journals_is_missed(before in events(9), kind in 0..100_usize, event in event()) {
        is_harmed::<of_logging::Journal>(&before, kind, event);
    }

    #[test]
    fn no_harm_to_volumes_is_missed(before in events(9), kind in 0..100_usize, event in event()) {
        is_harmed::<of_encryption::Volumes>(&before, kind, event);
    }
}
