//! What the control plane's operator listener answers.
//!
//! Fields that this release does not know are ignored, so that a newer control plane can be asked.

use std::collections::BTreeMap;

use compliance_protocol::bytes::Bytes;
use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::{Outcome, SignedBundle, State};
use compliance_protocol::feed::EvidenceHead;
use compliance_protocol::name::{Id, Site};
use compliance_protocol::order::When;
use compliance_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `GET /api/v1/sites`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sites {
    /// All sites.
    pub sites: Vec<SiteSummary>,
}

/// `GET /api/v1/certificates`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Requests {
    /// What no operator has answered yet.
    pub pending: Vec<Request>,
}

/// An appliance's request for a new certificate.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// The site.
    pub site: Site,
    /// The request, PEM.
    pub csr: String,
}

/// One site.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SiteSummary {
    /// The site.
    pub site: Site,
    /// Its enrolment.
    pub epoch: u64,
    /// When its trust file was first put.
    pub registered_at: Timestamp,
    /// When it last polled.
    pub last_seen: Option<Timestamp>,
    /// When the last feed head was signed for it.
    pub last_head_at: Option<Timestamp>,
    /// The newest state of each check that any evidence is about.
    pub states: BTreeMap<String, CheckState>,
    /// Its newest evidence.
    pub evidence_head: Option<EvidenceHead>,
    /// How many bundles are held.
    pub bundles: u64,
    /// How many orders have no terminal evidence.
    pub open_orders: u64,
    /// What is missing in its chains.
    #[serde(default)]
    pub gaps: Vec<Value>,
}

/// What evidence says of one check.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CheckState {
    /// What holds now; `unknown` when what was reported is too old to hold.
    pub state: State,
    /// When.
    pub at: Timestamp,
    /// How that bundle ended.
    pub outcome: Outcome,
}

/// `GET /api/v1/sites/{site}/next-order`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NextOrder {
    /// The site's enrolment.
    pub epoch: u64,
    /// The sequence that the next order takes.
    pub sequence: u64,
    /// The payload digest of the order before it.
    pub previous_sha256: Option<Digest>,
}

/// `GET /api/v1/orders`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Orders {
    /// The orders.
    pub orders: Vec<OrderSummary>,
}

/// One order as the control plane holds it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OrderSummary {
    /// The site.
    pub site: Site,
    /// Its sequence.
    pub sequence: u64,
    /// The order.
    pub id: Id,
    /// The name of its action.
    pub action: String,
    /// When it may start.
    pub when: When,
    /// When it was signed.
    pub issued_at: Timestamp,
    /// To be accepted by then.
    pub expires_at: Timestamp,
    /// `open`, `done` or `withdrawn`.
    pub state: String,
    /// Its newest outcome, if there is evidence.
    pub outcome: Option<Outcome>,
    /// Why, machine-readable.
    pub reason: Option<String>,
}

/// `GET /api/v1/sites/{site}/orders/{sequence}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OrderDetail {
    /// The same as in the list.
    #[serde(flatten)]
    pub summary: OrderSummary,
    /// The signed envelope.
    pub envelope: Value,
    /// Its payload, decoded.
    pub payload: Value,
}

/// `GET /api/v1/evidence`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EvidencePage {
    /// The bundles of this page, oldest first.
    pub evidence: Vec<EvidenceSummary>,
    /// Where the next page begins; none on the last one.
    pub next: Option<Value>,
}

/// One bundle as the control plane lists it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EvidenceSummary {
    /// The site.
    pub site: Site,
    /// The enrolment.
    pub epoch: u64,
    /// The ledger that made it.
    pub ledger_id: Id,
    /// Its place in that ledger's chain.
    pub sequence: u64,
    /// The bundle.
    pub id: Id,
    /// How it ended.
    pub outcome: Outcome,
    /// The check it is about.
    pub check: Option<String>,
    /// Why, machine-readable.
    pub reason: String,
    /// Why, in one sentence.
    pub detail: String,
    /// When it ended, by the appliance's clock.
    pub finished_at: Timestamp,
    /// When the control plane received it.
    pub received_at: Timestamp,
    /// The digest of its bytes.
    pub sha256: Digest,
    /// The order it answers.
    pub order_id: Option<Id>,
}

/// `GET /api/v1/sites/{site}/evidence/{ledger_id}/{sequence}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EvidenceDetail {
    /// The bundle's exact bytes.
    pub json: Bytes,
    /// The raw signature.
    pub sig: Bytes,
    /// The DSSE envelope.
    pub dsse: Bytes,
    /// The receipt, a C2SP tlog-proof.
    pub receipt: Option<String>,
}

impl EvidenceDetail {
    /// The three signed parts.
    pub fn signed(&self) -> SignedBundle {
        SignedBundle { json: self.json.clone(), sig: self.sig.clone(), dsse: self.dsse.clone() }
    }
}

/// `POST /api/v1/links`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Link {
    /// The address, good for one visit.
    pub url: String,
    /// What can be typed on the console's login page instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Until when.
    pub expires_at: Timestamp,
}
