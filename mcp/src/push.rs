//! What operators put here: trust files and orders, all signed elsewhere. Nothing is taken that an
//! appliance would refuse anyway.

use compliance_protocol::envelope::{Envelope, EnvelopeError, SignatureError};
use compliance_protocol::envelope::{Payload as _, Verified};
use compliance_protocol::feed::MAX_OPEN;
use compliance_protocol::key::KeySet;
use compliance_protocol::name::Site;
use compliance_protocol::order::{Order, Refusal, When};
use compliance_protocol::time::Timestamp;
use compliance_protocol::trust::{Trust, TrustError};

use crate::app::{self, App};
use crate::store::{NewOrder, SiteRow, StoreError, Tx};

/// Why an order or a trust file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The site is not registered.
    #[error("there is no site {0}; put its trust file first")]
    NoSuchSite(Site),
    /// The order would be refused by the appliance.
    #[error("{detail}")]
    Order {
        /// The rule.
        code: Refusal,
        /// What is wrong.
        detail: String,
    },
    /// The trust file does not verify or does not follow the one that is here.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The trust file is good for another control plane.
    #[error("{0}")]
    NotOurs(&'static str),
    /// The sequence is not the next one.
    #[error(
        "the next order of this site has sequence {next}, not {offered}; ask for next-order and sign again"
    )]
    Sequence {
        /// Offered.
        offered: u64,
        /// The next.
        next: u64,
    },
    /// The order names another order before it than is here.
    #[error(
        "previous_sha256 is not the digest of the order before; ask for next-order and sign again"
    )]
    Previous,
    /// Too many orders are open.
    #[error(
        "{MAX_OPEN} orders of this site are open already; withdraw one, or wait for their evidence"
    )]
    TooManyOpen,
    /// The envelope cannot be written down.
    #[error(transparent)]
    Json(#[from] compliance_protocol::json::JsonError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Stores an order for `name`; returns its sequence.
pub fn order(tx: &Tx<'_>, name: &Site, bytes: &[u8], now: Timestamp) -> Result<u64, PushError> {
    let site = tx.site(name)?.ok_or_else(|| PushError::NoSuchSite(name.clone()))?;
    let trust = app::trust(tx, &site)?;
    let envelope = Envelope::parse(bytes).map_err(|error| match error {
        EnvelopeError::Size(_) => refused(Refusal::Size, error.to_string()),
        _ => refused(Refusal::Malformed, error.to_string()),
    })?;
    let verified = verify(&envelope, &trust, &site, now)?;
    let order = verified.value();
    let issued = tx.issued(&site)?;
    let next = issued.highest + 1;
    if order.sequence != next {
        return Err(PushError::Sequence { offered: order.sequence, next });
    }
    if order.previous_sha256 != issued.payload_sha256 {
        return Err(PushError::Previous);
    }
    if tx.count_open(&site)? >= MAX_OPEN {
        return Err(PushError::TooManyOpen);
    }
    let new = NewOrder {
        sequence: order.sequence,
        id: order.id,
        payload_sha256: verified.payload_sha256(),
        envelope: envelope.to_json()?,
        action: order.action.name(),
        when: order.when,
        issued_at: order.issued_at,
        expires_at: order.expires_at,
    };
    tx.insert_order(&site, &new, now)?;
    Ok(order.sequence)
}

/// What became of a trust file that was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The site is new.
    Registered,
    /// It is the site's next trust file.
    Replaced,
    /// It is the one that is here.
    Unchanged,
}

/// Registers a site by its first trust file, or takes its next one.
pub fn trust(
    tx: &Tx<'_>,
    app: &App,
    name: &Site,
    bytes: &[u8],
    now: Timestamp,
) -> Result<Put, PushError> {
    let offered = Trust::first(bytes)?;
    check_ours(app, name, offered.value())?;
    let envelope = Envelope::parse(bytes).map_err(TrustError::from)?.to_json()?;
    let Some(site) = tx.site(name)? else {
        let trust = offered.value();
        if !app::same_keys(&trust.roles.root, &app.root) {
            return Err(PushError::NotOurs(
                "the root keys or their threshold are not those of [root] in mcp.toml",
            ));
        }
        tx.register_site(name, trust.epoch, trust.version, &envelope, now)?;
        return Ok(Put::Registered);
    };
    if tx.trust_envelope(&site)? == envelope {
        return Ok(Put::Unchanged);
    }
    let next = app::trust(tx, &site)?.next(bytes)?;
    let trust = next.value();
    tx.replace_trust(&site, trust.epoch, trust.version, &envelope, now)?;
    Ok(Put::Replaced)
}

/// An appliance that trusted such a file would refuse everything that this control plane says.
fn check_ours(app: &App, name: &Site, trust: &Trust) -> Result<(), PushError> {
    let feed = &trust.roles.feed;
    let wrong = if trust.tenant != app.tenant {
        "the trust file is for another tenant"
    } else if &trust.site != name {
        "the trust file is for another site"
    } else if feed.threshold() != 1 || !feed.keys().contains(&app.feed_key.public()) {
        "the trust file does not take feed heads signed by this control plane's one feed key"
    } else if trust.log != app.log {
        "the trust file names another evidence log, or another checkpoint key, than this control plane's"
    } else {
        return Ok(());
    };
    Err(PushError::NotOurs(wrong))
}

/// The rules of PROTOCOL §2 in their order, as far as they can be judged here.
fn verify(
    envelope: &Envelope,
    trust: &Trust,
    site: &SiteRow,
    now: Timestamp,
) -> Result<Verified<Order>, PushError> {
    let keys = &trust.roles.orders;
    let payload = signed(envelope, &keys.any)?;
    let header =
        payload.order_header().map_err(|error| refused(Refusal::Malformed, error.to_string()))?;
    if header.tenant != trust.tenant {
        return Err(refused(
            Refusal::WrongTenant,
            format!("it is for the tenant {}", header.tenant),
        ));
    }
    if header.site != site.name {
        return Err(refused(Refusal::WrongSite, format!("it is for the site {}", header.site)));
    }
    if header.epoch != site.epoch {
        let detail =
            format!("it is for epoch {}, the site is in epoch {}", header.epoch, site.epoch);
        return Err(refused(Refusal::WrongEpoch, detail));
    }
    if header.expires_at <= now {
        return Err(refused(Refusal::Expired, format!("it expired at {}", header.expires_at)));
    }
    let order = payload.order().map_err(|code| match code {
        Refusal::UnknownAction => refused(code, format!("{:?} is no action", header.action.name)),
        _ => refused(code, "a field is missing, unknown, or out of its bounds"),
    })?;
    if order.value().when == When::Now && order.signers() < keys.threshold_now {
        let detail = format!(
            "{} keys signed it; {} must sign an order that overrides the window",
            order.signers(),
            keys.threshold_now
        );
        return Err(refused(Refusal::Threshold, detail));
    }
    Ok(order)
}

fn signed(envelope: &Envelope, keys: &KeySet) -> Result<Verified<Vec<u8>>, PushError> {
    envelope.verify(Order::TYPE, keys).map_err(|error| {
        let code = match error {
            SignatureError::OtherType(_) => Refusal::Malformed,
            SignatureError::BadSignature => Refusal::BadSignature,
            SignatureError::Threshold { .. } => Refusal::Threshold,
        };
        refused(code, error.to_string())
    })
}

fn refused(code: Refusal, detail: impl Into<String>) -> PushError {
    PushError::Order { code, detail: detail.into() }
}
