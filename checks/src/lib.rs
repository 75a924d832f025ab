//! The six drift checks. Facts come through the trait [`Host`]; evaluation is pure.
//!
//! A check never guesses: what it could not look at is [`Verdict::Unknown`], with the reason.

pub mod backups;
pub mod baseline;
pub mod command;
pub mod host;
pub mod linux;
pub mod mapping;
pub mod report;
mod upcoming;

pub use host::{Host, HostError};
pub use report::{CheckId, Report, Verdict};

use baseline::Baseline;
use compliance_protocol::clock::TrustedNow;

/// One drift check.
pub trait Check: Sync {
    /// Which check.
    fn id(&self) -> CheckId;

    /// Its version: grows whenever the same facts may get another verdict.
    fn version(&self) -> u32;

    /// Looks at the host and judges what it sees by the baseline.
    fn run(&self, host: &dyn Host, baseline: &Baseline, now: TrustedNow) -> Report;
}

/// All checks, in the order in which they are shown.
pub const ALL: [&dyn Check; 6] = [
    &upcoming::Upcoming(CheckId::Patching),
    &upcoming::Upcoming(CheckId::Services),
    &backups::Backups,
    &upcoming::Upcoming(CheckId::Firewall),
    &upcoming::Upcoming(CheckId::Logging),
    &upcoming::Upcoming(CheckId::Encryption),
];

/// Runs all checks. `why_unbound`, when there is one, is why no baseline can be used: then each check
/// is unknown for that reason.
pub fn round(host: &dyn Host, baseline: Result<&Baseline, &str>, now: TrustedNow) -> Vec<Report> {
    let unknown = |check: &&dyn Check, why: &str| {
        Report::new(check.id(), check.version(), Verdict::Unknown(why.to_owned()))
    };
    match baseline {
        Ok(baseline) => ALL.iter().map(|check| check.run(host, baseline, now)).collect(),
        Err(why) => ALL.iter().map(|check| unknown(check, why)).collect(),
    }
}
