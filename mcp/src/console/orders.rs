//! `/orders`: the orders of all sites, or of one.

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
use crate::operator::{site_name, site_row};
use crate::store::{OrderLine, OrderRow, OrderState};

/// As many orders a page shows.
const ORDERS: u32 = 100;

#[derive(Template)]
#[template(path = "orders.html")]
struct Page {
    layout: Layout,
    site: Option<String>,
    orders: Vec<Order>,
    paged: bool,
    /// The query of the next page.
    older: Option<String>,
}

pub(super) struct Order {
    pub(super) row: OrderRow,
    /// How it ended, or why it has not.
    pub(super) mark: Mark,
    /// Why it ended so, if the mark does not say it.
    pub(super) reason: Option<String>,
    pub(super) issued: When,
    /// When it expires or expired, if it is open.
    pub(super) expires: Option<(&'static str, When)>,
    /// The path of the newest bundle about it.
    pub(super) evidence: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    site: Option<String>,
    before: Option<i64>,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    uri: Uri,
) -> Result<Response, Failure> {
    let Query { site, before } = body::query(&uri)?;
    let name = site.as_deref().map(site_name).transpose()?;
    let mut lines = app
        .blocking(move |app| {
            app.store.read(|view| {
                let site = name.map(|name| site_row(view, &name)).transpose()?;
                Ok(view.order_lines(site.as_ref(), before, ORDERS + 1)?)
            })
        })
        .await?;
    let shown = usize::try_from(ORDERS).unwrap_or(usize::MAX);
    let more = lines.len() > shown;
    lines.truncate(shown);
    let of = site.as_ref().map(|site| format!("site={site}&")).unwrap_or_default();
    let older = lines.last().filter(|_| more).map(|last| format!("?{of}before={}", last.place));
    let now = app.now();
    let orders = lines.into_iter().map(|line| order(line, now)).collect();
    Ok(render(&Page { layout: viewer.layout, site, orders, paged: before.is_some(), older }))
}

/// An order as a table shows it.
pub(super) fn order(line: OrderLine, now: Timestamp) -> Order {
    let OrderLine { row, evidence, .. } = line;
    let over = row.expires_at < now;
    let ended = row.outcome.filter(|_| row.state == OrderState::Done);
    let mark = ended.map_or_else(|| view::order(row.state, over), view::outcome);
    let says_more = |reason: &String| ![mark.text, "done"].contains(&reason.as_str());
    Order {
        mark,
        reason: row.reason.clone().filter(|reason| ended.is_some() && says_more(reason)),
        issued: view::when(row.issued_at, now),
        expires: (row.state == OrderState::Open)
            .then(|| (if over { "expired" } else { "expires" }, view::when(row.expires_at, now))),
        evidence: evidence
            .map(|(ledger, number)| format!("/sites/{}/evidence/{ledger}/{number}", row.site)),
        row,
    }
}

#[cfg(test)]
mod tests {
    use compliance_protocol::evidence::Outcome;
    use compliance_protocol::name::Id;
    use compliance_protocol::time::Span;

    use super::*;

    /// What a table says of an order, a minute before or after it expires.
    fn said(state: OrderState, end: Option<(Outcome, &str)>, over: bool) -> String {
        let at = Timestamp::from_millis(1_795_167_671_000);
        let row = OrderRow {
            site: "clinic-a".parse().unwrap(),
            epoch: 1,
            sequence: 1,
            id: Id::new(at, [1; 10]),
            action: "reboot".to_owned(),
            when: "window".to_owned(),
            issued_at: at,
            expires_at: at,
            state,
            outcome: end.map(|(outcome, _)| outcome),
            reason: end.map(|(_, reason)| reason.to_owned()),
        };
        let line = OrderLine { place: 1, row, evidence: None };
        let order = order(line, at.plus(Span::from_secs(if over { 60 } else { -60 })));
        let expires = order.expires.map(|(word, at)| format!("{word} {}", at.distance));
        let parts = [Some(order.mark.text.to_owned()), order.reason, expires];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn an_order_says_how_it_ended_once() {
        use OrderState::{Done, Open, Withdrawn};
        assert_eq!(said(Open, None, false), "open expires in 1 min 0 s");
        assert_eq!(said(Open, None, true), "no answer expired 1 min 0 s ago");
        assert_eq!(said(Done, Some((Outcome::Success, "done")), true), "success");
        assert_eq!(said(Done, Some((Outcome::Expired, "expired")), true), "expired");
        assert_eq!(said(Done, Some((Outcome::Rejected, "policy")), true), "rejected policy");
        assert_eq!(said(Withdrawn, None, true), "withdrawn");
        assert_eq!(said(Withdrawn, Some((Outcome::Expired, "expired")), true), "withdrawn");
    }
}
