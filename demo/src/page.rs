//! The page of scenarios, and the page of one that plays.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use compliance_mcp::console::{Failure, Page, Viewer, asset};
use compliance_mcp::problem::Problem;
use compliance_mcp::store::EvidenceRow;
use compliance_protocol::evidence::{ActionRecord, Bundle};
use compliance_protocol::gate::Gate;
use serde::{Deserialize, Serialize};

use crate::run::{self, Run, Runs, Step};
use crate::scenario::{self, Deed, SITE, Scenario, Who};

/// Where the page is.
pub(crate) const PATH: &str = "/scenarios";

/// For how many seconds something is broken if nobody chooses.
const DEFAULT_SPAN: u32 = 300;

/// For how many it may be, and what the page says to it.
const SPANS: [(u32, &str); 3] =
    [(DEFAULT_SPAN, "five minutes"), (60, "one minute"), (20, "twenty seconds")];

/// The routes. Who has no session, or posts without its token, does not come so far.
pub(crate) fn routes(runs: Runs) -> Router {
    Router::new()
        .route(PATH, get(all))
        .route("/scenarios/{id}", post(start))
        .route("/scenarios/runs/{number}", get(one))
        .route(
            "/scenarios.css",
            get(async || {
                asset("text/css; charset=utf-8", include_str!("../templates/scenarios.css"))
            }),
        )
        .route(
            "/scenarios.js",
            get(async || {
                asset("text/javascript; charset=utf-8", include_str!("../templates/scenarios.js"))
            }),
        )
        .with_state(runs)
}

#[derive(Template)]
#[template(path = "scenarios.html")]
struct AllPage {
    csrf: String,
    site: &'static str,
    groups: Vec<Group>,
}

struct Group {
    heading: &'static str,
    scenarios: Vec<Card>,
}

struct Card {
    scenario: &'static Scenario,
    spans: &'static [(u32, &'static str)],
    last: Option<Last>,
}

struct Last {
    number: usize,
    badge: Badge,
}

/// How a run stands, by shape and text.
struct Badge {
    shape: &'static str,
    text: &'static str,
    class: &'static str,
    code: &'static str,
}

async fn all(State(runs): State<Runs>, viewer: Viewer) -> Result<Response, Failure> {
    let card = |scenario: &'static Scenario| Card {
        scenario,
        spans: if matches!(scenario.deed, Deed::HandFor(_)) { &SPANS } else { &[] },
        last: runs
            .newest_of(scenario)
            .map(|run| Last { number: run.number, badge: badge(&run.state) }),
    };
    let group = |who: Who| Group {
        heading: who.heading(),
        scenarios: scenario::ALL.iter().filter(|one| one.who == who).map(card).collect(),
    };
    let groups = Who::ALL.map(group).into_iter().collect();
    let page = AllPage { csrf: viewer.csrf().to_owned(), site: SITE, groups };
    show(&viewer, "Scenarios", &page)
}

#[derive(Deserialize)]
struct Chosen {
    seconds: Option<u32>,
}

async fn start(
    State(runs): State<Runs>,
    Path(id): Path<String>,
    Form(chosen): Form<Chosen>,
) -> Result<Response, Failure> {
    let scenario =
        scenario::called(&id).ok_or_else(|| Problem::not_found("There is no such scenario."))?;
    let seconds = chosen.seconds.unwrap_or(DEFAULT_SPAN);
    if !SPANS.iter().any(|(span, _)| *span == seconds) {
        return Err(Problem::bad_request("Choose one of the spans that the page offers.").into());
    }
    let number = runs.start(scenario, seconds)?;
    Ok(Redirect::to(&format!("/scenarios/runs/{number}")).into_response())
}

#[derive(Template)]
#[template(path = "run.html")]
struct RunPage {
    run: Run,
    badge: Badge,
    why: Option<String>,
    steps: Vec<Shown>,
    site: &'static str,
    proof: Option<Proof>,
    csrf: String,
}

enum Shown {
    Done {
        at: String,
        what: String,
        script: Option<&'static str>,
    },
    Evidence {
        at: String,
        row: Box<EvidenceRow>,
        bundle: Box<Bundle>,
        link: String,
        gates: Vec<String>,
        actions: Vec<String>,
    },
}

/// How the last bundle is verified without us.
struct Proof {
    link: String,
    stem: String,
}

async fn one(
    State(runs): State<Runs>,
    Path(number): Path<usize>,
    viewer: Viewer,
) -> Result<Response, Failure> {
    let run = runs
        .get(number)
        .ok_or_else(|| Problem::not_found("There is no such run; a restart forgets them."))?;
    let why = match &run.state {
        run::State::Otherwise(why) => Some(why.clone()),
        _ => None,
    };
    let last = run.steps.iter().rev().find_map(|step| match step {
        Step::Evidence { row, bundle } => Some(Proof { link: link(row), stem: bundle.file_stem() }),
        Step::Done { .. } => None,
    });
    let page = RunPage {
        badge: badge(&run.state),
        why,
        steps: run.steps.iter().map(shown).collect(),
        site: SITE,
        proof: last.filter(|_| run.state != run::State::Playing),
        csrf: viewer.csrf().to_owned(),
        run,
    };
    let title = page.run.scenario.title;
    show(&viewer, title, &page)
}

fn shown(step: &Step) -> Shown {
    match step {
        Step::Done { at, what, script } => {
            Shown::Done { at: clock(&at.to_string()), what: what.clone(), script: *script }
        }
        Step::Evidence { row, bundle } => Shown::Evidence {
            at: clock(&row.received_at.to_string()),
            link: link(row),
            gates: bundle.gates.iter().map(gate).collect(),
            actions: bundle.actions.iter().map(action).collect(),
            row: row.clone(),
            bundle: bundle.clone(),
        },
    }
}

fn gate(gate: &Gate) -> String {
    format!("{} {}: {}", code(&gate.gate), code(&gate.state), gate.why)
}

fn action(action: &ActionRecord) -> String {
    let ActionRecord { name, target, result, duration_ms, .. } = action;
    format!("{name} {target}: {}, {duration_ms} ms", code(result))
}

/// As the bundle writes it.
fn code(value: &impl Serialize) -> String {
    let written = serde_json::to_value(value).ok();
    written.as_ref().and_then(|value| value.as_str()).unwrap_or_default().to_owned()
}

/// The time of day of an RFC 3339 time.
fn clock(at: &str) -> String {
    at.split('T').nth(1).unwrap_or(at).chars().take(8).collect()
}

fn link(row: &EvidenceRow) -> String {
    format!("/sites/{}/evidence/{}/{}", row.site, row.ledger_id, row.sequence)
}

fn badge(state: &run::State) -> Badge {
    match state {
        run::State::Playing => {
            Badge { shape: "◌", text: "playing", class: "unsure", code: "playing" }
        }
        run::State::AsExpected => {
            Badge { shape: "●", text: "as expected", class: "good", code: "as-expected" }
        }
        run::State::Otherwise(_) => {
            Badge { shape: "▲", text: "not as expected", class: "bad", code: "otherwise" }
        }
    }
}

fn show(viewer: &Viewer, title: &str, page: &impl Template) -> Result<Response, Failure> {
    let html = page.render().map_err(|error| {
        tracing::error!(%error, "a page could not be rendered");
        Problem::unavailable("the page could not be rendered")
    })?;
    Ok(viewer.show(Page::new(title, html).style("/scenarios.css").script("/scenarios.js")))
}
