//! Tickets and feed heads: how a poll proves that its answer is fresh.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::envelope::Payload;
use crate::name::{Id, Site, Tenant};
use crate::time::{Span, Timestamp};

/// How long a ticket can be used, counted on `CLOCK_BOOTTIME`.
pub const TICKET_LIFE: Span = Span::from_secs(60);

/// The most orders that a head lists and an answer carries.
pub const MAX_OPEN: usize = 32;

/// 128 random bits that the control plane must echo, in text 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Nonce([u8; 16]);

impl Nonce {
    /// Takes 16 random bytes.
    pub const fn from_random(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl FromStr for Nonce {
    type Err = NotANonce;

    fn from_str(text: &str) -> Result<Self, NotANonce> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| NotANonce)?;
        let nonce = Self(bytes);
        if nonce.to_string() == text { Ok(nonce) } else { Err(NotANonce) }
    }
}

/// The text is not 32 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a nonce is written as 32 lower-case hexadecimal digits")]
pub struct NotANonce;

impl TryFrom<String> for Nonce {
    type Error = NotANonce;

    fn try_from(text: String) -> Result<Self, NotANonce> {
        text.parse()
    }
}

impl From<Nonce> for String {
    fn from(nonce: Nonce) -> Self {
        nonce.to_string()
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Permission to poll once, given by the executor to the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// To be echoed by the head.
    pub nonce: Nonce,
    /// The highest order sequence consumed; orders after it are wanted.
    pub after: u64,
    /// The size of the last checkpoint verified; a consistency proof from there is wanted.
    pub log_size: u64,
    /// How many bundles have no receipt yet; the poll says so, for people to see.
    pub pending: u64,
    /// The executor's best idea of the time, for checking the server's certificate.
    pub time: Timestamp,
}

/// What the control plane signs on every poll, orders or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedHead {
    /// The tenant it is for.
    pub tenant: Tenant,
    /// The site it is for.
    pub site: Site,
    /// The enrolment it is for.
    pub epoch: u64,
    /// The ticket's nonce.
    pub nonce: Nonce,
    /// The control plane's time.
    pub issued_at: Timestamp,
    /// The highest order sequence ever issued to this site in this epoch; 0 before the first.
    pub highest_sequence: u64,
    /// The orders without terminal evidence, in ascending sequence, at most [`MAX_OPEN`].
    pub open: Vec<OpenOrder>,
    /// The newest evidence that the control plane holds of this site.
    pub evidence_head: Option<EvidenceHead>,
    /// Where the evidence log stands. A checkpoint alone may be an old one, brought again by a courier;
    /// this one is as fresh as the head.
    pub log: LogState,
}

/// Where the evidence log stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogState {
    /// How many entries it has.
    pub size: u64,
    /// The root of its tree (RFC 6962 §2.1).
    pub root: Digest,
}

impl Payload for FeedHead {
    const TYPE: &'static str = "application/vnd.compliance.feed.v1+json";
}

/// An order that the control plane waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenOrder {
    /// Its sequence.
    pub sequence: u64,
    /// Its id.
    pub id: Id,
    /// The digest of its payload.
    pub payload_sha256: Digest,
}

/// Where a chain of evidence stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceHead {
    /// The ledger that made it.
    pub ledger_id: Id,
    /// The last bundle's sequence.
    pub sequence: u64,
    /// The digest of the last bundle's bytes.
    pub sha256: Digest,
}
