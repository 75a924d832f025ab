//! A round with checks that hang or crash.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod given;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use compliance_checks::baseline::Baseline;
use compliance_checks::{Check, CheckId, Checks, Circumstances, Host, Report, Verdict};
use compliance_protocol::clock::{ClockDoubt, TrustedNow};
use compliance_protocol::time::Span;
use compliance_testkit::host::FakeHost;
use serde_json::json;

/// While a test holds this, the check [`Told`] hangs.
static GATE: Mutex<()> = Mutex::new(());

const CRASH: [u8; 16] = [1; 16];
const ANSWER: [u8; 16] = [0; 16];

/// A check that does what the nonce tells it.
struct Told;

impl Check for Told {
    fn id(&self) -> CheckId {
        CheckId::Services
    }

    fn version(&self) -> u32 {
        1
    }

    fn run(&mut self, _: &dyn Host, _: &Baseline, about: &Circumstances) -> Report {
        let _open = GATE.lock().unwrap_or_else(PoisonError::into_inner);
        assert_ne!(about.nonce, CRASH, "it crashes, as told");
        Report::new(self.id(), 1, Verdict::Compliant)
    }
}

/// A check that is always well.
struct Well;

impl Check for Well {
    fn id(&self) -> CheckId {
        CheckId::Logging
    }

    fn version(&self) -> u32 {
        1
    }

    fn run(&mut self, _: &dyn Host, _: &Baseline, _: &Circumstances) -> Report {
        Report::new(self.id(), 1, Verdict::Compliant)
    }
}

struct Rounds(Checks, Arc<Baseline>);

impl Rounds {
    /// What [`Told`] comes to in one more round; [`Well`] must be well.
    fn told(&mut self, nonce: [u8; 16], limit: Duration) -> Verdict {
        let host: Arc<dyn Host> = Arc::new(FakeHost::default());
        let now = TrustedNow::Unknown(ClockDoubt::NoSource);
        let about =
            Circumstances { now, uptime: Span::from_hours(1), expected_system: None, nonce };
        let mut reports = self.0.round(&host, Ok(&self.1), &about, limit);
        assert_eq!(reports.pop().unwrap().verdict, Verdict::Compliant);
        reports.pop().unwrap().verdict
    }

    /// As [`Rounds::told`], once the check has ended what it was asked before.
    fn told_in_the_end(&mut self, nonce: [u8; 16]) -> Verdict {
        loop {
            match self.told(nonce, PATIENCE) {
                Verdict::Unknown(why) if why.contains("earlier round") => {}
                verdict => return verdict,
            }
        }
    }
}

const SHORT: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_mins(1);

#[test]
fn a_check_that_hangs_or_crashes_is_unknown_in_time_holds_up_no_other_and_comes_back() {
    let parts = json!({ "services": { "units": [] }, "logging": {} });
    let checks = Checks::of(&[|| Box::new(Told), || Box::new(Well)]);
    let mut rounds = Rounds(checks, Arc::new(given::baseline(&parts)));

    let closed = GATE.lock().unwrap();
    let unknown = |why: &str| Verdict::Unknown(why.to_owned());
    assert_eq!(rounds.told(ANSWER, SHORT), unknown("the check did not end within 50ms"));
    let still = unknown("the check is still at what it was asked in an earlier round");
    assert_eq!(rounds.told(ANSWER, SHORT), still);
    drop(closed);
    assert_eq!(rounds.told_in_the_end(ANSWER), Verdict::Compliant);

    assert_eq!(rounds.told(CRASH, PATIENCE), unknown("the check itself crashed"));
    assert_eq!(rounds.told(ANSWER, PATIENCE), Verdict::Compliant, "a fresh one is asked next");

    // One that crashes after its round was over has crashed all the same.
    let closed = GATE.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(rounds.told(CRASH, SHORT), unknown("the check did not end within 50ms"));
    drop(closed);
    assert_eq!(rounds.told_in_the_end(ANSWER), Verdict::Compliant);
}
