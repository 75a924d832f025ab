//! Evidence and the log that it is in.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::routing::get;
use axum::{Json, Router};
use compliance_protocol::bytes::Bytes;
use compliance_protocol::name::{Id, Site};
use serde::{Deserialize, Serialize};

use super::{Caller, Shared, site_name, site_row};
use crate::app::App;
use crate::body::Params;
use crate::problem::Problem;
use crate::store::{EvidenceFiles, EvidenceRow};
use crate::{body, log};

/// The most bundles that one list has, and how many it has when nobody asks for a number.
const MAX_LIMIT: u32 = 1000;
const DEFAULT_LIMIT: u32 = 100;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/api/v1/evidence", get(list))
        .route("/api/v1/sites/{site}/evidence/{ledger_id}/{sequence}", get(show))
        .route("/api/v1/log", get(log_head))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    site: Option<String>,
    after: Option<u64>,
    limit: Option<u32>,
}

#[derive(Serialize)]
struct Evidence {
    evidence: Vec<EvidenceRow>,
    /// To be given as `after`, when there is more.
    next: Option<u64>,
}

async fn list(State(app): State<Arc<App>>, _: Caller, uri: Uri) -> Result<Json<Evidence>, Problem> {
    let Page { site, after, limit } = body::query(&uri)?;
    let name = site.as_deref().map(site_name).transpose()?;
    let limit = limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT);
    app.blocking(move |app| {
        app.store.read(|view| {
            let site = name.map(|name| site_row(view, &name)).transpose()?;
            let mut evidence = view.evidence(site.as_ref(), after, limit + 1)?;
            let more = evidence.len() > usize::try_from(limit).unwrap_or(usize::MAX);
            if more {
                evidence.pop();
            }
            let next = evidence.last().filter(|_| more).map(|last| last.leaf);
            Ok(Evidence { evidence, next })
        })
    })
    .await
    .map(Json)
}

/// A bundle's exact bytes and its receipt.
#[derive(Serialize)]
struct Files {
    json: Bytes,
    sig: Bytes,
    dsse: Bytes,
    receipt: String,
}

async fn show(
    State(app): State<Arc<App>>,
    _: Caller,
    Params((site, ledger_id, sequence)): Params<(String, String, u64)>,
) -> Result<Json<Files>, Problem> {
    let name = site_name(&site)?;
    let ledger_id = ledger_id.parse().map_err(|error| Problem::not_found(format!("{error}")))?;
    app.blocking(move |app| {
        let (_, files, receipt) = with_receipt(app, &name, ledger_id, sequence)?;
        let (json, sig, dsse) = (files.json.into(), files.sig.into(), files.dsse.into());
        Ok(Files { json, sig, dsse, receipt })
    })
    .await
    .map(Json)
}

/// A bundle with a receipt against the log as it is now.
pub(crate) fn with_receipt(
    app: &App,
    site: &Site,
    ledger_id: Id,
    sequence: u64,
) -> Result<(EvidenceRow, EvidenceFiles, String), Problem> {
    app.store.read(|view| {
        let (row, files) = view
            .evidence_files(&site_row(view, site)?, ledger_id, sequence)?
            .ok_or_else(|| Problem::not_found(format!("{site} has no such bundle")))?;
        let receipt = log::receipt(&view.nodes(), &view.log_head()?, files.leaf)?;
        Ok((row, files, receipt))
    })
}

#[derive(Serialize)]
struct LogState {
    checkpoint: String,
    vkey: String,
}

async fn log_head(State(app): State<Arc<App>>, _: Caller) -> Result<Json<LogState>, Problem> {
    let head = app.blocking(|app| app.store.read(|view| Ok(view.log_head()?))).await?;
    Ok(Json(LogState { checkpoint: head.checkpoint, vkey: app.log.to_string() }))
}
