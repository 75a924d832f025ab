//! `/`: all sites, those first that need a look.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use compliance_protocol::time::Timestamp;
use serde::Deserialize;

use super::Failure;
use super::page::{Layout, Viewer, render};
use super::view::{self, Mark, When};
use crate::app::App;
use crate::body;
use crate::fleet::{self, CHECKS, Cell, Line, Standing};

/// As many sites a page shows.
const SITES: usize = 200;

#[derive(Template)]
#[template(path = "fleet.html")]
struct Page {
    layout: Layout,
    tenant: String,
    find: String,
    checks: [&'static str; 6],
    summary: Summary,
    rows: Vec<Row>,
    found: usize,
    pages: Pages,
}

/// How many sites there are, and how many of each kind. Each is of one kind, the worst that it is of.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    sites: usize,
    need_a_look: usize,
    kinds: Vec<(usize, Mark)>,
    only_gaps: usize,
    compliant: usize,
}

/// Which part of the sites is shown; the first page is 1.
struct Pages {
    at: usize,
    of: usize,
}

struct Row {
    name: String,
    needs_a_look: bool,
    worst: Mark,
    cells: Vec<(String, Mark, Option<When>)>,
    seen: Option<When>,
    open_orders: u64,
    missing: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    #[serde(default)]
    find: String,
    page: Option<usize>,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    uri: Uri,
) -> Result<Response, Failure> {
    let Query { find, page } = body::query(&uri)?;
    let lines = app.blocking(|app| app.store.read(|view| Ok(fleet::board(app, view)?))).await?;
    let summary = summary(&lines);
    // What no name has finds nothing anyway.
    let find = find.to_lowercase();
    let find: String = find.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    let found: Vec<_> =
        lines.into_iter().filter(|line| line.site.as_str().contains(&find)).collect();
    let of = found.len().div_ceil(SITES).max(1);
    let at = page.unwrap_or(1).clamp(1, of);
    let now = app.now();
    let shown = found.iter().skip((at - 1) * SITES).take(SITES);
    Ok(render(&Page {
        layout: viewer.layout,
        tenant: app.tenant.to_string(),
        find,
        checks: CHECKS,
        summary,
        rows: shown.map(|line| row(line, now)).collect(),
        found: found.len(),
        pages: Pages { at, of },
    }))
}

fn summary(lines: &[Line]) -> Summary {
    let count = |is: &dyn Fn(&Line) -> bool| lines.iter().filter(|line| is(line)).count();
    let bad = [Standing::Drifted, Standing::Unknown, Standing::Stale];
    let kinds = bad.map(|bad| (count(&|line| line.worst() == bad), view::standing(bad)));
    let need_a_look = count(&Line::needs_a_look);
    Summary {
        sites: lines.len(),
        need_a_look,
        only_gaps: count(&|line| line.needs_a_look() && !bad.contains(&line.worst())),
        compliant: lines.len() - need_a_look,
        kinds: kinds.into_iter().filter(|(count, _)| *count > 0).collect(),
    }
}

fn row(line: &Line, now: Timestamp) -> Row {
    let cell = |cell: &Cell| {
        let when = cell.last.map(|(_, at)| view::when(at, now));
        (cell.check.clone(), view::standing(cell.standing), when)
    };
    Row {
        name: line.site.to_string(),
        needs_a_look: line.needs_a_look(),
        worst: view::standing(line.worst()),
        cells: line.cells.iter().take(CHECKS.len()).map(cell).collect(),
        seen: line.last_seen.map(|at| view::when(at, now)),
        open_orders: line.open_orders,
        missing: line.missing,
    }
}

#[cfg(test)]
mod tests {
    use compliance_protocol::evidence::State;

    use super::*;

    #[test]
    fn every_site_is_counted_once_by_the_worst_of_it() {
        let line = |standing, missing| Line {
            site: "clinic-a".parse().unwrap(),
            cells: vec![Cell { check: "logging".to_owned(), standing, last: None }],
            last_seen: None,
            open_orders: 0,
            missing,
        };
        let lines = [
            line(Standing::Compliant, 0),
            line(Standing::Compliant, 3),
            line(Standing::Compliant, 1),
            line(Standing::Drifted, 2),
            line(Standing::Stale, 0),
            line(Standing::NotApplicable, 0),
        ];
        let summary = summary(&lines);
        let kinds = vec![
            (1, view::state(State::Drifted)),
            // That nothing applies says nothing good.
            (2, view::standing(Standing::Stale)),
        ];
        let expected = Summary { sites: 6, need_a_look: 5, kinds, only_gaps: 2, compliant: 1 };
        assert_eq!(summary, expected);
    }
}
