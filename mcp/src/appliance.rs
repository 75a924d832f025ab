//! What appliances call (PROTOCOL §4). Who calls is what the certificate says, and nothing in a request.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use compliance_pki::Identity;
use compliance_protocol::name::Site;
use compliance_protocol::wire::{Health, MAX_BODY, PollAnswer, Upload, UploadAnswer};
use serde::Deserialize;

use crate::app::App;
use crate::certificate::{self, Renewal};
use crate::feed::{self, Poll};
use crate::identity::Peer;
use crate::ingest::{self, MAX_BUNDLES};
use crate::problem::Problem;
use crate::{body, problem};

/// The largest certificate request that is read, in bytes.
const MAX_REQUEST: usize = 16 * 1024;

/// The appliances' routes.
pub fn routes(app: Arc<App>) -> Router {
    Router::new()
        .route("/api/v1/orders", get(orders))
        .route("/api/v1/evidence", post(evidence))
        .route("/api/v1/certificate", post(certificate))
        .route("/api/v1/health", get(health))
        .fallback(problem::no_such_page)
        .method_not_allowed_fallback(problem::no_such_method)
        .with_state(app)
}

/// The appliance that calls.
#[derive(Debug)]
pub struct Appliance {
    site: Site,
    peer: Peer,
}

impl<S: Sync> FromRequestParts<S> for Appliance {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match parts.extensions.get::<Peer>() {
            Some(peer) => match &peer.identity {
                Identity::Site { site, .. } => Ok(Self { site: site.clone(), peer: peer.clone() }),
                Identity::Operator { .. } | Identity::Carrier { .. } => Err(Problem::forbidden(
                    "this listener is for appliances; operators and carriers have one of their own",
                )),
            },
            None => Err(Problem::forbidden("a client certificate is required")),
        }
    }
}

/// `GET /api/v1/health`.
pub(crate) async fn health() -> Json<Health> {
    Json(Health { status: "ok".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() })
}

async fn orders(
    State(app): State<Arc<App>>,
    Appliance { site, .. }: Appliance,
    uri: Uri,
) -> Result<Json<PollAnswer>, Problem> {
    let poll: Poll = body::query(&uri)?;
    app.blocking(move |app| poll_of(app, &site, poll)).await.map(Json)
}

/// Answers a poll of the appliance of `site`.
pub fn poll_of(app: &App, site: &Site, poll: Poll) -> Result<PollAnswer, Problem> {
    let answer = app.store.read(|view| {
        let row = view.site(site)?.ok_or_else(|| not_registered(site))?;
        feed::answer(app, view, &row, poll).map_err(|error| {
            tracing::error!(%error, %site, "a poll was not answered");
            Problem::unavailable("the feed head could not be made; try again later")
        })
    })?;
    app.presence.polled(app.store.changes(), site, app.now(), poll.pending);
    Ok(answer)
}

/// The query of an upload.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UploadQuery {
    #[serde(default)]
    log: u64,
}

async fn evidence(
    State(app): State<Arc<App>>,
    Appliance { site, .. }: Appliance,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<UploadAnswer>, Problem> {
    let UploadQuery { log } = body::query(&uri)?;
    let bytes = body::read(&headers, body, MAX_BODY).await?;
    known(&app, &site).await?;
    let upload: Upload = serde_json::from_slice(&bytes)
        .map_err(|error| Problem::bad_request(format!("this is not an upload: {error}")))?;
    if upload.bundles.len() > MAX_BUNDLES {
        return Err(Problem::bad_request(format!(
            "an upload holds at most {MAX_BUNDLES} bundles; send the rest in the next one"
        )));
    }
    ingest::ingest(&app, &site, upload.bundles, log).await.map(Json)
}

async fn certificate(
    State(app): State<Arc<App>>,
    Appliance { site, peer }: Appliance,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let bytes = body::read(&headers, body, MAX_REQUEST).await?;
    known(&app, &site).await?;
    let pem = String::from_utf8(bytes.to_vec())
        .map_err(|_| Problem::bad_request("a certificate request is PEM text"))?;
    match certificate::renew(&app, &site, &peer, pem).await? {
        Renewal::NotDue => Ok(StatusCode::NO_CONTENT.into_response()),
        Renewal::Pending => Ok(StatusCode::ACCEPTED.into_response()),
        Renewal::Ready(pem) => {
            Ok(([(header::CONTENT_TYPE, "application/pem-certificate-chain")], pem).into_response())
        }
    }
}

/// The site is registered, and was just heard of.
async fn known(app: &Arc<App>, site: &Site) -> Result<(), Problem> {
    let site = site.clone();
    app.blocking(move |app| {
        app.store.read(|view| match view.site(&site)? {
            Some(_) => Ok(()),
            None => Err(not_registered(&site)),
        })?;
        app.presence.seen(app.store.changes(), &site, app.now());
        Ok(())
    })
    .await
}

fn not_registered(site: &Site) -> Problem {
    Problem::forbidden(format!(
        "the site {site} is not registered; an operator registers it with its trust file"
    ))
}
