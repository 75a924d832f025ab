//! What is known of each site, as operators see it.

use std::collections::BTreeMap;

use compliance_protocol::evidence::{Outcome, State};
use compliance_protocol::feed::EvidenceHead;
use compliance_protocol::name::Site;
use compliance_protocol::time::{Span, Timestamp};
use serde::Serialize;

use crate::app::App;
use crate::store::{BoardRow, CheckRow, Gap, SiteRow, StoreError, View};

/// A site that was not heard of for this many polls is silent, and what it last said is no news.
const SILENT_AFTER_POLLS: i64 = 5;

/// A round is summed up every hour; what is older than two is no news.
const STATE_LIFE: Span = Span::from_hours(2);

/// One site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SiteSummary {
    /// Its name.
    pub site: Site,
    /// The enrolment.
    pub epoch: u64,
    /// When its first trust file was put here.
    pub registered_at: Timestamp,
    /// When it was last heard of.
    pub last_seen: Option<Timestamp>,
    /// When it was last given a feed head.
    pub last_head_at: Option<Timestamp>,
    /// What its checks say.
    pub states: BTreeMap<String, CheckSummary>,
    /// Where its evidence stands.
    pub evidence_head: Option<EvidenceHead>,
    /// How many bundles are here.
    pub bundles: u64,
    /// How many orders are open.
    pub open_orders: usize,
    /// What is missing in its chains.
    pub gaps: Vec<Gap>,
}

/// What one check says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckSummary {
    /// What holds now: what was reported, or `unknown` when that is too old to hold.
    pub state: State,
    /// What was reported last.
    pub reported: State,
    /// When the check looked, by the appliance's clock.
    pub at: Timestamp,
    /// How the bundle that says so ended.
    pub outcome: Outcome,
}

/// Sums up one site.
pub fn summary(app: &App, view: &View<'_>, row: SiteRow) -> Result<SiteSummary, StoreError> {
    let row = app.presence.complete(row);
    let now = app.now();
    let silent = is_silent(app, &row, now);
    let states = view.check_states(&row)?.into_iter().map(|check| {
        let state = if silent { State::Unknown } else { current(&check, now) };
        let (reported, at, outcome) = (check.state, check.at, check.outcome);
        (check.check, CheckSummary { state, reported, at, outcome })
    });
    Ok(SiteSummary {
        states: states.collect(),
        evidence_head: view.evidence_head(&row)?,
        bundles: view.count_bundles(&row)?,
        open_orders: view.count_open(&row)?,
        gaps: view.gaps(&row)?,
        site: row.name,
        epoch: row.epoch,
        registered_at: row.registered_at,
        last_seen: row.last_seen,
        last_head_at: row.last_head_at,
    })
}

/// Sums up all sites, by name.
pub fn all(app: &App, view: &View<'_>) -> Result<Vec<SiteSummary>, StoreError> {
    view.sites()?.into_iter().map(|row| summary(app, view, row)).collect()
}

/// The checks that every site is expected to report.
pub const CHECKS: [&str; 6] =
    ["patching", "services", "backups", "firewall", "logging", "encryption"];

/// What is known of a check now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// The baseline declares that there is nothing to check.
    NotApplicable,
    /// As the baseline says.
    Compliant,
    /// Nothing was reported, or so long ago that it is no news.
    Stale,
    /// The check could not look.
    Unknown,
    /// Not as the baseline says.
    Drifted,
}

/// One check of a site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The check.
    pub check: String,
    /// What is known of it now.
    pub standing: Standing,
    /// What it said last, and since when that is known.
    pub last: Option<(State, Timestamp)>,
}

/// A site on the board.
#[derive(Debug, Clone)]
pub struct Line {
    /// Its name.
    pub site: Site,
    /// The six checks, and those that it reports besides.
    pub cells: Vec<Cell>,
    /// When it was last heard of.
    pub last_seen: Option<Timestamp>,
    /// How many orders are open.
    pub open_orders: u64,
    /// How many bundles are missing in its chains.
    pub missing: u64,
}

impl Line {
    /// The worst of its checks. A site of which nothing is known is stale, never green.
    pub fn worst(&self) -> Standing {
        worst(&self.cells)
    }

    /// Whether somebody has to look.
    pub fn needs_a_look(&self) -> bool {
        self.worst() >= Standing::Stale || self.missing > 0
    }
}

/// The worst of some checks; that nothing applies says nothing good.
pub fn worst(cells: &[Cell]) -> Standing {
    let worst = cells.iter().map(|cell| cell.standing).max();
    worst.filter(|worst| *worst > Standing::NotApplicable).unwrap_or(Standing::Stale)
}

/// All sites: first those that need a look, and of those the worst.
pub fn board(app: &App, view: &View<'_>) -> Result<Vec<Line>, StoreError> {
    let now = app.now();
    let mut lines: Vec<_> = view.board()?.into_iter().map(|row| line(app, row, now)).collect();
    sort(&mut lines);
    Ok(lines)
}

fn line(app: &App, row: BoardRow, now: Timestamp) -> Line {
    let BoardRow { site, checks, open_orders, missing } = row;
    let site = app.presence.complete(site);
    let cells = cells(checks, is_silent(app, &site, now), now);
    Line { site: site.name, cells, last_seen: site.last_seen, open_orders, missing }
}

fn sort(lines: &mut [Line]) {
    let badness = |line: &Line| {
        let worst = line.worst();
        let so_bad = line.cells.iter().filter(|cell| cell.standing == worst).count();
        (line.needs_a_look(), worst, line.missing > 0, so_bad)
    };
    lines.sort_by(|one, other| {
        badness(other).cmp(&badness(one)).then_with(|| one.site.as_str().cmp(other.site.as_str()))
    });
}

/// The six checks, and those of `reported` that are none of them.
pub fn cells(reported: Vec<CheckRow>, silent: bool, now: Timestamp) -> Vec<Cell> {
    let mut cells: Vec<_> = CHECKS.map(|check| cell(check.to_owned(), None, silent, now)).into();
    for row in reported {
        let new = cell(row.check.clone(), Some(&row), silent, now);
        match cells.iter_mut().find(|cell| cell.check == new.check) {
            Some(cell) => *cell = new,
            None => cells.push(new),
        }
    }
    cells
}

fn cell(check: String, row: Option<&CheckRow>, silent: bool, now: Timestamp) -> Cell {
    let standing = match row {
        Some(row) if !silent && is_news(row.at, row.received_at, now) => match row.state {
            State::Compliant => Standing::Compliant,
            State::Drifted => Standing::Drifted,
            State::Unknown => Standing::Unknown,
            State::NotApplicable => Standing::NotApplicable,
        },
        _ => Standing::Stale,
    };
    Cell { check, standing, last: row.map(|row| (row.state, row.at.min(row.received_at))) }
}

/// Whether a site was not heard of for so long that what it said is no news.
pub fn is_silent(app: &App, site: &SiteRow, now: Timestamp) -> bool {
    let silent_after = Span::from_secs(i64::from(app.poll_after_s) * SILENT_AFTER_POLLS);
    site.last_seen.is_none_or(|seen| now.since(seen) > silent_after)
}

/// Whether what an appliance said is news: the older of when it said so and when that came must not be too long ago.
pub fn is_news(at: Timestamp, received_at: Timestamp, now: Timestamp) -> bool {
    now.since(at.min(received_at)) <= STATE_LIFE
}

/// What a check says of now.
fn current(check: &CheckRow, now: Timestamp) -> State {
    if is_news(check.at, check.received_at, now) { check.state } else { State::Unknown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_green_is_unknown_by_whichever_clock_it_is_old() {
        let now = Timestamp::from_millis(1_795_167_671_000);
        let ago = |hours: i64| now.plus(Span::from_hours(-hours));
        let check = |at, received_at| CheckRow {
            check: "backups".to_owned(),
            state: State::Compliant,
            outcome: Outcome::Success,
            at,
            received_at,
        };
        assert_eq!(current(&check(ago(1), now), now), State::Compliant);
        assert_eq!(current(&check(ago(3), now), now), State::Unknown);
        assert_eq!(current(&check(now, ago(3)), now), State::Unknown);
        assert_eq!(current(&check(ago(-30), now), now), State::Compliant);
    }

    fn row(check: &str, state: State, at: Timestamp) -> CheckRow {
        CheckRow { check: check.to_owned(), state, outcome: Outcome::Success, at, received_at: at }
    }

    #[test]
    fn only_what_was_just_reported_is_green() {
        let now = Timestamp::from_millis(1_795_167_671_000);
        let old = now.plus(Span::from_hours(-3));
        let standings = |rows: Vec<CheckRow>, silent| {
            let cells = cells(rows, silent, now);
            cells.iter().map(|cell| cell.standing).collect::<Vec<_>>()
        };
        let six = |first| [vec![first], vec![Standing::Stale; 5]].concat();
        for state in [State::Compliant, State::Drifted, State::Unknown, State::NotApplicable] {
            assert_eq!(standings(vec![row("patching", state, old)], false), six(Standing::Stale));
            assert_eq!(standings(vec![row("patching", state, now)], true), six(Standing::Stale));
        }
        let fresh = vec![row("patching", State::Compliant, now)];
        assert_eq!(standings(fresh.clone(), false), six(Standing::Compliant));
        assert_eq!(worst(&cells(fresh, false, now)), Standing::Stale);
        assert_eq!(worst(&[]), Standing::Stale);
        let none: Vec<_> = CHECKS.map(|check| row(check, State::NotApplicable, now)).into();
        assert_eq!(worst(&cells(none, false, now)), Standing::Stale);
        let more = vec![row("seventh", State::Drifted, now)];
        assert_eq!(worst(&cells(more, false, now)), Standing::Drifted);
    }

    #[test]
    fn what_needs_a_look_comes_first() {
        let now = Timestamp::from_millis(1_795_167_671_000);
        let line = |site: &str, worst: Option<State>, missing| {
            let rows = CHECKS.map(|check| row(check, State::Compliant, now));
            let worst = worst.map(|state| row("logging", state, now));
            let cells = cells(rows.into_iter().chain(worst).collect(), false, now);
            let site = site.parse().unwrap();
            Line { site, cells, last_seen: None, open_orders: 0, missing }
        };
        let mut lines = vec![
            line("b-good", None, 0),
            line("a-good", Some(State::NotApplicable), 0),
            line("c-gap", None, 2),
            line("d-unknown", Some(State::Unknown), 0),
            line("e-drifted", Some(State::Drifted), 0),
        ];
        sort(&mut lines);
        let names: Vec<_> = lines.iter().map(|line| line.site.as_str()).collect();
        assert_eq!(names, ["e-drifted", "d-unknown", "c-gap", "b-good", "a-good"]);
    }
}
