//! The six drift checks. Facts come through the trait [`Host`]; evaluation is pure.
//!
//! A check never guesses: what it could not look at is [`Verdict::Unknown`], with the reason.

pub mod backups;
pub mod baseline;
pub mod capture;
pub mod command;
pub mod encryption;
pub mod firewall;
pub mod host;
pub mod linux;
pub mod logging;
pub mod mapping;
pub mod patching;
pub mod report;
pub mod services;
pub mod tools;

pub use host::{Host, HostError};
pub use report::{CheckId, Report, Verdict};

use std::thread;

use baseline::{Baseline, Section};
use compliance_protocol::clock::TrustedNow;
use compliance_protocol::name::StorePath;
use compliance_protocol::time::Span;

/// One drift check. It keeps what it may reuse from round to round, never a verdict.
pub trait Check: Send {
    /// Which check.
    fn id(&self) -> CheckId;

    /// Its version: grows whenever the same facts may get another verdict.
    fn version(&self) -> u32;

    /// Looks at the host and judges what it sees by the baseline.
    fn run(&mut self, host: &dyn Host, baseline: &Baseline, about: &Circumstances) -> Report;
}

/// What a check cannot see on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circumstances {
    /// The trusted time.
    pub now: TrustedNow,
    /// `CLOCK_BOOTTIME`, which never steps: for intervals within a boot.
    pub uptime: Span,
    /// The system that was last activated and proven, or adopted at first start; `None` off NixOS.
    pub expected_system: Option<StorePath>,
    /// Random bytes, new in each round: for the canary.
    pub nonce: [u8; 16],
}

/// The six checks, with what they keep between rounds.
pub struct Checks(Vec<Box<dyn Check>>);

impl std::fmt::Debug for Checks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|check| check.id())).finish()
    }
}

impl Default for Checks {
    fn default() -> Self {
        Self(all())
    }
}

/// All checks, in the order in which they are shown.
fn all() -> Vec<Box<dyn Check>> {
    vec![
        Box::new(patching::Patching),
        Box::new(services::Services::default()),
        Box::new(backups::Backups::default()),
        Box::new(firewall::Firewall::default()),
        Box::new(logging::Logging::default()),
        Box::new(encryption::Encryption::default()),
    ]
}

impl Checks {
    /// Runs all checks at the same time: one that waits for a tool holds up no other. Without a baseline,
    /// each is unknown for the reason given.
    pub fn round(
        &mut self,
        host: &dyn Host,
        baseline: Result<&Baseline, &str>,
        about: &Circumstances,
    ) -> Vec<Report> {
        let baseline = match baseline {
            Ok(baseline) => baseline,
            Err(why) => return self.0.iter().map(|check| unknown(&**check, why)).collect(),
        };
        thread::scope(|scope| {
            let run = |check| move || run_one(check, host, baseline, about);
            let running: Vec<_> = self
                .0
                .iter_mut()
                .map(|check| (check.id(), check.version(), scope.spawn(run(check.as_mut()))))
                .collect();
            let crashed = |id, version| {
                Report::new(id, version, Verdict::Unknown("the check itself crashed".to_owned()))
            };
            running
                .into_iter()
                .map(|(id, version, thread)| thread.join().unwrap_or_else(|_| crashed(id, version)))
                .collect()
        })
    }
}

fn run_one(
    check: &mut dyn Check,
    host: &dyn Host,
    baseline: &Baseline,
    about: &Circumstances,
) -> Report {
    match not_applicable(check.id(), baseline) {
        Some(why) => {
            Report::new(check.id(), check.version(), Verdict::NotApplicable(why.to_owned()))
        }
        None => check.run(host, baseline, about),
    }
}

/// Why a check does not apply here, if the baseline says so.
fn not_applicable(check: CheckId, baseline: &Baseline) -> Option<&str> {
    fn why<T>(section: &Section<T>) -> Option<&str> {
        match section {
            Section::NotApplicable(why) => Some(&why.not_applicable),
            Section::Expected(_) => None,
        }
    }
    match check {
        CheckId::Patching => why(&baseline.patching),
        CheckId::Services => why(&baseline.services),
        CheckId::Backups => why(&baseline.backups),
        CheckId::Firewall => why(&baseline.firewall),
        CheckId::Logging => why(&baseline.logging),
        CheckId::Encryption => why(&baseline.encryption),
    }
}

fn unknown(check: &dyn Check, why: &str) -> Report {
    Report::new(check.id(), check.version(), Verdict::Unknown(why.to_owned()))
}
