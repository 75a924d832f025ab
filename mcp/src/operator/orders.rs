//! Orders: pushed signed, listed, shown, withdrawn.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use compliance_protocol::digest::Digest;
use compliance_protocol::envelope::MAX_ENVELOPE;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Caller, Shared, site_name, site_row};
use crate::app::App;
use crate::body::Params;
use crate::problem::Problem;
use crate::store::{OrderRow, StoreError};
use crate::{body, push};

/// The most orders that one list has: the newest.
const MAX_LIST: u32 = 1000;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/api/v1/orders", get(list))
        .route("/api/v1/sites/{site}/next-order", get(next))
        .route("/api/v1/sites/{site}/orders", post(push_order))
        .route("/api/v1/sites/{site}/orders/{sequence}", get(show).delete(withdraw))
}

#[derive(Serialize)]
struct NextOrder {
    epoch: u64,
    sequence: u64,
    previous_sha256: Option<Digest>,
}

async fn next(
    State(app): State<Arc<App>>,
    _: Caller,
    Params(site): Params<String>,
) -> Result<Json<NextOrder>, Problem> {
    let name = site_name(&site)?;
    app.blocking(move |app| {
        app.store.read(|view| {
            let site = site_row(view, &name)?;
            let issued = view.issued(&site)?;
            let (sequence, previous_sha256) = (issued.highest + 1, issued.payload_sha256);
            Ok(NextOrder { epoch: site.epoch, sequence, previous_sha256 })
        })
    })
    .await
    .map(Json)
}

async fn push_order(
    State(app): State<Arc<App>>,
    Caller(operator): Caller,
    Params(site): Params<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<OrderRow>), Problem> {
    let name = site_name(&site)?;
    let bytes = body::read(&headers, body, MAX_ENVELOPE).await?;
    let now = app.now();
    let row = app
        .store
        .write(move |tx| {
            let sequence = push::order(tx, &name, &bytes, now)?;
            let (row, _) = tx.order(&site_row(tx, &name)?, sequence)?.ok_or_else(missing)?;
            Ok::<_, Problem>(row)
        })
        .await?;
    tracing::info!(%operator, site, sequence = row.sequence, id = %row.id, action = row.action, "an order was pushed");
    Ok((StatusCode::CREATED, Json(row)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    site: Option<String>,
}

#[derive(Serialize)]
struct Orders {
    orders: Vec<OrderRow>,
}

async fn list(State(app): State<Arc<App>>, _: Caller, uri: Uri) -> Result<Json<Orders>, Problem> {
    let Filter { site } = body::query(&uri)?;
    let name = site.as_deref().map(site_name).transpose()?;
    let orders = app.blocking(move |app| {
        app.store.read(|view| {
            let site = name.map(|name| site_row(view, &name)).transpose()?;
            Ok(view.orders(site.as_ref(), MAX_LIST)?)
        })
    });
    Ok(Json(Orders { orders: orders.await? }))
}

/// An order with what was signed.
#[derive(Serialize)]
struct FullOrder {
    #[serde(flatten)]
    row: OrderRow,
    envelope: Value,
    payload: Value,
}

async fn show(
    State(app): State<Arc<App>>,
    _: Caller,
    Params((site, sequence)): Params<(String, u64)>,
) -> Result<Json<FullOrder>, Problem> {
    let name = site_name(&site)?;
    app.blocking(move |app| {
        app.store.read(|view| {
            let found = view.order(&site_row(view, &name)?, sequence)?;
            let (row, envelope) = found.ok_or_else(|| no_such_order(&site, sequence))?;
            let (envelope, payload) = decoded(&envelope)?;
            Ok(FullOrder { row, envelope, payload })
        })
    })
    .await
    .map(Json)
}

async fn withdraw(
    State(app): State<Arc<App>>,
    Caller(operator): Caller,
    Params((site, sequence)): Params<(String, u64)>,
) -> Result<Json<OrderRow>, Problem> {
    let name = site_name(&site)?;
    let named = site.clone();
    let now = app.now();
    let row = app
        .store
        .write(move |tx| {
            let site = site_row(tx, &name)?;
            let withdrawn = tx.withdraw_order(&site, sequence, now)?;
            let (row, _) =
                tx.order(&site, sequence)?.ok_or_else(|| no_such_order(&named, sequence))?;
            if withdrawn {
                return Ok(row);
            }
            Err(Problem::conflict("not-open", format!("order {sequence} of {named} is not open")))
        })
        .await?;
    tracing::info!(%operator, site, sequence, "an order was withdrawn");
    Ok(Json(row))
}

/// An envelope that was verified when it was pushed, and its payload, as JSON.
fn decoded(envelope: &[u8]) -> Result<(Value, Value), StoreError> {
    let damaged = || StoreError::Damaged("a stored order is not an envelope");
    let envelope: Value = serde_json::from_slice(envelope).map_err(|_| damaged())?;
    let payload = envelope.get("payload").and_then(Value::as_str).ok_or_else(damaged)?;
    let standard = base64::engine::general_purpose::STANDARD;
    let payload = standard.decode(payload).map_err(|_| damaged())?;
    let payload = serde_json::from_slice(&payload).map_err(|_| damaged())?;
    Ok((envelope, payload))
}

fn missing() -> StoreError {
    StoreError::Damaged("an order that was just stored is not there")
}

fn no_such_order(site: &str, sequence: u64) -> Problem {
    Problem::not_found(format!("there is no order {sequence} of {site} in its current epoch"))
}
