//! The baseline: what a site should look like. A person writes it in TOML, a `baseline` key signs its
//! canonical JSON. Each check owns its part, in its own file.

mod section;

pub use section::{NotApplicable, Section};

use compliance_protocol::digest::Digest;
use compliance_protocol::envelope::Payload;
use compliance_protocol::name::{Site, StorePath, Tenant, UnitName};
use serde::{Deserialize, Serialize};

use crate::backups::{BackupJob, BackupsBaseline};
use crate::encryption::EncryptionBaseline;
use crate::firewall::FirewallBaseline;
use crate::logging::LoggingBaseline;
use crate::patching::PatchingBaseline;
use crate::services::{CriticalUnit, ServicesBaseline};

/// What one site should look like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// Grows with each signed baseline of the site, from 1.
    pub version: u64,
    /// The tenant.
    pub tenant: Tenant,
    /// The site.
    pub site: Site,
    /// What it belongs to: it judges nothing else.
    pub bound_to: Binding,
    /// The system generation.
    pub patching: Section<PatchingBaseline>,
    /// The critical units.
    pub services: Section<ServicesBaseline>,
    /// The backup jobs.
    pub backups: Section<BackupsBaseline>,
    /// The ruleset.
    pub firewall: Section<FirewallBaseline>,
    /// The journal.
    pub logging: Section<LoggingBaseline>,
    /// The encrypted volumes.
    pub encryption: Section<EncryptionBaseline>,
}

impl Payload for Baseline {
    const TYPE: &'static str = "application/vnd.compliance.baseline.v1+json";
}

/// What a baseline belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Binding {
    /// A NixOS system, by its closure.
    System(StorePath),
    /// A machine that is not NixOS, by the SHA-256 of the text of its machine id (machine-id(5)), which
    /// itself is confidential.
    MachineIdSha256(Digest),
}

impl Baseline {
    /// The listed unit of that name.
    pub fn unit(&self, unit: &UnitName) -> Option<&CriticalUnit> {
        self.services.expected()?.units.iter().find(|listed| listed.unit == *unit)
    }

    /// The backup jobs.
    pub fn backup_jobs(&self) -> &[BackupJob] {
        self.backups.expected().map(|backups| backups.jobs.as_slice()).unwrap_or_default()
    }
}
