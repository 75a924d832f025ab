//! A card for each check: what is known of it, expected and actual.

use compliance_protocol::evidence::{Finding, State};
use compliance_protocol::time::Timestamp;

use super::super::view::{self, Mark, When};
use super::{Known, Link, Stored, link};
use crate::fleet::{Cell, Standing};

pub(super) struct Card {
    pub(super) check: String,
    pub(super) mark: Mark,
    /// When it looked last.
    pub(super) at: Option<When>,
    /// What it reported last, if that is no longer what holds.
    pub(super) reported: Option<&'static str>,
    /// The newest bundle about it, if it says what was reported last.
    pub(super) told: Option<Told>,
}

pub(super) struct Told {
    pub(super) bundle: Link,
    pub(super) outcome: Mark,
    pub(super) detail: String,
    pub(super) findings: Vec<Finding>,
    /// How what was found is written: it is, or it was before it was healed.
    pub(super) is: &'static str,
}

pub(super) fn all(known: &Known, now: Timestamp) -> Vec<Card> {
    let pairs = known.cells.iter().zip(&known.of_checks);
    pairs.map(|(cell, stored)| card(cell, stored.as_ref(), now)).collect()
}

fn card(cell: &Cell, stored: Option<&Stored>, now: Timestamp) -> Card {
    let reported = cell.last.map(|(state, _)| state);
    let told = stored.filter(|stored| stored.bundle.state == reported);
    Card {
        check: cell.check.clone(),
        mark: view::standing(cell.standing),
        at: cell.last.map(|(_, at)| view::when(at, now)),
        reported: reported
            .filter(|_| cell.standing == Standing::Stale)
            .map(|state| view::state(state).text),
        told: told.map(|Stored { row, bundle }| Told {
            bundle: link(row),
            outcome: match cell.standing {
                Standing::Stale => Mark { class: "stale", ..view::outcome(bundle.outcome) },
                _ => view::outcome(bundle.outcome),
            },
            detail: bundle.detail.clone(),
            findings: bundle.findings.clone(),
            is: if reported == Some(State::Compliant) { "was" } else { "actual" },
        }),
    }
}
