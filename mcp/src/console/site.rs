//! `/sites/{site}`: one site, its checks, orders and evidence.

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
use crate::body::{self, Params};
use crate::fleet::{self, SiteSummary};
use crate::operator::{site_name, site_row};
use crate::store::{EvidenceRow, OrderRow, OrderState};

/// As many bundles a page shows.
const EVIDENCE: u32 = 50;
/// As many orders a page shows.
const ORDERS: u32 = 50;

#[derive(Template)]
#[template(path = "site.html")]
struct Page {
    layout: Layout,
    site: SiteSummary,
    worst: Mark,
    seen: Option<When>,
    head: Option<When>,
    registered: When,
    checks: Vec<Check>,
    orders: Vec<Order>,
    evidence: Vec<Evidence>,
    older: Option<u64>,
}

struct Check {
    name: String,
    mark: Mark,
    /// When it looked, and what it reported, if that is no longer what holds.
    at: Option<When>,
    reported: Option<&'static str>,
}

struct Order {
    row: OrderRow,
    state: &'static str,
    outcome: Option<Mark>,
    issued: When,
    expires: When,
}

struct Evidence {
    row: EvidenceRow,
    mark: Mark,
    at: When,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    before: Option<u64>,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Params(site): Params<String>,
    uri: Uri,
) -> Result<Response, Failure> {
    let name = site_name(&site)?;
    let Query { before } = body::query(&uri)?;
    let (site, orders, evidence) = app
        .blocking(move |app| {
            app.store.read(|view| {
                let row = site_row(view, &name)?;
                let orders = view.orders(Some(&row), ORDERS)?;
                let evidence = view.newest_evidence(&row, before, EVIDENCE + 1)?;
                Ok((fleet::summary(app, view, row)?, orders, evidence))
            })
        })
        .await?;
    Ok(render(&assemble(viewer.layout, site, orders, evidence, app.now())))
}

fn assemble(
    layout: Layout,
    site: SiteSummary,
    orders: Vec<OrderRow>,
    mut evidence: Vec<EvidenceRow>,
    now: Timestamp,
) -> Page {
    let shown = usize::try_from(EVIDENCE).unwrap_or(usize::MAX);
    let more = evidence.len() > shown;
    evidence.truncate(shown);
    Page {
        layout,
        worst: view::state(view::worst(fleet::expected(&site).map(|(_, state)| state))),
        seen: site.last_seen.map(|at| view::when(at, now)),
        head: site.last_head_at.map(|at| view::when(at, now)),
        registered: view::when(site.registered_at, now),
        checks: checks(&site, now),
        orders: orders.into_iter().map(|row| order(row, now)).collect(),
        older: evidence.last().filter(|_| more).map(|last| last.leaf),
        evidence: evidence
            .into_iter()
            .map(|row| Evidence {
                mark: view::outcome(row.outcome),
                at: view::when(row.finished_at, now),
                row,
            })
            .collect(),
        site,
    }
}

fn checks(site: &SiteSummary, now: Timestamp) -> Vec<Check> {
    let check = |(name, state): (&str, _)| {
        let summary = site.states.get(name);
        Check {
            name: name.to_owned(),
            mark: view::state(state),
            at: summary.map(|summary| view::when(summary.at, now)),
            reported: summary
                .filter(|summary| summary.reported != state)
                .map(|summary| view::state(summary.reported).text),
        }
    };
    fleet::expected(site).map(check).collect()
}

fn order(row: OrderRow, now: Timestamp) -> Order {
    Order {
        state: match row.state {
            OrderState::Open => "open",
            OrderState::Done => "done",
            OrderState::Withdrawn => "withdrawn",
        },
        outcome: row.outcome.map(view::outcome),
        issued: view::when(row.issued_at, now),
        expires: view::when(row.expires_at, now),
        row,
    }
}
