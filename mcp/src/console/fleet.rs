//! `/`: all sites.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::Failure;
use super::page::{Layout, Viewer, render};
use super::view::{self, Mark, When};
use crate::app::App;
use crate::fleet::{self, SiteSummary};

#[derive(Template)]
#[template(path = "fleet.html")]
struct Page {
    layout: Layout,
    tenant: String,
    sites: Vec<Row>,
}

struct Row {
    name: String,
    worst: Mark,
    checks: Vec<(String, Mark)>,
    seen: Option<When>,
    open_orders: usize,
    bundles: u64,
    gaps: usize,
}

pub(super) async fn page(State(app): State<Arc<App>>, viewer: Viewer) -> Result<Response, Failure> {
    let sites = app.blocking(|app| Ok(app.store.read(|view| fleet::all(app, view))?)).await?;
    let now = app.now();
    let row = |site: SiteSummary| Row {
        name: site.site.to_string(),
        worst: view::state(view::worst(fleet::expected(&site).map(|(_, state)| state))),
        checks: fleet::expected(&site)
            .map(|(check, state)| (check.to_owned(), view::state(state)))
            .collect(),
        seen: site.last_seen.map(|at| view::when(at, now)),
        open_orders: site.open_orders,
        bundles: site.bundles,
        gaps: site.gaps.len(),
    };
    let sites = sites.into_iter().map(row).collect();
    let tenant = app.tenant.to_string();
    Ok(render(&Page { layout: viewer.layout, tenant, sites }))
}
