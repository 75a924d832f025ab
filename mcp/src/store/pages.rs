//! What the console's pages read: each of these costs as much as a page shows, not as much as there is.

use std::collections::HashMap;

use compliance_protocol::evidence::Outcome;
use compliance_protocol::name::Id;
use rusqlite::{Row, params};

use super::evidence::{self, evidence_row};
use super::orders::{self, order_row};
use super::row::{int, number, parsed};
use super::sites::check_row;
use super::{CheckRow, EvidenceFiles, EvidenceRow, OrderRow, SiteRow, StoreError, View};

/// As many ledgers of a site are looked through at most, the newest. An appliance begins a new one only when it
/// lost the one before.
const LEDGERS: u32 = 32;

/// A site as the fleet's board shows it.
#[derive(Debug, Clone)]
pub struct BoardRow {
    /// The site.
    pub site: SiteRow,
    /// What each of its checks found last.
    pub checks: Vec<CheckRow>,
    /// How many orders are open.
    pub open_orders: u64,
    /// How many bundles are missing in its chains.
    pub missing: u64,
}

/// Which evidence of a site a page shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// All.
    All,
    /// That of a check.
    Check(String),
    /// That with an outcome.
    Outcome(Outcome),
}

/// An order with its place in the list and the newest evidence of it.
#[derive(Debug, Clone)]
pub struct OrderLine {
    /// Lists are paged by it.
    pub place: i64,
    /// The order.
    pub row: OrderRow,
    /// Ledger and sequence of the newest bundle about it.
    pub evidence: Option<(Id, u64)>,
}

impl View<'_> {
    /// All sites by name, with what the board shows of each.
    pub fn board(&self) -> Result<Vec<BoardRow>, StoreError> {
        let mut checks = self.by_site(
            "SELECT site, check_id, state, outcome, at, received_at FROM check_states
             ORDER BY site, check_id",
            |row| check_row(row, 1),
        )?;
        let mut open_orders = self.by_site(
            "SELECT site, count(*) FROM orders JOIN sites USING (site, epoch)
             WHERE state = 'open' GROUP BY site",
            |row| number(row, 1),
        )?;
        // An appliance that lies may say that more is missing than an integer holds; sum() would fail, for all sites.
        let mut missing = self.by_site(
            "SELECT site, CAST(total(head_sequence - bundles) AS INTEGER) FROM ledgers GROUP BY site",
            |row| number(row, 1),
        )?;
        let one = |numbers: Option<Vec<u64>>| numbers.into_iter().flatten().sum();
        let row = |site: SiteRow| BoardRow {
            checks: checks.remove(&site.key).unwrap_or_default(),
            open_orders: one(open_orders.remove(&site.key)),
            missing: one(missing.remove(&site.key)),
            site,
        };
        Ok(self.sites()?.into_iter().map(row).collect())
    }

    /// Evidence of a site, its newest ledger first and in each the newest bundle; before the bundle `before`, if
    /// that is given.
    pub fn timeline(
        &self,
        site: &SiteRow,
        filter: &Filter,
        before: Option<(Id, u64)>,
        limit: usize,
    ) -> Result<Vec<EvidenceRow>, StoreError> {
        let mut rows = Vec::new();
        for (ledger, before) in self.ledgers_until(site, before)? {
            if rows.len() >= limit {
                break;
            }
            let left = i64::try_from(limit - rows.len()).unwrap_or(i64::MAX);
            rows.extend(self.newest_of_ledger(ledger, filter, before, left)?);
        }
        Ok(rows)
    }

    /// The newest bundle of a site that the filter lets through, with its bytes.
    pub fn newest(
        &self,
        site: &SiteRow,
        filter: &Filter,
    ) -> Result<Option<(EvidenceRow, EvidenceFiles)>, StoreError> {
        match self.timeline(site, filter, None, 1)?.first() {
            Some(row) => self.evidence_files(site, row.ledger_id, row.sequence),
            None => Ok(None),
        }
    }

    /// Orders, of one site or of all, the newest first; before the place `before`, if that is given.
    pub fn order_lines(
        &self,
        site: Option<&SiteRow>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<OrderLine>, StoreError> {
        let of = match site {
            Some(_) => {
                "orders.site = ?1 AND orders.rowid < ?2 ORDER BY orders.epoch DESC, orders.sequence DESC"
            }
            None => "?1 IS NULL AND orders.rowid < ?2 ORDER BY orders.rowid DESC",
        };
        let sql = format!(
            "SELECT {columns}, orders.rowid, ledger_id, evidence.sequence
             FROM orders JOIN sites ON sites.site = orders.site
             LEFT JOIN evidence ON leaf = (
                 SELECT max(leaf) FROM evidence AS about
                 WHERE about.site = orders.site AND about.order_sequence = orders.sequence
                   AND about.order_sha256 = orders.payload_sha256)
             LEFT JOIN ledgers USING (ledger)
             WHERE {of} LIMIT ?3",
            columns = orders::COLUMNS,
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let key = params![site.map(|site| site.key), before.unwrap_or(i64::MAX), limit];
        let rows = statement.query_map(key, |row| {
            let found = row.get::<_, Option<i64>>(13)?.is_some();
            let evidence = if found { Some((parsed(row, 12)?, number(row, 13)?)) } else { None };
            Ok(OrderLine { place: row.get(11)?, row: order_row(row)?, evidence })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The newest ledgers of a site, each with the sequence that its bundles are to be below.
    fn ledgers_until(
        &self,
        site: &SiteRow,
        before: Option<(Id, u64)>,
    ) -> Result<Vec<(i64, i64)>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT ledger, iif(ledger_id = ?2, ?3, ?4) FROM ledgers
             WHERE site = ?1 AND ledger <= coalesce(
                 (SELECT max(ledger) FROM ledgers WHERE site = ?1 AND ledger_id = ?2), ?4)
             ORDER BY ledger DESC LIMIT ?5",
        )?;
        let (id, sequence) =
            before.map_or((None, i64::MAX), |(id, n)| (Some(id.to_string()), int(n)));
        let key = params![site.key, id, sequence, i64::MAX, LEDGERS];
        let rows = statement.query_map(key, |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn newest_of_ledger(
        &self,
        ledger: i64,
        filter: &Filter,
        before: i64,
        limit: i64,
    ) -> Result<Vec<EvidenceRow>, StoreError> {
        let value = match filter {
            Filter::All => None,
            Filter::Check(check) => Some(check.as_str()),
            Filter::Outcome(outcome) => Some(outcome.code()),
        };
        let sql = newest_sql(filter);
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map(params![ledger, before, limit, value], evidence_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The rows of a query, by the site in their first column.
    fn by_site<T>(
        &self,
        sql: &str,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<HashMap<i64, Vec<T>>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        let mut found: HashMap<_, Vec<_>> = HashMap::new();
        while let Some(row) = rows.next()? {
            found.entry(row.get(0)?).or_default().push(read(row)?);
        }
        Ok(found)
    }
}

/// The newest bundles of ledger ?1 before sequence ?2, at most ?3; what the filter asks for is ?4.
fn newest_sql(filter: &Filter) -> String {
    let with = match filter {
        Filter::All => "?4 IS NULL",
        Filter::Check(_) => "check_id = ?4",
        // Nearly all are, so the chain itself is walked.
        Filter::Outcome(Outcome::Success) => "outcome = ?4",
        // Said twice, so that SQLite knows that the index has it.
        Filter::Outcome(_) => "outcome = ?4 AND outcome <> 'success'",
    };
    format!(
        "SELECT {columns} FROM {tables}
         WHERE evidence.ledger = ?1 AND sequence < ?2 AND {with}
         ORDER BY sequence DESC LIMIT ?3",
        columns = evidence::COLUMNS,
        tables = evidence::TABLES,
    )
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::super::schema;
    use super::*;

    #[test]
    fn no_appliance_takes_the_board_down_with_ledgers_of_which_nearly_all_is_missing() {
        let connection = Connection::open_in_memory().unwrap();
        schema::prepare(&connection).unwrap();
        connection
            .execute_batch(
                "INSERT INTO sites VALUES (1, 'clinic-a', 1, 1, 0, NULL, NULL),
                     (2, 'clinic-b', 1, 1, 0, NULL, NULL);
                 WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1100)
                 INSERT INTO ledgers SELECT n, 1, 1, 'ledger-' || n, 1, (1 << 53) - 1, x'00', 0 FROM n;
                 INSERT INTO ledgers VALUES (2000, 2, 1, 'ledger', 4, 7, x'00', 0);",
            )
            .unwrap();
        let board = View { connection: &connection }.board().unwrap();
        let missing: Vec<_> = board.iter().map(|row| row.missing).collect();
        assert_eq!(missing, [i64::MAX.unsigned_abs(), 3]);
    }

    #[test]
    fn a_page_of_evidence_is_read_in_order_from_an_index_and_nothing_else_is() {
        let connection = Connection::open_in_memory().unwrap();
        schema::prepare(&connection).unwrap();
        for (filter, index) in [
            (Filter::All, "sqlite_autoindex_evidence_1 (ledger=? AND sequence<?)"),
            (
                Filter::Outcome(Outcome::Success),
                "sqlite_autoindex_evidence_1 (ledger=? AND sequence<?)",
            ),
            (
                Filter::Check("backups".to_owned()),
                "evidence_by_check (ledger=? AND check_id=? AND sequence<?)",
            ),
            (
                Filter::Outcome(Outcome::Deferred),
                "evidence_by_outcome (ledger=? AND outcome=? AND sequence<?)",
            ),
        ] {
            let sql = format!("EXPLAIN QUERY PLAN {}", newest_sql(&filter));
            let mut statement = connection.prepare(&sql).unwrap();
            let key = params![1, 100, 10, "backups"];
            let steps = statement.query_map(key, |row| row.get::<_, String>(3)).unwrap();
            let plan = steps.collect::<Result<Vec<_>, _>>().unwrap().join("; ");
            assert!(plan.contains(index), "{plan}");
            assert!(!plan.contains("SCAN") && !plan.contains("TEMP B-TREE"), "{plan}");
        }
    }
}
