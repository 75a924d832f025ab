//! Evidence: one signed bundle for each thing done, refused, deferred or noticed.

mod chain;
pub mod export;
mod pruned;
mod signed;

pub use chain::{Chain, ChainBreak};
pub use pruned::Pruned;
pub use signed::{BundleError, STATEMENT_TYPE, SignedBundle, VerifiedBundle, statement};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clock::ClockEvidence;
use crate::digest::Digest;
use crate::gate::Gate;
use crate::key::KeyId;
use crate::name::{BootId, Id, Site, StorePath, Tenant};
use crate::time::Timestamp;

/// The largest bundle that is made or taken, in bytes.
pub const MAX_BUNDLE: usize = 256 * 1024;

/// One thing that happened at one site. Its canonical JSON is what is signed and chained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// Always [`BundleType::V1`]; the first key, so that no other signed document looks like it.
    #[serde(rename = "$type")]
    pub bundle_type: BundleType,
    /// Names the bundle.
    pub id: Id,
    /// The ledger that made it: a chain is per site, epoch and ledger.
    pub ledger_id: Id,
    /// Its place in the chain, from 1, without gaps.
    pub sequence: u64,
    /// The digest of the bundle before it; `None` for the first.
    pub previous_sha256: Option<Digest>,
    /// The tenant.
    pub tenant: Tenant,
    /// The site.
    pub site: Site,
    /// The enrolment.
    pub epoch: u64,
    /// How the appliance is sold.
    pub mode: Mode,
    /// The reseller, in reseller mode.
    pub reseller: Option<String>,
    /// The boot during which it was made.
    pub boot_id: BootId,
    /// The key that signed it.
    pub key_id: KeyId,
    /// The order payload types that this release reads.
    pub accepts: Vec<String>,
    /// When the thing began, by the machine's clock.
    pub started_at: Timestamp,
    /// When it ended, by the machine's clock.
    pub finished_at: Timestamp,
    /// How long it took, in milliseconds, by a clock that does not step.
    pub duration_ms: u64,
    /// How far the times can be trusted.
    pub clock: ClockEvidence,
    /// What set it off.
    pub trigger: Trigger,
    /// The highest order sequence consumed so far.
    pub last_order_sequence: u64,
    /// The check it is about, if it is about one.
    pub check: Option<String>,
    /// That check's version.
    pub check_version: Option<u32>,
    /// The version of the mapping from checks to controls.
    pub mapping_version: u32,
    /// The controls it bears on.
    pub controls: Vec<Control>,
    /// The baseline that was judged by.
    pub baseline_sha256: Option<Digest>,
    /// What the check found last, after whatever was done.
    pub state: Option<State>,
    /// What differed from the baseline, or was noticed.
    pub findings: Vec<Finding>,
    /// Facts before anything was done.
    pub pre: Map<String, Value>,
    /// What was done, in order.
    pub actions: Vec<ActionRecord>,
    /// Facts afterwards.
    pub post: Map<String, Value>,
    /// The gates that were asked before acting.
    pub gates: Vec<Gate>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, machine-readable.
    pub reason: String,
    /// Why, in one sentence.
    pub detail: String,
    /// When it will be tried again; always set on `deferred`.
    pub retry_after: Option<Timestamp>,
    /// Whether it could be, and was, undone.
    pub rollback: Rollback,
    /// The system it happened on.
    pub system: System,
    /// The software that made the bundle.
    pub software: Software,
}

/// The bundle's type tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BundleType {
    /// Version 1.
    #[serde(rename = "urn:compliance-appliance:evidence:v1")]
    V1,
}

/// How the appliance is sold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// By the tenant itself.
    Direct,
    /// Through a reseller, who is named.
    Reseller,
}

/// What set something off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    /// Its kind.
    pub kind: TriggerKind,
    /// The order, if its signature, tenant, site, epoch and sequence held.
    pub order_id: Option<Id>,
    /// That order's sequence.
    pub order_sequence: Option<u64>,
    /// The digest of the order's payload, or of the bytes that were no order.
    pub order_sha256: Option<Digest>,
}

/// What kind of thing set something off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerKind {
    /// The machine booted or the executor started.
    Boot,
    /// Something was noticed.
    Event,
    /// An order, or what claimed to be one.
    Order,
    /// The executor's own timer.
    Schedule,
}

impl Trigger {
    /// A trigger that is not an order.
    pub fn of(kind: TriggerKind) -> Self {
        Self { kind, order_id: None, order_sequence: None, order_sha256: None }
    }
}

/// A control of a framework that a check bears on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// Its id in the framework, such as `164.312(b)`.
    pub id: String,
    /// The framework, such as `hipaa`.
    pub framework: String,
    /// How strongly the check speaks for it.
    pub strength: Strength,
}

/// How strongly a check speaks for a control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strength {
    /// The check shows what the control asks for.
    Direct,
    /// The check shows something that helps.
    Supports,
}

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As the baseline says.
    Compliant,
    /// Not as the baseline says.
    Drifted,
    /// Could not look. Never green, and never healed.
    Unknown,
    /// The baseline declares that this machine has nothing to check here.
    NotApplicable,
}

/// One difference between what is and what should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// What it is about: a unit, a path, a job that the baseline names.
    pub subject: String,
    /// What should be.
    pub expected: String,
    /// What is.
    pub actual: String,
}

/// One step that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionRecord {
    /// The step, such as `restart_unit`.
    pub name: String,
    /// What it was taken on.
    pub target: String,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// How it went.
    pub result: StepResult,
    /// The digest of what it printed; the text itself never leaves.
    pub output_sha256: Digest,
    /// How many bytes it printed.
    pub output_bytes: u64,
}

/// How one step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepResult {
    /// It was done.
    Done,
    /// It failed.
    Failed,
    /// It did not end in time and was stopped.
    TimedOut,
    /// A dry run: it would have been taken.
    Would,
}

/// How something ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Acted and the check afterwards passed; or looked, and there was nothing to do.
    Success,
    /// Acted, and the check afterwards failed, with nothing to roll back to.
    Failed,
    /// Rolled back, and the rollback was verified.
    Reverted,
    /// Not acted yet; the only outcome that is not terminal.
    Deferred,
    /// Noticed, without acting.
    Alert,
    /// Refused.
    Rejected,
    /// Its time passed before it was begun.
    Expired,
}

impl Outcome {
    /// Whether nothing more follows for the same order.
    pub fn is_terminal(self) -> bool {
        self != Self::Deferred
    }

    /// The outcome as bundles write it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Reverted => "reverted",
            Self::Deferred => "deferred",
            Self::Alert => "alert",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
        }
    }
}

/// Whether something could be, and was, undone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// There was something to go back to.
    pub available: bool,
    /// It was gone back to.
    pub performed: bool,
    /// What that was.
    pub to: Option<String>,
}

/// The system that a bundle was made on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct System {
    /// The running system's closure, on NixOS.
    pub running: Option<StorePath>,
    /// The booted system's closure, on NixOS.
    pub booted: Option<StorePath>,
    /// The generation of the system profile, on NixOS.
    pub generation: Option<u64>,
    /// The configuration's revision, if the system says one.
    pub revision: Option<String>,
}

/// The software that made a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Software {
    /// The executor's version.
    pub version: String,
}
