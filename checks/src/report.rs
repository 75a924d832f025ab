//! What a check says.

use std::fmt;

use compliance_protocol::evidence::{Finding, State};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The six checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckId {
    /// The running system is the expected one.
    Patching,
    /// Critical units are active.
    Services,
    /// Backups are fresh and whole.
    Backups,
    /// The firewall is the baseline's.
    Firewall,
    /// The journal records.
    Logging,
    /// Volumes are encrypted.
    Encryption,
}

impl CheckId {
    /// All checks, in the order in which they are shown.
    pub const ALL: [Self; 6] = [
        Self::Patching,
        Self::Services,
        Self::Backups,
        Self::Firewall,
        Self::Logging,
        Self::Encryption,
    ];

    /// The name in evidence, configuration and documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Patching => "patching",
            Self::Services => "services",
            Self::Backups => "backups",
            Self::Firewall => "firewall",
            Self::Logging => "logging",
            Self::Encryption => "encryption",
        }
    }
}

impl fmt::Display for CheckId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A check's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// As the baseline says.
    Compliant,
    /// Not as the baseline says; at least one finding, each with expected and actual.
    Drifted(Vec<Finding>),
    /// Could not look, and why. Never green, and never healed.
    Unknown(String),
    /// The baseline declares, with this reason, that there is nothing to check here.
    NotApplicable(String),
}

impl Verdict {
    /// The verdict as evidence writes it.
    pub fn state(&self) -> State {
        match self {
            Self::Compliant => State::Compliant,
            Self::Drifted(_) => State::Drifted,
            Self::Unknown(_) => State::Unknown,
            Self::NotApplicable(_) => State::NotApplicable,
        }
    }

    /// What differs from the baseline.
    pub fn findings(&self) -> &[Finding] {
        match self {
            Self::Drifted(findings) => findings,
            _ => &[],
        }
    }

    /// Why the check could not look, or why there is nothing to check; empty otherwise.
    pub fn why(&self) -> &str {
        match self {
            Self::Unknown(why) | Self::NotApplicable(why) => why,
            _ => "",
        }
    }
}

/// What one run of a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The check.
    pub check: CheckId,
    /// Its version.
    pub version: u32,
    /// Its answer.
    pub verdict: Verdict,
    /// What it saw: digests, names that the baseline names, counts and times; never contents.
    pub facts: Map<String, Value>,
}

impl Report {
    /// A report without facts.
    pub fn new(check: CheckId, version: u32, verdict: Verdict) -> Self {
        Self { check, version, verdict, facts: Map::new() }
    }
}
