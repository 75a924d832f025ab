//! Admission: from bytes that came as an order to a ruling. Pure.
//!
//! The rules of PROTOCOL §2 are checked in their order; the first one that fails is the reason.

use compliance_protocol::clock::TrustedNow;
use compliance_protocol::digest::Digest;
use compliance_protocol::envelope::{
    Envelope, EnvelopeError, Payload as _, SignatureError, Verified,
};
use compliance_protocol::feed::FeedHead;
use compliance_protocol::name::Id;
use compliance_protocol::order::{MAX_JUMP, Order, OrderHeader, Refusal};
use compliance_protocol::time::{Span, Timestamp};
use compliance_protocol::trust::Trust;

use crate::ledger::LedgerError;

/// How far the signer's clock may be ahead of ours.
const ISSUE_TOLERANCE: Span = Span::from_secs(60);

/// A question to the ledger.
pub type LookUp<'a, Q, A> = dyn Fn(Q) -> Result<A, LedgerError> + 'a;

/// What admission needs to know about the past.
pub struct Seen<'a> {
    /// The highest sequence consumed.
    pub last: u64,
    /// The payload digest of the order that consumed a sequence.
    pub payload_at: Box<LookUp<'a, u64, Option<Digest>>>,
    /// Whether an order of that id consumed any sequence.
    pub knows_id: Box<LookUp<'a, Id, bool>>,
}

impl std::fmt::Debug for Seen<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seen").field("last", &self.last).finish_non_exhaustive()
    }
}

/// Bytes that are refused without consuming a sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The rule that they break.
    pub refusal: Refusal,
    /// The digest of the signed payload if the signature held, else of the bytes.
    pub digest: Digest,
    /// The rule in a sentence.
    pub detail: String,
}

/// An order of ours by signature, tenant, site and epoch, whatever its sequence and time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identified {
    payload: Verified<Vec<u8>>,
    header: OrderHeader,
    envelope: Vec<u8>,
}

impl Identified {
    /// Its header.
    pub fn header(&self) -> &OrderHeader {
        &self.header
    }

    /// The digest of its payload.
    pub fn payload_sha256(&self) -> Digest {
        self.payload.payload_sha256()
    }

    /// Its exact envelope.
    pub fn envelope(&self) -> &[u8] {
        &self.envelope
    }
}

/// Where an identified order stands towards the sequences consumed so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// These very bytes were consumed before: nothing is to be done.
    Known,
    /// The sequence is free: it is to be consumed.
    Free,
    /// Refused, consuming nothing.
    Refused(Rejection),
}

/// What is to become of an order whose sequence is consumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// It is accepted.
    Accepted(Box<Verified<Order>>),
    /// Nobody knows the time: it waits, and is ruled on again.
    ClockUnknown,
    /// It is refused.
    Refused(Refusal, String),
}

/// Size, form, signatures, tenant, site and epoch.
pub fn identify(bytes: &[u8], trust: &Trust) -> Result<Identified, Rejection> {
    let refused = |refusal, digest, detail: String| Rejection { refusal, digest, detail };
    let envelope = Envelope::parse(bytes).map_err(|error| {
        let refusal = match error {
            EnvelopeError::Size(_) => Refusal::Size,
            _ => Refusal::Malformed,
        };
        refused(refusal, Digest::of(bytes), error.to_string())
    })?;
    let payload = envelope.verify(Order::TYPE, &trust.roles.orders.any).map_err(|error| {
        let refusal = match error {
            SignatureError::OtherType(_) => Refusal::Malformed,
            SignatureError::BadSignature => Refusal::BadSignature,
            SignatureError::Threshold { .. } => Refusal::Threshold,
        };
        refused(refusal, Digest::of(bytes), error.to_string())
    })?;
    let digest = payload.payload_sha256();
    let header = payload
        .order_header()
        .map_err(|error| refused(Refusal::Malformed, digest, error.to_string()))?;
    let wrong = if header.tenant != trust.tenant {
        Some((Refusal::WrongTenant, format!("the order is for tenant {}", header.tenant)))
    } else if header.site != trust.site {
        Some((Refusal::WrongSite, format!("the order is for site {}", header.site)))
    } else if header.epoch != trust.epoch {
        Some((Refusal::WrongEpoch, format!("the order is for epoch {}", header.epoch)))
    } else {
        None
    };
    match wrong {
        Some((refusal, detail)) => Err(refused(refusal, digest, detail)),
        None => Ok(Identified { payload, header, envelope: bytes.to_vec() }),
    }
}

/// Whether the order's sequence is free.
pub fn place(order: &Identified, seen: &Seen<'_>) -> Result<Place, LedgerError> {
    let header = &order.header;
    let refused = |refusal, detail: String| {
        Ok(Place::Refused(Rejection { refusal, digest: order.payload_sha256(), detail }))
    };
    match (seen.payload_at)(header.sequence)? {
        Some(digest) if digest == order.payload_sha256() => return Ok(Place::Known),
        Some(_) => {
            let detail = format!("sequence {} was consumed by another order", header.sequence);
            return refused(Refusal::SequenceReused, detail);
        }
        None => {}
    }
    let before = (seen.payload_at)(header.sequence.saturating_sub(1))?;
    if before.is_some() && header.previous_sha256 != before {
        let detail = "it follows another order than the one consumed here before it".to_owned();
        return refused(Refusal::SequenceReused, detail);
    }
    if header.sequence <= seen.last {
        let detail = format!("sequence {} is past, the last one is {}", header.sequence, seen.last);
        return refused(Refusal::Replayed, detail);
    }
    if (seen.knows_id)(header.id)? {
        return refused(Refusal::Replayed, format!("an order {} was consumed before", header.id));
    }
    if header.sequence - seen.last > MAX_JUMP {
        let detail = format!(
            "sequence {} is more than {MAX_JUMP} after {}; only a new enrolment resets sequences",
            header.sequence, seen.last
        );
        return refused(Refusal::Policy, detail);
    }
    Ok(Place::Free)
}

/// Rules on an order whose sequence is being consumed.
pub fn rule(order: &Identified, head: &FeedHead, now: TrustedNow) -> Ruling {
    let listed = head.open.iter().any(|open| {
        (open.sequence, open.id, open.payload_sha256)
            == (order.header.sequence, order.header.id, order.payload_sha256())
    });
    if listed {
        rule_on_time(order, now)
    } else {
        let detail = "the feed head does not list it as open".to_owned();
        Ruling::Refused(Refusal::NotListed, detail)
    }
}

/// Rules on an order that was listed when it came, from its time on.
pub fn rule_on_time(order: &Identified, now: TrustedNow) -> Ruling {
    let header = &order.header;
    let Some(now) = now.at() else { return Ruling::ClockUnknown };
    let earliest =
        Timestamp::from_millis(header.issued_at.as_millis() - ISSUE_TOLERANCE.as_millis());
    let from = header.not_before.map_or(earliest, |from| from.max(earliest));
    if now < from {
        return Ruling::Refused(Refusal::NotYetValid, format!("it is valid from {from}"));
    }
    if now >= header.expires_at {
        return Ruling::Refused(
            Refusal::Expired,
            format!("it was to be accepted by {}", header.expires_at),
        );
    }
    rule_on_content(order)
}

/// Rules on what the order asks for.
pub fn rule_on_content(order: &Identified) -> Ruling {
    let read = match order.payload.order() {
        Ok(read) => read,
        Err(Refusal::UnknownAction) => {
            let detail =
                format!("this release does not know the action {:?}", order.header.action.name);
            return Ruling::Refused(Refusal::UnknownAction, detail);
        }
        Err(refusal) => {
            let detail = "a field of it is missing, unknown or out of bounds".to_owned();
            return Ruling::Refused(refusal, detail);
        }
    };
    Ruling::Accepted(Box::new(read))
}
