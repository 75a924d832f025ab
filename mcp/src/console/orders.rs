//! `/orders`: the orders of all sites, or of one.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use compliance_protocol::time::Timestamp;
use serde::Deserialize;

use super::Failure;
use super::page::{Layout, Viewer, render};
use super::view::{self, Mark, When};
use crate::app::App;
use crate::body;
use crate::operator::{site_name, site_row};
use crate::store::{OrderLine, OrderRow};

/// As many orders a page shows.
const ORDERS: u32 = 100;

#[derive(Template)]
#[template(path = "orders.html")]
struct Page {
    layout: Layout,
    site: Option<String>,
    orders: Vec<Order>,
    paged: bool,
    /// The query of the next page.
    older: Option<String>,
}

pub(super) struct Order {
    pub(super) row: OrderRow,
    pub(super) state: Mark,
    pub(super) outcome: Option<Mark>,
    pub(super) issued: When,
    pub(super) expires: When,
    /// The path of the newest bundle about it.
    pub(super) evidence: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    site: Option<String>,
    before: Option<i64>,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    uri: Uri,
) -> Result<Response, Failure> {
    let Query { site, before } = body::query(&uri)?;
    let name = site.as_deref().map(site_name).transpose()?;
    let mut lines = app
        .blocking(move |app| {
            app.store.read(|view| {
                let site = name.map(|name| site_row(view, &name)).transpose()?;
                Ok(view.order_lines(site.as_ref(), before, ORDERS + 1)?)
            })
        })
        .await?;
    let shown = usize::try_from(ORDERS).unwrap_or(usize::MAX);
    let more = lines.len() > shown;
    lines.truncate(shown);
    let of = site.as_ref().map(|site| format!("site={site}&")).unwrap_or_default();
    let older = lines.last().filter(|_| more).map(|last| format!("?{of}before={}", last.place));
    let now = app.now();
    let orders = lines.into_iter().map(|line| order(line, now)).collect();
    Ok(render(&Page { layout: viewer.layout, site, orders, paged: before.is_some(), older }))
}

/// An order as a table shows it.
pub(super) fn order(line: OrderLine, now: Timestamp) -> Order {
    let OrderLine { row, evidence, .. } = line;
    Order {
        state: view::order(row.state, row.expires_at < now),
        outcome: row.outcome.map(view::outcome),
        issued: view::when(row.issued_at, now),
        expires: view::when(row.expires_at, now),
        evidence: evidence
            .map(|(ledger, number)| format!("/sites/{}/evidence/{ledger}/{number}", row.site)),
        row,
    }
}
