//! Events for a carrier: what happened since it last said that it had brought everything where it goes.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::routing::{get, post};
use axum::{Json, Router};
use compliance_pki::Identity;
use compliance_protocol::digest::Digest;
use compliance_protocol::name::{Carrier, Tenant};
use serde::{Deserialize, Serialize};

use super::{Shared, elsewhere};
use crate::app::App;
use crate::body;
use crate::changes::{Change, Heard, Watcher, What};
use crate::identity::Peer;
use crate::problem::Problem;
use crate::store::{Event, EventKind, EventOf, EvidenceRow, OrderChange, OrderRow, View};

/// The most events that one answer has, and how many it has when nobody asks for a number.
const MAX_LIMIT: u32 = 256;
/// As long an answer may wait for the first event: less than a request may take.
const MAX_WAIT_S: u32 = 20;
/// As long a text of a bundle may be in an event, in characters: no appliance can fill an answer or a message.
const MAX_TEXT: usize = 512;
/// The largest body of an acknowledgement, in bytes.
const MAX_ACKNOWLEDGEMENT: usize = 1024;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/api/v1/events", get(list))
        .route("/api/v1/events/acknowledge", post(acknowledge))
}

/// The carrier that calls. An operator is none: whoever owns a carrier shall have no more than events.
struct CallingCarrier(Carrier);

impl<S: Sync> FromRequestParts<S> for CallingCarrier {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match parts.extensions.get::<Peer>().map(|peer| &peer.identity) {
            Some(Identity::Carrier { name, .. }) => Ok(Self(name.clone())),
            Some(Identity::Operator { .. }) => Err(Problem::forbidden(
                "events are for carriers; `compliancectl carrier add` makes a certificate for one",
            )),
            other => Err(elsewhere(other)),
        }
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    after: Option<u64>,
    limit: Option<u32>,
    wait_s: Option<u32>,
}

#[derive(Serialize)]
struct Events {
    events: Vec<Outgoing>,
}

/// An event as it leaves.
#[derive(Serialize)]
struct Outgoing {
    event: u64,
    kind: EventKind,
    message_id: Digest,
    tenant: Tenant,
    #[serde(flatten)]
    of: EventOf,
}

/// Answers at once if there are events, else when there is one, or with none after `wait_s`.
async fn list(
    State(app): State<Arc<App>>,
    CallingCarrier(carrier): CallingCarrier,
    uri: Uri,
) -> Result<Json<Events>, Problem> {
    let page: Page = body::query(&uri)?;
    let wait = Duration::from_secs(page.wait_s.unwrap_or(0).min(MAX_WAIT_S).into());
    let mut over = pin!(tokio::time::sleep(wait));
    let mut watcher = app.store.changes().watch();
    loop {
        let carrier = carrier.clone();
        let events =
            app.blocking(move |app| app.store.read(|view| read(app, view, &carrier, page))).await?;
        let changed = events.is_empty()
            && tokio::select! {
                () = &mut over => false,
                happened = something_happened(&mut watcher) => happened,
            };
        if !changed {
            return Ok(Json(Events { events }));
        }
    }
}

/// Returns once there may be an event; false when the server ends.
async fn something_happened(watcher: &mut Watcher) -> bool {
    loop {
        match watcher.next().await {
            // Every poll of every appliance tells this, and it is no event.
            Some(Heard::Change(Change { what: What::Seen { .. }, .. })) => {}
            heard => return heard.is_some(),
        }
    }
}

fn read(
    app: &App,
    view: &View<'_>,
    carrier: &Carrier,
    page: Page,
) -> Result<Vec<Outgoing>, Problem> {
    let after = page.after.map_or_else(|| view.acknowledged(carrier), Ok)?;
    let limit = page.limit.unwrap_or(MAX_LIMIT).clamp(1, MAX_LIMIT);
    let events = view.events(after, limit)?;
    Ok(events.into_iter().map(|event| message(event, &app.tenant)).collect())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Acknowledgement {
    through: u64,
}

async fn acknowledge(
    State(app): State<Arc<App>>,
    CallingCarrier(carrier): CallingCarrier,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let bytes = body::read(&headers, body, MAX_ACKNOWLEDGEMENT).await?;
    let Acknowledgement { through } = serde_json::from_slice(&bytes)
        .map_err(|error| Problem::bad_request(format!("this is no acknowledgement: {error}")))?;
    app.store
        .write(move |tx| {
            let last = tx.last_event()?;
            if through > last {
                let detail = format!("event {through} has not happened; the last one is {last}");
                return Err(Problem::conflict("no-such-event", detail));
            }
            Ok(tx.acknowledge(&carrier, through)?)
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn message(event: Event, tenant: &Tenant) -> Outgoing {
    let Event { number, kind, of } = event;
    let message_id = message_id(kind, &of);
    Outgoing { event: number, kind, message_id, tenant: tenant.clone(), of: short(of) }
}

/// Names what happened: the same again has the same id, and nothing else has.
fn message_id(kind: EventKind, of: &EventOf) -> Digest {
    match of {
        EventOf::Bundle(bundle) if kind == EventKind::Evidence => bundle.sha256,
        EventOf::Bundle(bundle) => Digest::of(format!("alert:{}", bundle.sha256).as_bytes()),
        EventOf::Order(OrderChange { order, payload_sha256, .. }) => {
            let state = order.state.code();
            let outcome = order.outcome.map_or("", |outcome| outcome.code());
            Digest::of(format!("order:{payload_sha256}:{state}:{outcome}").as_bytes())
        }
    }
}

/// The same, with texts that an appliance wrote cut to their bound.
fn short(of: EventOf) -> EventOf {
    let cut = |text: String| text.chars().take(MAX_TEXT).collect::<String>();
    match of {
        EventOf::Bundle(bundle) => EventOf::Bundle(EvidenceRow {
            check: bundle.check.map(cut),
            reason: cut(bundle.reason),
            detail: cut(bundle.detail),
            ..bundle
        }),
        EventOf::Order(change) => {
            let reason = change.order.reason.map(cut);
            EventOf::Order(OrderChange { order: OrderRow { reason, ..change.order }, ..change })
        }
    }
}

#[cfg(test)]
mod tests {
    use compliance_protocol::time::Timestamp;

    use super::*;
    use crate::changes::Changes;

    #[tokio::test]
    async fn a_carrier_that_waits_looks_again_for_evidence_and_not_for_every_poll() {
        let changes = Changes::default();
        let mut watcher = changes.watch();
        let tell = |what| changes.tell(Change { site: "clinic-a".parse().unwrap(), what });
        let mut happened = async |within| {
            tokio::time::timeout(within, something_happened(&mut watcher)).await.ok()
        };
        tell(What::Seen { at: Timestamp::from_millis(0) });
        assert_eq!(happened(Duration::ZERO).await, None);
        tell(What::Evidence);
        assert_eq!(happened(Duration::MAX).await, Some(true));
        changes.end();
        assert_eq!(happened(Duration::MAX).await, Some(false));
    }
}
