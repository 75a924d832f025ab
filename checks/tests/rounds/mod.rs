//! One check, round after round, on a fake host.
#![allow(dead_code)] // Each test file uses a part.

#[path = "../given/mod.rs"]
mod given;

use compliance_checks::baseline::Baseline;
use compliance_checks::{Check, Circumstances, Host, HostError, Report, Verdict};
use compliance_protocol::clock::{ClockDoubt, ClockSource, TrustedNow};
use compliance_protocol::evidence::Finding;
use compliance_protocol::name::StorePath;
use compliance_protocol::time::{Span, Timestamp};
use compliance_testkit::host::FakeHost;
use serde_json::{Value, json};

/// A check, its host, and the time.
pub(crate) struct Rounds<C, H = FakeHost> {
    pub(crate) host: H,
    pub(crate) check: C,
    pub(crate) baseline: Baseline,
    pub(crate) uptime: Span,
    pub(crate) now: TrustedNow,
    pub(crate) expected_system: Option<StorePath>,
    round: u128,
}

impl<C: Check + Default, H: Host + Default> Rounds<C, H> {
    /// The check with this part of a baseline, an hour after boot.
    pub(crate) fn new(part: &str, expected: &Value) -> Self {
        Self::of(C::default(), part, expected)
    }
}

impl<C: Check, H: Host + Default> Rounds<C, H> {
    pub(crate) fn of(check: C, part: &str, expected: &Value) -> Self {
        Self {
            host: H::default(),
            check,
            baseline: given::baseline(&json!({ part: expected })),
            uptime: Span::from_hours(1),
            now: TrustedNow::Known { at: at(0), source: ClockSource::Kernel },
            expected_system: None,
            round: 0,
        }
    }

    /// A round after so many seconds.
    pub(crate) fn after(&mut self, seconds: i64) -> Verdict {
        self.report_after(seconds).verdict
    }

    pub(crate) fn report_after(&mut self, seconds: i64) -> Report {
        self.uptime = Span::from_millis(self.uptime.as_millis() + seconds * 1000);
        if let TrustedNow::Known { at, .. } = &mut self.now {
            *at = at.plus(Span::from_secs(seconds));
        }
        self.round += 1;
        let about = Circumstances {
            now: self.now,
            uptime: self.uptime,
            expected_system: self.expected_system.clone(),
            nonce: self.round.to_be_bytes(),
        };
        self.check.run(&self.host, &self.baseline, &about)
    }
}

/// So many hours after the time at which all tests begin.
pub(crate) fn at(hours: i64) -> Timestamp {
    Timestamp::from_millis(1_795_167_671_000).plus(Span::from_hours(hours))
}

pub(crate) fn no_time() -> TrustedNow {
    TrustedNow::Unknown(ClockDoubt::NoSource)
}

/// The ways in which a host gives no answer.
pub(crate) fn faults() -> Vec<HostError> {
    let what = || "it".to_owned();
    vec![
        HostError::Denied(what()),
        HostError::ToolMissing(what()),
        HostError::TimedOut { what: what(), limit: std::time::Duration::from_secs(2) },
        HostError::Garbage { what: what(), why: what() },
        HostError::TooLarge { what: what(), limit: 1 },
        HostError::Io { what: what(), why: what() },
    ]
}

#[track_caller]
pub(crate) fn drifts(verdict: &Verdict, subject: &str, actual: &str) {
    let has = |f: &&Finding| f.subject == subject && f.actual == actual && !f.expected.is_empty();
    assert!(verdict.findings().iter().any(|f| has(&f)), "{verdict:#?}");
}

#[track_caller]
pub(crate) fn is_unknown(verdict: &Verdict, why: &str) {
    assert!(matches!(verdict, Verdict::Unknown(_)) && verdict.why().contains(why), "{verdict:?}");
}
