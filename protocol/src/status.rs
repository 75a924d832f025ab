//! What the executor says about itself: `compliance-agent status` prints it.

use serde::{Deserialize, Serialize};

use crate::clock::ClockEvidence;
use crate::evidence::{Finding, Mode, State};
use crate::feed::EvidenceHead;
use crate::gate::Gate;
use crate::name::{Id, Site, StorePath, Tenant};
use crate::time::Timestamp;

/// The state of one appliance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// When this was said, by the machine's clock.
    pub at: Timestamp,
    /// The tenant.
    pub tenant: Tenant,
    /// The site.
    pub site: Site,
    /// The enrolment.
    pub epoch: u64,
    /// How the appliance is sold.
    pub mode: Mode,
    /// The executor's version.
    pub version: String,
    /// How far the time can be trusted.
    pub clock: ClockEvidence,
    /// The last finished round's results, one a check, in their order.
    pub checks: Vec<CheckStatus>,
    /// The gates a disruptive action would meet now.
    pub gates: Vec<Gate>,
    /// Why what should be done is not being done: one sentence each.
    pub why_not_now: Vec<String>,
    /// Orders that wait.
    pub waiting: Vec<WaitingOrder>,
    /// Evidence without a receipt.
    pub pending_bundles: u64,
    /// The newest evidence.
    pub evidence_head: Option<EvidenceHead>,
    /// The newest verified feed head's time.
    pub last_head_at: Option<Timestamp>,
    /// What is being done right now.
    pub doing: Option<String>,
    /// The activation of a system that is under way.
    #[serde(default)]
    pub activation: Option<ActivationStatus>,
}

/// How far an activation is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActivationStatus {
    /// The system that is activated.
    pub system: StorePath,
    /// The phase: `preflight`, `proving`, `undoing` and so on.
    pub phase: String,
    /// Since when it is in it.
    pub since: Timestamp,
    /// What it waits for.
    pub waits_for: String,
    /// When the dead-man acts, if it is armed.
    pub deadman_at: Option<Timestamp>,
}

/// What one check found last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckStatus {
    /// The check.
    pub check: String,
    /// What it found.
    pub state: State,
    /// When it looked.
    pub at: Timestamp,
    /// Since when it has been in this state.
    pub since: Timestamp,
    /// What differs from the baseline.
    pub findings: Vec<Finding>,
    /// Why it could not look, or why there is nothing to check; empty otherwise.
    pub why: String,
}

/// An order that was accepted and waits to be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitingOrder {
    /// The order.
    pub id: Id,
    /// Its sequence.
    pub sequence: u64,
    /// The name of its action.
    pub action: String,
    /// Why it waits, machine-readable.
    pub reason: String,
    /// When it is tried again.
    pub retry_after: Option<Timestamp>,
}
