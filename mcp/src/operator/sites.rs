//! `/api/v1/sites`: sites, their trust files and certificates.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, put};
use axum::{Json, Router};
use compliance_protocol::envelope::MAX_ENVELOPE;
use serde::Serialize;

use super::{Caller, Shared, site_name, site_row};
use crate::app::App;
use crate::body::Params;
use crate::fleet::{self, SiteSummary};
use crate::problem::Problem;
use crate::push::{self, Put};
use crate::store::CertificateRow;
use crate::tls::Tls;
use crate::{body, certificate};

/// The largest certificate that is read, in bytes.
const MAX_CERTIFICATE: usize = 64 * 1024;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/api/v1/sites", get(list))
        .route("/api/v1/sites/{site}", get(show).put(put_trust))
        .route("/api/v1/sites/{site}/trust", get(trust))
        .route("/api/v1/sites/{site}/certificate", put(put_certificate))
        .route("/api/v1/certificates", get(certificates))
}

#[derive(Serialize)]
struct Sites {
    sites: Vec<SiteSummary>,
}

async fn list(State(app): State<Arc<App>>, _: Caller) -> Result<Json<Sites>, Problem> {
    let sites = app.blocking(|app| Ok(app.store.read(|view| fleet::all(app, view))?)).await?;
    Ok(Json(Sites { sites }))
}

async fn show(
    State(app): State<Arc<App>>,
    _: Caller,
    Params(site): Params<String>,
) -> Result<Json<SiteSummary>, Problem> {
    let name = site_name(&site)?;
    app.blocking(move |app| {
        app.store.read(|view| Ok(fleet::summary(app, view, site_row(view, &name)?)?))
    })
    .await
    .map(Json)
}

async fn put_trust(
    State(app): State<Arc<App>>,
    Caller(operator): Caller,
    Params(site): Params<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let name = site_name(&site)?;
    let bytes = body::read(&headers, body, MAX_ENVELOPE).await?;
    let (shared, now) = (Arc::clone(&app), app.now());
    let put = app.store.write(move |tx| push::trust(tx, &shared, &name, &bytes, now)).await?;
    tracing::info!(%operator, site, ?put, "a trust file was put");
    Ok(if put == Put::Registered { StatusCode::CREATED } else { StatusCode::OK })
}

async fn trust(
    State(app): State<Arc<App>>,
    _: Caller,
    Params(site): Params<String>,
) -> Result<impl IntoResponse, Problem> {
    let name = site_name(&site)?;
    let envelope = app
        .blocking(move |app| {
            app.store.read(|view| Ok(view.trust_envelope(&site_row(view, &name)?)?))
        })
        .await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], envelope))
}

#[derive(Serialize)]
struct Pending {
    pending: Vec<CertificateRow>,
}

async fn certificates(State(app): State<Arc<App>>, _: Caller) -> Result<Json<Pending>, Problem> {
    let pending =
        app.blocking(|app| app.store.read(|view| Ok(view.pending_certificates()?))).await?;
    Ok(Json(Pending { pending }))
}

async fn put_certificate(
    State(app): State<Arc<App>>,
    State(tls): State<Tls>,
    Caller(operator): Caller,
    Params(site): Params<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let name = site_name(&site)?;
    let bytes = body::read(&headers, body, MAX_CERTIFICATE).await?;
    let pem = String::from_utf8(bytes.to_vec())
        .map_err(|_| Problem::refused("certificate", "this is not a PEM certificate"))?;
    certificate::answer(&app, &tls, &name, pem).await?;
    tracing::info!(%operator, site, "a certificate was put");
    Ok(StatusCode::OK)
}
