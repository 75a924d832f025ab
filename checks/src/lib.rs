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
pub mod round;
pub mod services;
pub mod tools;

pub use host::{Host, HostError};
pub use report::{CheckId, Report, Verdict};
pub use round::{Checks, MakeCheck};

use baseline::Baseline;
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

/// The six checks, in the order in which they are shown.
pub const ALL: [MakeCheck; 6] = [
    || Box::new(patching::Patching),
    || Box::new(services::Services::default()),
    || Box::new(backups::Backups::default()),
    || Box::new(firewall::Firewall::default()),
    || Box::new(logging::Logging::default()),
    || Box::new(encryption::Encryption::default()),
];
