//! One bundle of evidence: what it says, and how to verify it without us.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::Bundle;
use compliance_protocol::json;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Failure;
use super::gates::{self, Gate};
use super::page::{Layout, Viewer, render};
use super::view::{self, Mark, When};
use crate::app::App;
use crate::body::Params;
use crate::operator::evidence::with_receipt;
use crate::operator::site_name;
use crate::problem::Problem;
use crate::store::StoreError;

#[derive(Template)]
#[template(path = "bundle.html")]
struct Page {
    layout: Layout,
    bundle: Bundle,
    sha256: Digest,
    stem: String,
    folder: String,
    outcome: Mark,
    state: Option<Mark>,
    finished: When,
    received: When,
    trigger: String,
    actions: Vec<Action>,
    gates: Vec<Gate>,
    pre: Option<String>,
    post: Option<String>,
    retry: Option<When>,
    receipt: String,
}

struct Action {
    name: String,
    target: String,
    result: Mark,
    duration_ms: u64,
    output_bytes: u64,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Params((site, ledger_id, sequence)): Params<(String, String, u64)>,
) -> Result<Response, Failure> {
    let name = site_name(&site)?;
    let ledger_id =
        ledger_id.parse().map_err(|_| Problem::not_found("There is no such bundle."))?;
    let (row, files, receipt) =
        app.blocking(move |app| with_receipt(app, &name, ledger_id, sequence)).await?;
    let bundle: Bundle = json::from_canonical(&files.json)
        .map_err(|_| StoreError::Damaged("a stored bundle cannot be read"))?;
    let now = app.now();
    Ok(render(&Page {
        layout: viewer.layout,
        sha256: row.sha256,
        stem: bundle.file_stem(),
        folder: format!("/sites/{}/evidence/{}/{}", row.site, row.ledger_id, row.sequence),
        outcome: view::outcome(bundle.outcome),
        state: bundle.state.map(view::state),
        finished: view::when(bundle.finished_at, now),
        received: view::when(row.received_at, now),
        trigger: trigger(&bundle),
        actions: actions(&bundle),
        gates: gates::all(&bundle.gates, now),
        pre: pretty(&bundle.pre),
        post: pretty(&bundle.post),
        retry: bundle.retry_after.map(|at| view::when(at, now)),
        receipt,
        bundle,
    }))
}

fn trigger(bundle: &Bundle) -> String {
    let kind = code(&bundle.trigger.kind);
    let sequence = bundle.trigger.order_sequence;
    sequence.map(|sequence| format!("{kind} {sequence}")).unwrap_or(kind)
}

fn actions(bundle: &Bundle) -> Vec<Action> {
    let action = |action: &compliance_protocol::evidence::ActionRecord| Action {
        name: action.name.clone(),
        target: action.target.clone(),
        result: view::step(action.result),
        duration_ms: action.duration_ms,
        output_bytes: action.output_bytes,
    };
    bundle.actions.iter().map(action).collect()
}

/// The code that bundles write for a value.
fn code(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(text)) => text,
        _ => String::new(),
    }
}

fn pretty(facts: &Map<String, Value>) -> Option<String> {
    (!facts.is_empty()).then(|| serde_json::to_string_pretty(facts).unwrap_or_default())
}
