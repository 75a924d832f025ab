//! HTTP version 1: the bodies that the appliance and the control plane exchange.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::digest::Digest;
use crate::evidence::SignedBundle;
use crate::name::Id;

/// The largest answer to a poll, and the largest upload, in bytes.
pub const MAX_BODY: usize = 1024 * 1024;

/// `GET /api/v1/orders?after=SEQ&nonce=HEX&log=SIZE`: the answer. Nothing in it is trusted but what is signed.
#[derive(Debug, Serialize, Deserialize)]
pub struct PollAnswer {
    /// The feed head's envelope.
    pub feed: Box<RawValue>,
    /// Order envelopes.
    pub orders: Vec<Box<RawValue>>,
    /// The evidence log's signed checkpoint.
    pub checkpoint: String,
    /// The proof that the checkpoint extends the log of the size asked for.
    pub consistency: Vec<Digest>,
    /// When to poll again, in seconds; clamped by the agent.
    pub poll_after_s: u32,
}

/// `POST /api/v1/evidence?log=SIZE`: the request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upload {
    /// The bundles, in chain order.
    pub bundles: Vec<SignedBundle>,
}

/// `POST /api/v1/evidence?log=SIZE`: the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadAnswer {
    /// One for each bundle, in the order of the request.
    pub results: Vec<UploadResult>,
    /// The evidence log's signed checkpoint.
    pub checkpoint: String,
    /// The proof that the checkpoint extends the log of the size asked for.
    pub consistency: Vec<Digest>,
}

/// What became of one bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadResult {
    /// The bundle, if it could be read.
    pub id: Option<Id>,
    /// What became of it.
    pub status: UploadStatus,
    /// The receipt, a C2SP `tlog-proof@v1`, unless refused.
    pub receipt: Option<String>,
    /// Why it was refused.
    pub reason: Option<String>,
}

/// What became of an uploaded bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UploadStatus {
    /// It was stored.
    Stored,
    /// It was here already; the receipt is for that one.
    Duplicate,
    /// It is not taken: a bad signature, another site, or a fork.
    Refused,
}

/// `GET /api/v1/health`: the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Always `ok`.
    pub status: String,
    /// The server's version.
    pub version: String,
}

/// An error, as `application/problem+json` (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A URI reference that names the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What failed, on what, and what to do next.
    pub detail: String,
}
