//! `/sites/{site}`: one site, its checks, why it does not act, its evidence and orders.

mod cards;
mod maintenance;
mod timeline;
mod waiting;

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use compliance_protocol::clock::{ClockEvidence, ClockSource};
use compliance_protocol::evidence::{Bundle, Mode, Outcome};
use compliance_protocol::json;
use compliance_protocol::time::{Span, Timestamp};

use super::Failure;
use super::orders::{self, Order};
use super::page::{Layout, Viewer, render};
use super::view::{self, Mark, When};
use crate::app::App;
use crate::body::{self, Params};
use crate::fleet::{self, Cell};
use crate::operator::{site_name, site_row};
use crate::presence::Pending;
use crate::problem::Problem;
use crate::store::{EvidenceFiles, EvidenceRow, Filter, Gap, OrderLine, SiteRow, StoreError, View};
use cards::Card;
use maintenance::Maintenance;
use timeline::Timeline;
use waiting::Waiting;

/// Among so many bundles, the newest, a summary of rounds is looked for: one is made each hour.
const SUMMARY_WITHIN: usize = 100;

/// As many orders a site's page shows.
const ORDERS: u32 = 10;

#[derive(Template)]
#[template(path = "site.html")]
struct Page {
    layout: Layout,
    name: String,
    worst: Mark,
    seen: Option<When>,
    head: Option<When>,
    registered: When,
    epoch: u64,
    newest: Option<Newest>,
    bundles: u64,
    gaps: Vec<Gap>,
    waiting: Option<Waiting>,
    queue: Option<Queue>,
    maintenance: Option<Maintenance>,
    cards: Vec<Card>,
    timeline: Timeline,
    orders: Vec<Order>,
}

/// What the newest bundle says of the appliance, and how it came.
struct Newest {
    at: Link,
    mode: String,
    clock: Mark,
    clock_says: String,
    system: Option<String>,
    software: String,
    received: When,
    lag: String,
}

/// What waits at the appliance.
struct Queue {
    bundles: u64,
    told: When,
}

/// A link to a bundle.
struct Link {
    path: String,
    sequence: u64,
}

/// A bundle that was read from the store.
struct Stored {
    row: EvidenceRow,
    bundle: Bundle,
}

/// What the store knows of a site, at one moment.
struct Known {
    site: SiteRow,
    silent: bool,
    cells: Vec<Cell>,
    newest: Option<Stored>,
    of_checks: Vec<Option<Stored>>,
    deferred: Option<Stored>,
    summary: Option<Stored>,
    pending: Option<Pending>,
    bundles: u64,
    gaps: Vec<Gap>,
    orders: Vec<OrderLine>,
    evidence: Vec<EvidenceRow>,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Params(site): Params<String>,
    uri: Uri,
) -> Result<Response, Failure> {
    let name = site_name(&site)?;
    let question = timeline::Question::of(body::query(&uri)?)?;
    let asked = question.clone();
    let known = app
        .blocking(move |app| {
            app.store.read(|view| {
                let row = site_row(view, &name)?;
                Ok::<_, Problem>(know(app, view, row, &asked)?)
            })
        })
        .await?;
    Ok(render(&assemble(viewer.layout, known, question, app.now())))
}

fn know(
    app: &App,
    view: &View<'_>,
    row: SiteRow,
    question: &timeline::Question,
) -> Result<Known, StoreError> {
    let site = app.presence.complete(row);
    let now = app.now();
    let silent = fleet::is_silent(app, &site, now);
    let cells = fleet::cells(view.check_states(&site)?, silent, now);
    // What a machine said that was replaced says nothing of the one that is there.
    let newest = |filter| {
        let newest = view.newest(&site, &filter)?;
        newest.filter(|(row, _)| row.epoch == site.epoch).map(stored).transpose()
    };
    let of_checks = cells.iter().map(|cell| newest(Filter::Check(cell.check.clone())));
    Ok(Known {
        of_checks: of_checks.collect::<Result<_, _>>()?,
        newest: newest(Filter::All)?,
        deferred: newest(Filter::Outcome(Outcome::Deferred))?,
        summary: summary(view, &site)?,
        pending: app.presence.pending(&site.name),
        bundles: view.count_bundles(&site)?,
        gaps: view.gaps(&site)?,
        orders: view.order_lines(Some(&site), None, ORDERS)?,
        evidence: question.ask(view, &site)?,
        silent,
        cells,
        site,
    })
}

/// The newest summary of rounds, of the machine that is there.
fn summary(view: &View<'_>, site: &SiteRow) -> Result<Option<Stored>, StoreError> {
    let newest = view.timeline(site, &Filter::All, None, SUMMARY_WITHIN)?;
    let found = newest.iter().find(|row| row.epoch == site.epoch && row.reason == "round");
    match found {
        Some(row) => {
            view.evidence_files(site, row.ledger_id, row.sequence)?.map(stored).transpose()
        }
        None => Ok(None),
    }
}

fn stored((row, files): (EvidenceRow, EvidenceFiles)) -> Result<Stored, StoreError> {
    let bundle = json::from_canonical(&files.json)
        .map_err(|_| StoreError::Damaged("a stored bundle cannot be read"))?;
    Ok(Stored { row, bundle })
}

fn assemble(layout: Layout, known: Known, question: timeline::Question, now: Timestamp) -> Page {
    let name = known.site.name.to_string();
    Page {
        layout,
        worst: view::standing(fleet::worst(&known.cells)),
        seen: known.site.last_seen.map(|at| view::when(at, now)),
        head: known.site.last_head_at.map(|at| view::when(at, now)),
        registered: view::when(known.site.registered_at, now),
        epoch: known.site.epoch,
        newest: known.newest.as_ref().map(|stored| newest(stored, known.silent, now)),
        waiting: waiting::why(&known, now),
        queue: queue(known.pending, known.silent, now),
        maintenance: known.summary.as_ref().map(|summary| maintenance::of(summary, now)),
        cards: cards::all(&known, now),
        timeline: timeline::assemble(question, known.evidence, &known.cells, now),
        orders: known.orders.into_iter().map(|line| orders::order(line, now)).collect(),
        bundles: known.bundles,
        gaps: known.gaps,
        name,
    }
}

fn newest(stored: &Stored, silent: bool, now: Timestamp) -> Newest {
    let Stored { row, bundle } = stored;
    let is_news = !silent && fleet::is_news(row.finished_at, row.received_at, now);
    let (clock, clock_says) = clock(&bundle.clock, is_news);
    let lag = row.received_at.since(row.finished_at);
    Newest {
        at: link(row),
        mode: match (bundle.mode, &bundle.reseller) {
            (Mode::Direct, _) => "direct".to_owned(),
            (Mode::Reseller, Some(name)) => format!("reseller: {name}"),
            (Mode::Reseller, None) => "reseller".to_owned(),
        },
        clock,
        clock_says,
        system: bundle.system.generation.map(|number| format!("generation {number}")),
        software: bundle.software.version.clone(),
        received: view::when(row.received_at, now),
        lag: if lag < Span::ZERO {
            "made later than that, by its own clock".to_owned()
        } else {
            format!("{lag} after it was made")
        },
    }
}

/// What waits there; not what an appliance once said of which nothing was heard since: more may wait by now.
fn queue(pending: Option<Pending>, silent: bool, now: Timestamp) -> Option<Queue> {
    let Pending { bundles, at } = pending.filter(|_| !silent)?;
    Some(Queue { bundles, told: view::when(at, now) })
}

fn clock(clock: &ClockEvidence, is_news: bool) -> (Mark, String) {
    let source = match clock.source {
        ClockSource::Kernel => "the kernel's clock",
        ClockSource::Feed => "the last feed head",
        ClockSource::None => "nobody: no time is trusted",
    };
    let mut says = format!(
        "offset {} ms, error at most {} ms; time from {source}",
        clock.offset_ms, clock.max_error_ms
    );
    if clock.stepped_back {
        says.push_str("; it stepped back");
    }
    (view::clock(clock, is_news), says)
}

fn link(row: &EvidenceRow) -> Link {
    let EvidenceRow { site, ledger_id, sequence, .. } = row;
    Link { path: format!("/sites/{site}/evidence/{ledger_id}/{sequence}"), sequence: *sequence }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_silent_appliance_said_last_of_its_queue_is_not_shown_as_what_waits() {
        let at = Timestamp::from_millis(1_795_167_671_000);
        let pending = Some(Pending { bundles: 0, at });
        assert_eq!(queue(pending, false, at).map(|queue| queue.bundles), Some(0));
        assert!(queue(pending, true, at).is_none() && queue(None, false, at).is_none());
    }
}
