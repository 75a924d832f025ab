//! Envelopes: orders, baselines, trust files and feed heads.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use compliance_checks::baseline::Baseline;
use compliance_protocol::envelope::{Envelope, OpenError, Payload as _, Verified};
use compliance_protocol::feed::FeedHead;
use compliance_protocol::key::KeySet;
use compliance_protocol::name::{Site, Tenant};
use compliance_protocol::order::Order;
use compliance_protocol::trust::Trust;
use serde::Deserialize;
use serde_json::Value;

use super::{Keys, Report};
use crate::Error;

/// What an envelope claims to hold, *unverified*: its payload type and its payload. For showing and for
/// finding the way only, so the contract's [`Envelope`] does not offer it.
pub fn peek(path: &Path, bytes: &[u8]) -> Result<(String, Value), Error> {
    Envelope::parse(bytes).map_err(|source| Error::Envelope { path: path.to_owned(), source })?;
    let unreadable = |error: &dyn std::fmt::Display| {
        Error::Usage(format!("{}: the payload cannot be shown: {error}", path.display()))
    };
    let outer: Outer = serde_json::from_slice(bytes).map_err(|error| unreadable(&error))?;
    let payload = STANDARD.decode(&outer.payload).or_else(|_| URL_SAFE.decode(&outer.payload));
    let payload = payload.map_err(|error| unreadable(&error))?;
    let payload = serde_json::from_slice(&payload).map_err(|error| unreadable(&error))?;
    Ok((outer.payload_type, payload))
}

#[derive(Deserialize)]
struct Outer {
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: String,
}

/// The payload type of an envelope; nothing if it is none. It only chooses which keys and which shape
/// are tried: the signature covers it.
pub(super) fn kind(bytes: &[u8]) -> Option<String> {
    Envelope::parse(bytes).ok()?;
    serde_json::from_slice::<Outer>(bytes).ok().map(|outer| outer.payload_type)
}

/// Verifies an envelope that is not a bundle's.
pub(super) fn verify(path: &Path, bytes: &[u8], keys: &Keys, report: &mut Report) {
    let checked = Envelope::parse(bytes).map_err(|error| error.to_string());
    let checked = checked.and_then(|envelope| match kind(bytes).as_deref().unwrap_or_default() {
        Order::TYPE => order(&envelope, keys),
        Baseline::TYPE => baseline(&envelope, keys),
        Trust::TYPE => trust(&envelope, keys),
        FeedHead::TYPE => feed(&envelope, keys),
        other => Err(format!("holds a {other:?}, which is nothing that we sign")),
    });
    match checked.and_then(|(what, tenant, site)| match keys.trust() {
        Some(trust) if (&trust.tenant, &trust.site) != (&tenant, &site) => {
            Err(format!("is for {tenant}/{site}, not for the trust file's site"))
        }
        _ => Ok(what),
    }) {
        Ok(what) => {
            report.envelopes += 1;
            report.verified(path, &what);
        }
        Err(why) => report.fails(path, why),
    }
}

type Checked = Result<(String, Tenant, Site), String>;

fn order(envelope: &Envelope, keys: &Keys) -> Checked {
    let set = set(keys, |trust| &trust.roles.orders.any)?;
    let verified = envelope.verify(Order::TYPE, &set).map_err(|error| error.to_string())?;
    let order =
        verified.order().map_err(|refusal| format!("is refused: {}", refusal.code()))?.into_value();
    let what = format!(
        "order {}: {}; whether it is still in time is not looked at",
        order.sequence,
        order.action.name()
    );
    Ok((what, order.tenant, order.site))
}

fn baseline(envelope: &Envelope, keys: &Keys) -> Checked {
    let set = set(keys, |trust| &trust.roles.baseline)?;
    let baseline: Baseline =
        envelope.open(&set).map(Verified::into_value).map_err(|error| refused(&error))?;
    Ok((format!("baseline version {}", baseline.version), baseline.tenant, baseline.site))
}

fn trust(envelope: &Envelope, keys: &Keys) -> Checked {
    let set = set(keys, |trust| &trust.roles.root)?;
    let trust: Trust =
        envelope.open(&set).map(Verified::into_value).map_err(|error| refused(&error))?;
    envelope.verify(Trust::TYPE, &trust.roles.root).map_err(|error| error.to_string())?;
    Ok((
        format!("trust file version {}, epoch {}", trust.version, trust.epoch),
        trust.tenant,
        trust.site,
    ))
}

fn feed(envelope: &Envelope, keys: &Keys) -> Checked {
    let set = set(keys, |trust| &trust.roles.feed)?;
    let head: FeedHead =
        envelope.open(&set).map(Verified::into_value).map_err(|error| refused(&error))?;
    Ok((format!("feed head of {}", head.issued_at), head.tenant, head.site))
}

/// The role's keys by the trust file, or else all the keys given.
fn set(keys: &Keys, role: impl Fn(&Trust) -> &KeySet) -> Result<KeySet, String> {
    match keys.trust() {
        Some(trust) => Ok(role(trust).clone()),
        None => keys.all_given().map_err(|error| error.to_string()),
    }
}

fn refused(error: &OpenError) -> String {
    error.to_string()
}
