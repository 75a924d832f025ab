//! A site's evidence, the newest first, with what is missing in its chains.

use compliance_protocol::evidence::Outcome;
use compliance_protocol::name::Id;
use compliance_protocol::time::Timestamp;
use serde::Deserialize;

use super::super::Failure;
use super::super::view::{self, Mark, When};
use super::{Link, link};
use crate::fleet::Cell;
use crate::ingest::is_check;
use crate::problem::Problem;
use crate::store::{EvidenceRow, Filter, SiteRow, StoreError, View};

/// As many bundles a page shows.
const EVIDENCE: usize = 50;

/// As many characters of a bundle's detail; its own page has all.
const DETAIL: usize = 400;

const OUTCOMES: [Outcome; 7] = [
    Outcome::Success,
    Outcome::Failed,
    Outcome::Reverted,
    Outcome::Deferred,
    Outcome::Alert,
    Outcome::Rejected,
    Outcome::Expired,
];

pub(super) struct Timeline {
    pub(super) items: Vec<Item>,
    pub(super) checks: Vec<Choice>,
    pub(super) outcomes: Vec<Choice>,
    pub(super) filtered: bool,
    /// The page does not begin with the newest.
    pub(super) paged: bool,
    /// The query of the next page.
    pub(super) older: Option<String>,
}

/// A filter that can be chosen.
pub(super) struct Choice {
    pub(super) text: String,
    pub(super) query: String,
    pub(super) chosen: bool,
}

pub(super) enum Item {
    Bundle(Box<Row>),
    Gap {
        from: u64,
        to: u64,
    },
    /// The bundles below are of an older ledger.
    Ledger {
        id: String,
    },
}

pub(super) struct Row {
    pub(super) link: Link,
    pub(super) at: When,
    pub(super) mark: Mark,
    pub(super) check: String,
    pub(super) reason: String,
    pub(super) detail: String,
}

/// The query of the page, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    check: Option<String>,
    outcome: Option<Outcome>,
    ledger: Option<Id>,
    before: Option<u64>,
}

/// What the page asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    filter: Filter,
    before: Option<(Id, u64)>,
}

impl Question {
    pub(super) fn of(query: Query) -> Result<Self, Failure> {
        let filter = match (query.check, query.outcome) {
            (None, None) => Filter::All,
            (Some(check), None) if is_check(&check) => Filter::Check(check),
            (None, Some(outcome)) => Filter::Outcome(outcome),
            _ => {
                let detail = "Evidence is shown of one check, or with one outcome.";
                return Err(Problem::bad_request(detail).into());
            }
        };
        Ok(Self { filter, before: query.ledger.zip(query.before) })
    }

    /// The bundles of this page, and one more if there is.
    pub(super) fn ask(
        &self,
        view: &View<'_>,
        site: &SiteRow,
    ) -> Result<Vec<EvidenceRow>, StoreError> {
        view.timeline(site, &self.filter, self.before, EVIDENCE + 1)
    }
}

pub(super) fn assemble(
    question: Question,
    mut rows: Vec<EvidenceRow>,
    cells: &[Cell],
    now: Timestamp,
) -> Timeline {
    let more = rows.len() > EVIDENCE;
    rows.truncate(EVIDENCE);
    let Question { filter, before } = question;
    let filter_query = match &filter {
        Filter::All => String::new(),
        Filter::Check(check) => format!("check={check}&"),
        Filter::Outcome(outcome) => format!("outcome={}&", outcome.code()),
    };
    let older = rows.last().filter(|_| more);
    let older = older
        .map(|last| format!("?{filter_query}ledger={}&before={}", last.ledger_id, last.sequence));
    Timeline {
        checks: cells
            .iter()
            .map(|cell| choice(Filter::Check(cell.check.clone()), &filter))
            .collect(),
        outcomes: OUTCOMES.map(|outcome| choice(Filter::Outcome(outcome), &filter)).into(),
        filtered: filter != Filter::All,
        paged: before.is_some(),
        items: match filter {
            Filter::All => with_gaps(rows, before, more, now),
            _ => rows.into_iter().map(|row| bundle(row, now)).collect(),
        },
        older,
    }
}

fn choice(one: Filter, chosen: &Filter) -> Choice {
    let chosen = one == *chosen;
    match one {
        Filter::All => Choice { text: "all".to_owned(), query: "?".to_owned(), chosen },
        Filter::Check(check) => Choice { query: format!("?check={check}"), text: check, chosen },
        Filter::Outcome(outcome) => {
            let text = outcome.code().to_owned();
            Choice { query: format!("?outcome={text}"), text, chosen }
        }
    }
}

/// The bundles, and between them what is missing. Without `more`, the oldest is the last.
fn with_gaps(
    rows: Vec<EvidenceRow>,
    before: Option<(Id, u64)>,
    more: bool,
    now: Timestamp,
) -> Vec<Item> {
    let mut items = Vec::new();
    let mut above = before;
    for row in rows {
        let place = (row.ledger_id, row.sequence);
        match above {
            Some((ledger, sequence)) if ledger == place.0 => {
                items.extend(gap(place.1 + 1, sequence));
            }
            Some((_, sequence)) => {
                items.extend(gap(1, sequence));
                items.push(Item::Ledger { id: row.ledger_id.to_string() });
            }
            None => (),
        }
        items.push(bundle(row, now));
        above = Some(place);
    }
    if let Some((_, sequence)) = above.filter(|_| !more) {
        items.extend(gap(1, sequence));
    }
    items
}

/// What is missing from `from` to just before `end`.
fn gap(from: u64, end: u64) -> Option<Item> {
    (from < end).then(|| Item::Gap { from, to: end - 1 })
}

fn bundle(row: EvidenceRow, now: Timestamp) -> Item {
    Item::Bundle(Box::new(Row {
        link: link(&row),
        at: view::when(row.finished_at, now),
        mark: view::outcome(row.outcome),
        check: row.check.unwrap_or_default(),
        reason: row.reason,
        detail: shortened(row.detail),
    }))
}

/// As much of a text as a line of a table shows: an appliance may write as much as a bundle takes.
fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(DETAIL) {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use compliance_protocol::digest::Digest;

    use super::*;

    fn id(number: u8) -> Id {
        Id::new(Timestamp::from_millis(1_795_167_671_000), [number; 10])
    }

    /// What the page shows of bundles of these ledgers and sequences.
    fn shown(places: &[(u8, u64)], before: Option<(u8, u64)>, more: bool) -> Vec<String> {
        let at = Timestamp::from_millis(1_795_167_671_000);
        let row = |(ledger, sequence): &(u8, u64)| EvidenceRow {
            leaf: 0,
            site: "clinic-a".parse().unwrap(),
            epoch: 1,
            ledger_id: id(*ledger),
            sequence: *sequence,
            id: id(0),
            outcome: Outcome::Success,
            check: None,
            reason: String::new(),
            detail: String::new(),
            finished_at: at,
            received_at: at,
            sha256: Digest::of(b""),
            order_id: None,
        };
        let before = before.map(|(ledger, sequence)| (id(ledger), sequence));
        let items = with_gaps(places.iter().map(row).collect(), before, more, at);
        let text = |item: &Item| match item {
            Item::Bundle(row) => row.link.sequence.to_string(),
            Item::Gap { from, to } => format!("{from} to {to} missing"),
            Item::Ledger { .. } => "older ledger".to_owned(),
        };
        items.iter().map(text).collect()
    }

    #[test]
    fn a_long_detail_is_shortened_between_characters() {
        assert_eq!(shortened("ä".repeat(DETAIL)), "ä".repeat(DETAIL));
        assert_eq!(shortened("ä".repeat(DETAIL + 1)), "ä".repeat(DETAIL) + "…");
    }

    #[test]
    fn what_is_missing_stands_where_it_is_missing() {
        assert_eq!(shown(&[(1, 3), (1, 2), (1, 1)], None, false), ["3", "2", "1"]);
        assert_eq!(shown(&[(1, 9), (1, 5)], None, true), ["9", "6 to 8 missing", "5"]);
        assert_eq!(shown(&[(1, 5)], Some((1, 9)), true), ["6 to 8 missing", "5"]);
        assert_eq!(shown(&[(1, 3)], None, false), ["3", "1 to 2 missing"]);
        assert_eq!(
            shown(&[(2, 2), (1, 1)], None, false),
            ["2", "1 to 1 missing", "older ledger", "1"]
        );
        assert!(shown(&[], None, false).is_empty());
        assert_eq!(shown(&[], Some((1, 3)), false), ["1 to 2 missing"]);
    }
}
