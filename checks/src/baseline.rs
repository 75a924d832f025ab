//! The baseline: what a site should look like. A person writes it in TOML, a `baseline` key signs its
//! canonical JSON.

use compliance_protocol::digest::Digest;
use compliance_protocol::envelope::Payload;
use compliance_protocol::name::{Site, StorePath, Tenant, UnitName};
use serde::{Deserialize, Serialize};

use crate::CheckId;
use crate::backups::BackupsBaseline;

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
    /// The backup jobs.
    pub backups: Section<BackupsBaseline>,
    /// The critical units.
    pub services: Section<ServicesBaseline>,
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

/// One check's part of the baseline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Section<T> {
    /// There is nothing to check on this machine, and why.
    NotApplicable(NotApplicable),
    /// What should be.
    Expected(T),
}

/// Why a check does not apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotApplicable {
    /// The reason, for the auditor.
    pub not_applicable: String,
}

/// What the services check expects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServicesBaseline {
    /// The units that must be active.
    pub units: Vec<CriticalUnit>,
}

/// A unit that must be active.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CriticalUnit {
    /// The unit.
    pub unit: UnitName,
    /// Restarting it interrupts people: it waits for the maintenance window.
    #[serde(default)]
    pub disruptive: bool,
}

impl Baseline {
    /// The listed unit of that name.
    pub fn unit(&self, unit: &UnitName) -> Option<&CriticalUnit> {
        match &self.services {
            Section::Expected(services) => {
                services.units.iter().find(|listed| listed.unit == *unit)
            }
            Section::NotApplicable(_) => None,
        }
    }

    /// Why a check does not apply here, if the baseline says so.
    pub fn not_applicable(&self, check: CheckId) -> Option<&str> {
        match (check, &self.backups, &self.services) {
            (CheckId::Backups, Section::NotApplicable(why), _)
            | (CheckId::Services, _, Section::NotApplicable(why)) => Some(&why.not_applicable),
            _ => None,
        }
    }
}
