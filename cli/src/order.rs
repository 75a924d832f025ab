//! `compliancectl order`.

pub mod action;
pub mod sign;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use compliance_protocol::evidence::Outcome;
use compliance_protocol::name::Site;
use compliance_protocol::order::OrderHeader;
use serde::Serialize;

use crate::api::{OrderDetail, OrderSummary, Orders};
use crate::output::{Paint, Table, Tone};
use crate::verify::peek;
use crate::{Context, Error, Verdict, files};

/// Sign, push, list and withdraw orders.
#[derive(Debug, Subcommand)]
pub enum OrderCommand {
    /// Sign an order for one site.
    Sign(Box<sign::SignArgs>),
    /// Hand signed orders to the control plane.
    Push {
        /// Envelopes that `order sign` wrote.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// List orders and what became of them.
    List {
        /// Only of this site.
        #[arg(long)]
        site: Option<Site>,
    },
    /// Show one order.
    Show {
        /// The site.
        site: Site,
        /// The order's sequence.
        sequence: u64,
    },
    /// Withdraw an order: it is no longer offered, and a waiting one ends as expired.
    Withdraw {
        /// The site.
        site: Site,
        /// The order's sequence.
        sequence: u64,
    },
}

/// Carries out a command of the group.
pub async fn run(context: &Context, command: OrderCommand) -> Result<Verdict, Error> {
    match command {
        OrderCommand::Sign(args) => sign::run(context, &args).await,
        OrderCommand::Push { files } => push(context, &files).await,
        OrderCommand::List { site } => list(context, site.as_ref()).await,
        OrderCommand::Show { site, sequence } => show(context, &site, sequence).await,
        OrderCommand::Withdraw { site, sequence } => withdraw(context, &site, sequence).await,
    }
}

/// One order that was pushed.
#[derive(Debug, Serialize)]
struct Pushed {
    file: PathBuf,
    site: Site,
    sequence: u64,
}

async fn push(context: &Context, paths: &[PathBuf]) -> Result<Verdict, Error> {
    let plane = context.control_plane()?;
    let mut pushed = Vec::new();
    for path in paths {
        let (site, sequence) = address(path)?;
        plane.push(&site, files::envelope(path)?).await?;
        pushed.push(Pushed { file: path.clone(), site, sequence });
    }
    context.output.show(&pushed, |pushed, _| {
        let line = |p: &Pushed| {
            format!("order {} of {} is pushed ({})", p.sequence, p.site, p.file.display())
        };
        pushed.iter().map(line).collect::<Vec<_>>().join("\n")
    })?;
    Ok(Verdict::Holds)
}

/// Where an envelope is to go, by its own unverified word: the control plane verifies it.
fn address(path: &Path) -> Result<(Site, u64), Error> {
    let (_, payload) = peek(path, &files::envelope(path)?)?;
    match serde_json::from_value::<OrderHeader>(payload) {
        Ok(header) => Ok((header.site, header.sequence)),
        Err(error) => Err(Error::Usage(format!("{} holds no order: {error}", path.display()))),
    }
}

async fn list(context: &Context, site: Option<&Site>) -> Result<Verdict, Error> {
    let query = site.map_or_else(String::new, |site| format!("?site={site}"));
    let orders: Orders = context.control_plane()?.get(&format!("/api/v1/orders{query}")).await?;
    context.output.show(&orders, |orders, paint| {
        let heads = ["site", "order", "action", "when", "issued", "state", "outcome", "reason"];
        let mut table = Table::new(&heads);
        for order in &orders.orders {
            table.row(vec![
                (Tone::Strong, order.site.to_string()),
                (Tone::Plain, order.sequence.to_string()),
                (Tone::Plain, order.action.clone()),
                (Tone::Plain, format!("{:?}", order.when).to_lowercase()),
                (Tone::Plain, order.issued_at.to_string()),
                (Tone::Plain, order.state.clone()),
                outcome_cell(order.outcome),
                (Tone::Plain, order.reason.clone().unwrap_or_default()),
            ]);
        }
        table.render(paint)
    })?;
    Ok(Verdict::Holds)
}

async fn show(context: &Context, site: &Site, sequence: u64) -> Result<Verdict, Error> {
    let path = format!("/api/v1/sites/{site}/orders/{sequence}");
    let order: OrderDetail = context.control_plane()?.get(&path).await?;
    context.output.show(&order, describe)?;
    Ok(Verdict::Holds)
}

async fn withdraw(context: &Context, site: &Site, sequence: u64) -> Result<Verdict, Error> {
    let path = format!("/api/v1/sites/{site}/orders/{sequence}");
    context.control_plane()?.delete(&path).await?;
    let withdrawn = serde_json::json!({ "site": site, "sequence": sequence, "state": "withdrawn" });
    context.output.show(&withdrawn, |_, _| format!("order {sequence} of {site} is withdrawn"))?;
    Ok(Verdict::Holds)
}

fn describe(order: &OrderDetail, paint: Paint) -> String {
    let OrderSummary {
        site,
        sequence,
        id,
        action,
        issued_at,
        expires_at,
        state,
        outcome,
        reason,
        ..
    } = &order.summary;
    let (tone, outcome) = outcome_cell(*outcome);
    let mut table = Table::new(&[&format!("order {sequence}"), site.as_str()]);
    for (name, tone, value) in [
        ("id", Tone::Plain, id.to_string()),
        ("action", Tone::Strong, action.clone()),
        ("issued", Tone::Plain, issued_at.to_string()),
        ("expires", Tone::Plain, expires_at.to_string()),
        ("state", Tone::Plain, state.clone()),
        ("outcome", tone, outcome),
        ("reason", Tone::Plain, reason.clone().unwrap_or_default()),
        ("payload", Tone::Quiet, order.payload.to_string()),
    ] {
        table.row(vec![(Tone::Quiet, name.to_owned()), (tone, value)]);
    }
    table.render(paint)
}

/// An outcome as a table shows it; none means that there is no evidence yet.
pub fn outcome_cell(outcome: Option<Outcome>) -> (Tone, String) {
    let tone = match outcome {
        Some(Outcome::Success) => Tone::Good,
        Some(Outcome::Deferred) | None => Tone::Open,
        Some(
            Outcome::Failed
            | Outcome::Reverted
            | Outcome::Alert
            | Outcome::Rejected
            | Outcome::Expired,
        ) => Tone::Bad,
    };
    (tone, outcome.map_or("-", Outcome::code).to_owned())
}
