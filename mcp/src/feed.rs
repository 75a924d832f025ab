//! The answer to a poll: a fresh, signed head, and the orders that it lists.

use compliance_protocol::feed::{FeedHead, LogState, Nonce, OpenOrder};
use compliance_protocol::wire::{MAX_BODY, PollAnswer};
use compliance_signing::sign;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::app::App;
use crate::log;
use crate::store::{OpenRow, SiteRow, StoreError, View};

/// What an answer holds besides orders: head, checkpoint and proof are far below this, in bytes.
const RESERVE: usize = 64 * 1024;

/// What an appliance asks in a poll.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Poll {
    /// Orders after this sequence are wanted.
    pub after: u64,
    /// To be echoed in the head.
    pub nonce: Nonce,
    /// A proof from a log of this size is wanted.
    pub log: u64,
    /// How many bundles wait at the appliance, as its courier claims.
    pub pending: Option<u64>,
}

/// Why a poll is not answered.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The head could not be written down.
    #[error("the feed head cannot be signed: {0}")]
    Sign(#[from] compliance_protocol::json::JsonError),
    /// A stored envelope is not JSON.
    #[error("a stored envelope cannot be sent: {0}")]
    Envelope(#[from] serde_json::Error),
}

/// Answers `poll` of `site`. `view` is one moment: what is listed open and what was ever issued agree.
pub fn answer(
    app: &App,
    view: &View<'_>,
    site: &SiteRow,
    poll: Poll,
) -> Result<PollAnswer, FeedError> {
    let open = view.open_orders(site, poll.after)?;
    let listed = |order: &OpenRow| OpenOrder {
        sequence: order.sequence,
        id: order.id,
        payload_sha256: order.payload_sha256,
    };
    let log = view.log_head()?;
    let head = FeedHead {
        tenant: app.tenant.clone(),
        site: site.name.clone(),
        epoch: site.epoch,
        nonce: poll.nonce,
        issued_at: app.now(),
        highest_sequence: view.issued(site)?.highest,
        open: open.iter().map(listed).collect(),
        evidence_head: view.evidence_head(site)?,
        log: LogState { size: log.size, root: log.root },
    };
    let feed = raw(String::from_utf8_lossy(&sign(&head, &[&app.feed_key])?).into_owned())?;
    Ok(PollAnswer {
        feed,
        orders: handed_over(open)?,
        consistency: log::consistency(view, &log, poll.log)?,
        checkpoint: log.checkpoint,
        poll_after_s: app.poll_after_s,
    })
}

/// The envelopes that fit into one answer, from the lowest on: an order is only taken when every lower
/// one that is open came with it, and the rest comes with the next poll.
fn handed_over(open: Vec<OpenRow>) -> Result<Vec<Box<RawValue>>, FeedError> {
    let mut left = MAX_BODY - RESERVE;
    let fits = |envelope: &String| match left.checked_sub(envelope.len() + 1) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    open.into_iter().filter_map(|order| order.envelope).take_while(fits).map(raw).collect()
}

fn raw(json: String) -> Result<Box<RawValue>, FeedError> {
    Ok(RawValue::from_string(json)?)
}
