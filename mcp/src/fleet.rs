//! What is known of each site, as operators see it.

use std::collections::BTreeMap;

use compliance_protocol::evidence::{Outcome, State};
use compliance_protocol::feed::EvidenceHead;
use compliance_protocol::name::Site;
use compliance_protocol::time::{Span, Timestamp};
use serde::Serialize;

use crate::app::App;
use crate::store::{CheckRow, Gap, SiteRow, StoreError, View};

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
    let silent_after = Span::from_secs(i64::from(app.poll_after_s) * SILENT_AFTER_POLLS);
    let silent = row.last_seen.is_none_or(|seen| now.since(seen) > silent_after);
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
const CHECKS: [&str; 6] = ["patching", "services", "backups", "firewall", "logging", "encryption"];

/// The state of each check that a site should report, and of those that it reports besides. What it
/// never reported is unknown.
pub fn expected(site: &SiteSummary) -> impl Iterator<Item = (&str, State)> {
    let states = &site.states;
    let others = states.keys().map(String::as_str).filter(|check| !CHECKS.contains(check));
    CHECKS.into_iter().chain(others).map(|check| {
        let state = states.get(check).map_or(State::Unknown, |summary| summary.state);
        (check, state)
    })
}

/// What a check says of now: the older of when it looked and when that came must not be too long ago.
fn current(check: &CheckRow, now: Timestamp) -> State {
    let news = check.at.min(check.received_at);
    if now.since(news) > STATE_LIFE { State::Unknown } else { check.state }
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
}
