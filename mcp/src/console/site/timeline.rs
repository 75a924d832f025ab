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

/// From so many on, summaries of rounds in a row stand behind one line.
const FOLD: usize = 3;

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
    /// Summaries of rounds, with nothing between them.
    Rounds(Box<Rounds>),
    Gap {
        from: u64,
        to: u64,
    },
    /// The bundles below are of an older ledger.
    Ledger {
        id: String,
    },
}

pub(super) struct Rounds {
    pub(super) newest: Row,
    /// From the newest to the oldest, with both.
    pub(super) all: Vec<Row>,
    pub(super) oldest: Row,
    /// What tells it from others of the page, also when newer ones come.
    pub(super) id: String,
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
            Filter::All => with_gaps(&rows, before, more, now),
            _ => rows.chunk_by(belong_together).flat_map(|run| items(run, now)).collect(),
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
    rows: &[EvidenceRow],
    before: Option<(Id, u64)>,
    more: bool,
    now: Timestamp,
) -> Vec<Item> {
    let mut shown = Vec::new();
    let mut above = before;
    for run in rows.chunk_by(belong_together) {
        let (Some(newest), Some(oldest)) = (run.first(), run.last()) else { continue };
        match above {
            Some((ledger, sequence)) if ledger == newest.ledger_id => {
                shown.extend(gap(newest.sequence + 1, sequence));
            }
            Some((_, sequence)) => {
                shown.extend(gap(1, sequence));
                shown.push(Item::Ledger { id: newest.ledger_id.to_string() });
            }
            None => (),
        }
        shown.extend(items(run, now));
        above = Some((oldest.ledger_id, oldest.sequence));
    }
    if let Some((_, sequence)) = above.filter(|_| !more) {
        shown.extend(gap(1, sequence));
    }
    shown
}

/// What is missing from `from` to just before `end`.
fn gap(from: u64, end: u64) -> Option<Item> {
    (from < end).then(|| Item::Gap { from, to: end - 1 })
}

/// Whether one bundle follows the other and both only sum up rounds.
fn belong_together(newer: &EvidenceRow, older: &EvidenceRow) -> bool {
    let sums_up = |row: &EvidenceRow| {
        let plain = row.check.is_none() && row.order_id.is_none();
        plain && row.outcome == Outcome::Success && row.reason == "round"
    };
    let follows = newer.ledger_id == older.ledger_id && newer.sequence == older.sequence + 1;
    follows && sums_up(newer) && sums_up(older)
}

/// Bundles that belong together: behind one line if they are many.
fn items(run: &[EvidenceRow], now: Timestamp) -> Vec<Item> {
    match run {
        [newest, .., oldest] if run.len() >= FOLD => vec![Item::Rounds(Box::new(Rounds {
            newest: bundle(newest, now),
            all: run.iter().map(|row| bundle(row, now)).collect(),
            oldest: bundle(oldest, now),
            id: format!("rounds-{}-{}", oldest.ledger_id, oldest.sequence),
        }))],
        _ => run.iter().map(|row| Item::Bundle(Box::new(bundle(row, now)))).collect(),
    }
}

fn bundle(row: &EvidenceRow, now: Timestamp) -> Row {
    Row {
        link: link(row),
        at: view::when(row.finished_at, now),
        mark: view::outcome(row.outcome),
        check: row.check.clone().unwrap_or_default(),
        reason: row.reason.clone(),
        detail: shortened(row.detail.clone()),
    }
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

    const AT: Timestamp = Timestamp::from_millis(1_795_167_671_000);

    fn id(number: u8) -> Id {
        Id::new(AT, [number; 10])
    }

    fn row(ledger: u8, sequence: u64, reason: &str) -> EvidenceRow {
        EvidenceRow {
            leaf: 0,
            site: "clinic-a".parse().unwrap(),
            epoch: 1,
            ledger_id: id(ledger),
            sequence,
            id: id(0),
            outcome: Outcome::Success,
            check: None,
            reason: reason.to_owned(),
            detail: String::new(),
            finished_at: AT,
            received_at: AT,
            sha256: Digest::of(b""),
            order_id: None,
        }
    }

    fn texts(items: &[Item]) -> Vec<String> {
        let text = |item: &Item| match item {
            Item::Bundle(row) => row.link.sequence.to_string(),
            Item::Rounds(rounds) => {
                let Rounds { newest, all, oldest, .. } = rounds.as_ref();
                let all: Vec<_> = all.iter().map(|row| row.link.sequence).collect();
                format!("{} to {}: {all:?}", newest.link.sequence, oldest.link.sequence)
            }
            Item::Gap { from, to } => format!("{from} to {to} missing"),
            Item::Ledger { .. } => "older ledger".to_owned(),
        };
        items.iter().map(text).collect()
    }

    /// What the page shows of bundles of these ledgers and sequences.
    fn shown(places: &[(u8, u64)], before: Option<(u8, u64)>, more: bool) -> Vec<String> {
        let rows: Vec<_> =
            places.iter().map(|(ledger, number)| row(*ledger, *number, "")).collect();
        let before = before.map(|(ledger, sequence)| (id(ledger), sequence));
        texts(&with_gaps(&rows, before, more, AT))
    }

    #[test]
    fn summaries_of_rounds_stand_behind_one_line_and_nothing_else_does() {
        let all = |rows: &[EvidenceRow]| texts(&with_gaps(rows, None, true, AT));
        let round = |sequence| row(1, sequence, "round");
        assert_eq!(all(&[round(9), round(8), round(7)]), ["9 to 7: [9, 8, 7]"]);
        assert_eq!(all(&[round(9), round(8)]), ["9", "8"]);
        let rounds = [9, 8, 7, 4, 3, 2].map(round);
        assert_eq!(all(&rounds), ["9 to 7: [9, 8, 7]", "5 to 6 missing", "4 to 2: [4, 3, 2]"]);
        let older = [3, 2, 1].map(|sequence| row(2, sequence, "round"));
        let rows = [[2, 1].map(round).to_vec(), older.to_vec()].concat();
        assert_eq!(all(&rows), ["2", "1", "older ledger", "3 to 1: [3, 2, 1]"]);
        let other: [fn(&mut EvidenceRow); 4] = [
            |row| row.outcome = Outcome::Failed,
            |row| row.check = Some("backups".to_owned()),
            |row| row.order_id = Some(id(7)),
            |row| row.reason = "drifted".to_owned(),
        ];
        for change in other {
            let mut rows = [9, 8, 7, 6, 5, 4, 3].map(round);
            change(&mut rows[3]);
            assert_eq!(all(&rows), ["9 to 7: [9, 8, 7]", "6", "5 to 3: [5, 4, 3]"]);
        }
    }

    #[test]
    fn with_a_filter_nothing_that_it_hides_is_folded_over() {
        let filter = Filter::Outcome(Outcome::Success);
        let rows: Vec<_> = [9, 8, 7, 5, 4, 3].map(|number| row(1, number, "round")).into();
        let timeline = assemble(Question { filter, before: None }, rows, &[], AT);
        assert_eq!(texts(&timeline.items), ["9 to 7: [9, 8, 7]", "5 to 3: [5, 4, 3]"]);
    }

    #[test]
    fn a_page_ends_and_the_next_begins_where_bundles_do() {
        let filter = Filter::All;
        let rows: Vec<_> = (10..=60).rev().map(|number| row(1, number, "round")).collect();
        let timeline = assemble(Question { filter, before: None }, rows, &[], AT);
        let [Item::Rounds(rounds)] = timeline.items.as_slice() else { panic!("not one line") };
        assert_eq!((rounds.all.len(), rounds.oldest.link.sequence), (EVIDENCE, 11));
        assert!(timeline.older.unwrap().ends_with("&before=11"));
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
