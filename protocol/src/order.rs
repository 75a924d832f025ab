//! Orders: what the control plane may ask of one appliance, and how a received one is read.
//!
//! An order is read in two steps, so that a release that does not know an action can still name the
//! order that it refuses: first the [`OrderHeader`], then the whole [`Order`].

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::Digest;
use crate::envelope::{Envelope, Payload, Verified};
use crate::json::{self, JsonError};
use crate::name::{FlakeRef, Id, JobName, NarHash, Site, StorePath, Tenant, UnitName};
use crate::time::{Span, Timestamp};

/// How long an order is acceptable unless it says otherwise.
pub const DEFAULT_TTL: Span = Span::from_secs(900);

/// The latest that an order may ask to be started or accepted, counted from its issue.
pub const MAX_LIFETIME: Span = Span::from_hours(14 * 24);

/// The furthest that an order's sequence may be ahead of the last one.
pub const MAX_JUMP: u64 = 1000;

/// One signed instruction to one appliance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Names the order in evidence and at the control plane.
    pub id: Id,
    /// The tenant it is for.
    pub tenant: Tenant,
    /// The site it is for.
    pub site: Site,
    /// The enrolment it is for.
    pub epoch: u64,
    /// Its place among the site's orders, from 1; each is consumed once.
    pub sequence: u64,
    /// The payload digest of the order before it, if there is one.
    pub previous_sha256: Option<Digest>,
    /// When it was signed.
    pub issued_at: Timestamp,
    /// Not to be accepted earlier.
    pub not_before: Option<Timestamp>,
    /// To be accepted by then.
    pub expires_at: Timestamp,
    /// To be started by then; `None` means by `expires_at`.
    pub start_before: Option<Timestamp>,
    /// What to do.
    pub action: Action,
    /// Whether a disruptive action waits for the maintenance window.
    pub when: When,
    /// The longest that the action may take, in seconds.
    pub max_runtime_s: u32,
    /// Why, for people.
    pub reason: String,
    /// A ticket in the operator's system.
    pub ticket: Option<String>,
    /// Approvals bound to this order; none are defined in this version.
    pub approvals: Vec<Never>,
}

/// No value: the list that holds it is empty in this version of the protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Never {}

impl Payload for Order {
    const TYPE: &'static str = "application/vnd.compliance.order.v1+json";
}

impl Order {
    /// To be started by then.
    pub fn start_by(&self) -> Timestamp {
        self.start_before.unwrap_or(self.expires_at)
    }
}

/// When an order may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// As soon as its gates allow; a disruptive action waits for the window.
    Window,
    /// At once, the window notwithstanding; needs the trust file's `threshold_now`.
    Now,
}

/// The closed set of what can be ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Activate a system that was built elsewhere, or build a pinned flake and activate that.
    ActivateSystem {
        /// The system's closure.
        store_path: StorePath,
        /// Its NAR hash.
        nar_hash: NarHash,
        /// The baseline that belongs to it.
        baseline_sha256: Digest,
        /// Where to build it, when it cannot be substituted.
        flake: Option<FlakeRef>,
    },
    /// Heal nothing until then.
    PauseHealing {
        /// The end of the pause.
        until: Timestamp,
    },
    /// Restart the machine.
    Reboot {},
    /// Load the firewall of the signed baseline.
    RestoreFirewall {
        /// The baseline that is meant.
        baseline_sha256: Digest,
    },
    /// Restart a unit that the baseline lists.
    RestartService {
        /// The unit.
        unit: UnitName,
    },
    /// Go back to an earlier system.
    RollbackSystem {
        /// That system's closure.
        store_path: StorePath,
    },
    /// Start a backup job that the baseline lists.
    RunBackup {
        /// The job.
        job: JobName,
    },
    /// Run the six checks now.
    RunChecks {},
    /// Take a newer signed baseline.
    UpdateBaseline {
        /// Its envelope, a JSON object.
        envelope: Value,
    },
    /// Take the next trust file.
    UpdateTrust {
        /// Its envelope, a JSON object.
        envelope: Value,
    },
}

impl Action {
    /// The action's name as orders and evidence write it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ActivateSystem { .. } => "activate_system",
            Self::PauseHealing { .. } => "pause_healing",
            Self::Reboot {} => "reboot",
            Self::RestoreFirewall { .. } => "restore_firewall",
            Self::RestartService { .. } => "restart_service",
            Self::RollbackSystem { .. } => "rollback_system",
            Self::RunBackup { .. } => "run_backup",
            Self::RunChecks {} => "run_checks",
            Self::UpdateBaseline { .. } => "update_baseline",
            Self::UpdateTrust { .. } => "update_trust",
        }
    }

    /// All names, in order.
    pub const NAMES: [&str; 10] = [
        "activate_system",
        "pause_healing",
        "reboot",
        "restore_firewall",
        "restart_service",
        "rollback_system",
        "run_backup",
        "run_checks",
        "update_baseline",
        "update_trust",
    ];
}

/// What every version of an order says; read before the rest, ignoring what it does not know.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct OrderHeader {
    /// As [`Order::id`].
    pub id: Id,
    /// As [`Order::tenant`].
    pub tenant: Tenant,
    /// As [`Order::site`].
    pub site: Site,
    /// As [`Order::epoch`].
    pub epoch: u64,
    /// As [`Order::sequence`].
    pub sequence: u64,
    /// As [`Order::previous_sha256`].
    pub previous_sha256: Option<Digest>,
    /// As [`Order::issued_at`].
    pub issued_at: Timestamp,
    /// As [`Order::not_before`].
    pub not_before: Option<Timestamp>,
    /// As [`Order::expires_at`].
    pub expires_at: Timestamp,
    /// The action's name only.
    pub action: ActionName,
}

/// The name of an action that this release may not know.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ActionName {
    /// The name.
    #[serde(rename = "type")]
    pub name: String,
}

/// Why an order is refused. The variants stand in the order in which they are checked: the first
/// rule that fails is the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The envelope is over its bound; it was not parsed.
    Size,
    /// The envelope, or the signed payload's header, is not of the form asked for.
    Malformed,
    /// No `orders` key signed it.
    BadSignature,
    /// Too few `orders` keys signed it.
    Threshold,
    /// Another tenant's.
    WrongTenant,
    /// Another site's.
    WrongSite,
    /// For another enrolment of this site.
    WrongEpoch,
    /// Its sequence, or the order before it, was consumed by an order of other bytes.
    SequenceReused,
    /// Its sequence or id is past: an old order, brought again.
    Replayed,
    /// The feed head does not list it as open.
    NotListed,
    /// Its time has not come.
    NotYetValid,
    /// Its time is over.
    Expired,
    /// This release does not know the action.
    UnknownAction,
    /// A parameter is missing, unknown, or out of its bounds.
    BadParameter,
    /// The local policy does not allow it.
    Policy,
}

impl Refusal {
    /// The machine-readable code, as in evidence.
    pub fn code(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Malformed => "malformed",
            Self::BadSignature => "bad_signature",
            Self::Threshold => "threshold",
            Self::WrongTenant => "wrong_tenant",
            Self::WrongSite => "wrong_site",
            Self::WrongEpoch => "wrong_epoch",
            Self::SequenceReused => "sequence_reused",
            Self::Replayed => "replayed",
            Self::NotListed => "not_listed",
            Self::NotYetValid => "not_yet_valid",
            Self::Expired => "expired",
            Self::UnknownAction => "unknown_action",
            Self::BadParameter => "bad_parameter",
            Self::Policy => "policy",
        }
    }
}

impl Verified<Vec<u8>> {
    /// Reads the header of a verified order.
    pub fn order_header(&self) -> Result<OrderHeader, JsonError> {
        Ok(self.decode::<OrderHeader>()?.into_value())
    }

    /// Reads the whole of a verified order. [`Refusal::UnknownAction`] when this release does not know
    /// the action, [`Refusal::BadParameter`] when anything else does not fit.
    pub fn order(&self) -> Result<Verified<Order>, Refusal> {
        let header = self.order_header().map_err(|_| Refusal::Malformed)?;
        if !Action::NAMES.contains(&header.action.name.as_str()) {
            return Err(Refusal::UnknownAction);
        }
        let order = self.decode::<Order>().map_err(|_| Refusal::BadParameter)?;
        if order.value().fits() { Ok(order) } else { Err(Refusal::BadParameter) }
    }
}

impl Order {
    fn fits(&self) -> bool {
        let latest = self.issued_at.plus(MAX_LIFETIME);
        let starts = self
            .start_before
            .is_none_or(|by| self.when == When::Window && self.expires_at <= by && by <= latest);
        let begins = self.not_before.is_none_or(|from| from < self.expires_at);
        let lives = self.issued_at < self.expires_at && self.expires_at <= latest;
        let texts =
            self.reason.len() <= 1000 && self.ticket.as_ref().is_none_or(|t| t.len() <= 200);
        starts && begins && lives && texts && (1..=86_400).contains(&self.max_runtime_s)
    }
}

/// Reads the envelope inside an `update_*` order.
pub fn inner_envelope(envelope: &Value) -> Result<Envelope, Refusal> {
    let bytes = json::to_canonical(envelope).map_err(|_| Refusal::BadParameter)?;
    Envelope::parse(&bytes).map_err(|_| Refusal::BadParameter)
}
