//! Random histories of hosts: what is harmless is never drift, what is harmful is never missed.
//!
//! Each check has its own machine in `history/`, which lives through random events; a check that joins adds
//! a file there and a line to each list below. A failing history is printed, shortened, with its seed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod given;
#[path = "history/backups.rs"]
mod of_backups;
#[path = "history/encryption.rs"]
mod of_encryption;

use compliance_checks::{Check, Circumstances, Verdict};
use compliance_protocol::clock::{ClockSource, TrustedNow};
use compliance_protocol::time::{Span, Timestamp};
use compliance_testkit::host::FakeHost;
use proptest::prelude::*;
use serde_json::Value;

/// A machine as one check sees it.
trait Machine: Default {
    /// How many kinds of harm there are.
    const HARMS: usize;

    /// A check that has seen nothing yet.
    fn check() -> impl Check;

    /// The parts of the baseline that it is judged by.
    fn baseline() -> Value;

    /// Something harmless happens. What, is up to `event`.
    fn live(&mut self, event: Event);

    /// Something harmful happens, of the given kind.
    fn harm(&mut self, kind: usize, event: Event);

    /// What can be seen of it now.
    fn host(&self) -> FakeHost;

    /// The time there.
    fn now(&self) -> Timestamp;
}

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

fn events() -> impl Strategy<Value = Vec<Event>> {
    proptest::collection::vec(event(), 0..10)
}

fn event() -> impl Strategy<Value = Event> {
    any::<(u8, u32)>().prop_map(|(kind, amount)| Event { kind, amount })
}

fn look(machine: &impl Machine, check: &mut impl Check, baseline: &Value) -> Verdict {
    let about = Circumstances {
        now: TrustedNow::Known { at: machine.now(), source: ClockSource::Kernel },
        uptime: Span::from_hours(1),
        expected_system: None,
        nonce: [0; 16],
    };
    check.run(&machine.host(), &given::baseline(baseline), &about).verdict
}

/// The machine is compliant at each step of its life.
fn lives_well<M: Machine>(events: &[Event]) -> (M, impl Check) {
    let (mut machine, mut check, baseline) = (M::default(), M::check(), M::baseline());
    for event in events {
        machine.live(*event);
        assert_eq!(look(&machine, &mut check, &baseline), Verdict::Compliant, "after {event:?}");
    }
    (machine, check)
}

/// The harm is drift in the next round, and in the one after.
fn is_harmed<M: Machine>(before: &[Event], kind: usize, event: Event) {
    let (mut machine, mut check) = lives_well::<M>(before);
    machine.harm(kind % M::HARMS, event);
    let mut next = || {
        let verdict = look(&machine, &mut check, &M::baseline());
        assert!(matches!(verdict, Verdict::Drifted(_)), "{kind}: {verdict:?}");
    };
    next();
    next();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn harmless_histories_of_backups_are_never_drift(events in events()) {
        lives_well::<of_backups::Jobs>(&events);
    }

    #[test]
    fn harmless_histories_of_volumes_are_never_drift(events in events()) {
        lives_well::<of_encryption::Volumes>(&events);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn no_harm_to_backups_is_missed(before in events(), kind in 0..100_usize, event in event()) {
        is_harmed::<of_backups::Jobs>(&before, kind, event);
    }

    #[test]
    fn no_harm_to_volumes_is_missed(before in events(), kind in 0..100_usize, event in event()) {
        is_harmed::<of_encryption::Volumes>(&before, kind, event);
    }
}
