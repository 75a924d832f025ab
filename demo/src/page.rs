//! The page of scenarios, and the page of one that plays.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use compliance_mcp::console::{Failure, Page, Viewer, asset};
use compliance_mcp::problem::Problem;
use compliance_mcp::store::EvidenceRow;
use compliance_protocol::evidence::{ActionRecord, Bundle};
use compliance_protocol::gate::Gate;
use serde::{Deserialize, Serialize};

use crate::run::{self, Playing, Run, Runs, Step};
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
        .route("/scenarios/runs/{number}/stop", post(stop))
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
    playing: Option<Playing>,
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
    /// One of the console's symbols.
    shape: &'static str,
    text: &'static str,
    class: &'static str,
    code: &'static str,
}

async fn all(State(runs): State<Runs>, viewer: Viewer) -> Result<Response, Failure> {
    let page = all_page(runs.playing(), |scenario| runs.newest_of(scenario), viewer.csrf());
    show(&viewer, "Scenarios", &page)
}

fn all_page(
    playing: Option<Playing>,
    newest_of: impl Fn(&Scenario) -> Option<Run>,
    csrf: &str,
) -> AllPage {
    let card = |scenario: &'static Scenario| Card {
        scenario,
        spans: if lasts(scenario) { &SPANS } else { &[] },
        last: newest_of(scenario).map(|run| Last { number: run.number, badge: badge(&run.state) }),
    };
    let group = |who: Who| Group {
        heading: who.heading(),
        scenarios: scenario::ALL.iter().filter(|one| one.who == who).map(card).collect(),
    };
    let groups = Who::ALL.map(group).into_iter().collect();
    AllPage { csrf: csrf.to_owned(), site: SITE, playing, groups }
}

/// Whether it breaks something for a while.
fn lasts(scenario: &Scenario) -> bool {
    matches!(scenario.deed, Deed::HandFor { .. })
}

#[derive(Deserialize)]
struct Chosen {
    seconds: Option<u32>,
}

async fn start(
    State(runs): State<Runs>,
    Path(id): Path<String>,
    viewer: Viewer,
    Form(chosen): Form<Chosen>,
) -> Result<Response, Failure> {
    let scenario =
        scenario::called(&id).ok_or_else(|| Problem::not_found("There is no such scenario."))?;
    let seconds = chosen.seconds.unwrap_or(DEFAULT_SPAN);
    if !SPANS.iter().any(|(span, _)| *span == seconds) {
        return Err(Problem::bad_request("Choose one of the spans that the page offers.").into());
    }
    match runs.start(scenario, lasts(scenario).then_some(seconds)) {
        Ok(number) => Ok(to_run(number)),
        Err(run) => {
            let page = show(&viewer, "One plays at a time", &PlayingPage { run })?;
            Ok((StatusCode::CONFLICT, page).into_response())
        }
    }
}

/// The answer to a start while another run plays.
#[derive(Template)]
#[template(path = "playing.html")]
struct PlayingPage {
    run: Playing,
}

async fn stop(State(runs): State<Runs>, Path(number): Path<usize>) -> Result<Response, Failure> {
    if runs.stop(number) { Ok(to_run(number)) } else { Err(no_such_run()) }
}

fn to_run(number: usize) -> Response {
    Redirect::to(&format!("/scenarios/runs/{number}")).into_response()
}

fn no_such_run() -> Failure {
    Problem::not_found("There is no such run; a restart forgets them.").into()
}

#[derive(Template)]
#[template(path = "run.html")]
struct RunPage {
    run: Run,
    badge: Badge,
    plays: bool,
    /// For how long something is broken.
    span: Option<&'static str>,
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
    let run = runs.get(number).ok_or_else(no_such_run)?;
    let title = run.scenario.title;
    show(&viewer, title, &run_page(run, viewer.csrf()))
}

fn run_page(run: Run, csrf: &str) -> RunPage {
    let why = match &run.state {
        run::State::Otherwise(why) => Some(why.clone()),
        _ => None,
    };
    let last = run.steps.iter().rev().find_map(|step| match step {
        Step::Evidence { row, bundle } => Some(Proof { link: link(row), stem: bundle.file_stem() }),
        Step::Done { .. } => None,
    });
    let plays = run.state == run::State::Playing;
    let span = |seconds| SPANS.iter().find(|(span, _)| *span == seconds).map(|(_, text)| *text);
    RunPage {
        badge: badge(&run.state),
        plays,
        span: run.seconds.and_then(span),
        why,
        steps: run.steps.iter().map(shown).collect(),
        site: SITE,
        proof: last.filter(|_| !plays),
        csrf: csrf.to_owned(),
        run,
    }
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
            Badge { shape: "deferred", text: "playing", class: "unsure", code: "playing" }
        }
        run::State::AsExpected => {
            Badge { shape: "good", text: "as expected", class: "good", code: "as-expected" }
        }
        run::State::Otherwise(_) => {
            Badge { shape: "failed", text: "not as expected", class: "bad", code: "otherwise" }
        }
        run::State::Stopped => {
            Badge { shape: "none", text: "stopped", class: "quiet", code: "stopped" }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Notify;

    use super::*;

    /// A run of `id` that stands so, and of which nothing came.
    fn run(id: &str, seconds: Option<u32>, state: run::State) -> Run {
        let scenario = scenario::called(id).unwrap();
        let stop = seconds.map(|_| Arc::new(Notify::new()));
        Run { number: 7, scenario, seconds, state, steps: Vec::new(), site: None, stop }
    }

    fn html(run: Run) -> String {
        run_page(run, "token").render().unwrap()
    }

    #[test]
    fn while_one_plays_no_other_can_be_started_and_the_page_leads_to_it() {
        let plays = Playing { number: 7, title: "Stop a service" };
        let page = |playing| all_page(playing, |_| None, "token").render().unwrap();
        let during = page(Some(plays));
        assert_eq!(during.matches("<button disabled>").count(), scenario::ALL.len());
        assert_eq!(during.matches("<select name=\"seconds\" disabled>").count(), 2);
        assert!(during.contains("<a href=\"/scenarios/runs/7\">watch it</a>"));
        let refused = PlayingPage { run: plays }.render().unwrap();
        assert!(refused.contains("<a href=\"/scenarios/runs/7\">Watch it</a>"));
        let after = page(None);
        assert!(!after.contains("disabled") && !after.contains("is playing"));
    }

    #[test]
    fn a_run_that_ended_without_evidence_is_over_and_can_be_had_again() {
        let ended = html(run("forged", None, run::State::Otherwise("nothing came".to_owned())));
        assert!(ended.contains("Nothing.") && !ended.contains("Nothing yet."));
        assert!(
            ended.contains("action=\"/scenarios/forged\"") && ended.contains(">Again</button>")
        );
        assert!(ended.contains("nothing came") && !ended.contains("name=\"seconds\""));
    }

    #[test]
    fn again_takes_as_long_as_before() {
        let again = html(run("network", Some(20), run::State::AsExpected));
        assert!(again.contains("<input type=\"hidden\" name=\"seconds\" value=\"20\">"));
        assert!(again.contains(">Again, for twenty seconds</button>"));
    }

    #[test]
    fn what_lasts_can_be_stopped_once_while_it_plays() {
        let stop = "action=\"/scenarios/runs/7/stop\"";
        let playing = run("network", Some(300), run::State::Playing);
        assert!(html(playing.clone()).contains(stop));
        assert!(!html(Run { stop: None, ..playing.clone() }).contains(stop));
        assert!(!html(Run { state: run::State::Stopped, ..playing }).contains(stop));
        let short = html(run("forged", None, run::State::Playing));
        assert!(!short.contains(stop) && short.contains("Nothing yet."));
    }
}
