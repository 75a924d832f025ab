//! `compliancectl evidence`: what the control plane holds.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use compliance_protocol::evidence::export::{bundle_files, key_files};
use compliance_protocol::name::{Id, Site};
use serde::Serialize;
use serde_json::Value;

use crate::api::{EvidenceDetail, EvidencePage, EvidenceSummary};
use crate::connect::ControlPlane;
use crate::order::outcome_cell;
use crate::output::{Table, Tone};
use crate::{Context, Error, Verdict, files};

/// List, show and export the evidence that the control plane holds.
#[derive(Debug, Subcommand)]
pub enum EvidenceCommand {
    /// List bundles, oldest first.
    List {
        /// The site.
        #[arg(long)]
        site: Site,
    },
    /// Show one bundle.
    Show {
        /// The site.
        site: Site,
        /// The bundle's sequence.
        sequence: u64,
        /// Its ledger; needed if more than one has that sequence.
        #[arg(long)]
        ledger: Option<Id>,
    },
    /// Write all bundles of one enrolment of a site as files that anybody can verify.
    Export {
        /// A new directory.
        dir: PathBuf,
        /// The site.
        #[arg(long)]
        site: Site,
        /// The enrolment's trust file, whose evidence key must have signed [default: the newest, from the control plane]
        #[arg(long, value_name = "FILE")]
        trust: Option<PathBuf>,
    },
}

/// Carries out a command of the group.
pub async fn run(context: &Context, command: EvidenceCommand) -> Result<Verdict, Error> {
    match command {
        EvidenceCommand::List { site } => list(context, &site).await,
        EvidenceCommand::Show { site, sequence, ledger } => {
            show(context, &site, sequence, ledger).await
        }
        EvidenceCommand::Export { dir, site, trust } => {
            export(context, &dir, &site, trust.as_deref()).await
        }
    }
}

/// All bundles of a site that the control plane holds, oldest first.
pub async fn all(plane: &ControlPlane, site: &Site) -> Result<Vec<EvidenceSummary>, Error> {
    let first = format!("/api/v1/evidence?site={site}&limit=500");
    let mut path = first.clone();
    let mut found = Vec::new();
    loop {
        let page: EvidencePage = plane.get(&path).await?;
        let empty = page.evidence.is_empty();
        found.extend(page.evidence);
        match page.next {
            // A page without bundles that promises more would be asked for without end.
            Some(next) if !empty && !next.is_null() => {
                path = format!("{first}&after={}", plain(&next));
            }
            _ => return Ok(found),
        }
    }
}

/// One bundle with its signatures and its receipt.
pub async fn one(plane: &ControlPlane, of: &EvidenceSummary) -> Result<EvidenceDetail, Error> {
    let EvidenceSummary { site, ledger_id, sequence, .. } = of;
    plane.get(&format!("/api/v1/sites/{site}/evidence/{ledger_id}/{sequence}")).await
}

async fn list(context: &Context, site: &Site) -> Result<Verdict, Error> {
    let evidence = all(&context.control_plane()?, site).await?;
    context.output.show(&evidence, |evidence, paint| {
        let heads = ["bundle", "finished", "outcome", "check", "reason", "detail"];
        let mut table = Table::new(&heads);
        for bundle in evidence {
            table.row(vec![
                (Tone::Plain, bundle.sequence.to_string()),
                (Tone::Plain, bundle.finished_at.to_string()),
                outcome_cell(Some(bundle.outcome)),
                (Tone::Plain, bundle.check.clone().unwrap_or_default()),
                (Tone::Plain, bundle.reason.clone()),
                (Tone::Quiet, bundle.detail.clone()),
            ]);
        }
        table.render(paint)
    })?;
    Ok(Verdict::Holds)
}

/// A bundle for people: its JSON, and whether there is a receipt.
#[derive(Debug, Serialize)]
struct Shown {
    bundle: Value,
    receipt: Option<String>,
}

async fn show(
    context: &Context,
    site: &Site,
    sequence: u64,
    ledger: Option<Id>,
) -> Result<Verdict, Error> {
    let plane = context.control_plane()?;
    let wanted = |e: &&EvidenceSummary| {
        e.sequence == sequence && ledger.is_none_or(|ledger| e.ledger_id == ledger)
    };
    let evidence = all(&plane, site).await?;
    let mut found = evidence.iter().filter(wanted);
    let summary = match (found.next(), found.next()) {
        (Some(one), None) => one,
        (None, _) => {
            return Err(Error::Usage(format!(
                "the control plane holds no bundle {sequence} of {site}"
            )));
        }
        (Some(_), Some(_)) => {
            return Err(Error::Usage(format!(
                "more than one ledger of {site} has a bundle {sequence}: name one with --ledger (see `evidence list --json`)"
            )));
        }
    };
    let detail = one(&plane, summary).await?;
    let bundle = serde_json::from_slice(detail.json.as_slice()).map_err(|error| Error::Answer {
        path: format!("bundle {sequence} of {site}"),
        detail: error.to_string(),
    })?;
    let shown = Shown { bundle, receipt: detail.receipt };
    context.output.show(&shown, |shown, _| {
        let receipt = if shown.receipt.is_some() { "here" } else { "none" };
        format!("{:#}\nreceipt: {receipt}; nothing was verified here: export it, then `compliancectl verify`", shown.bundle)
    })?;
    Ok(Verdict::Holds)
}

/// What was exported.
#[derive(Debug, Serialize)]
struct Exported {
    directory: PathBuf,
    bundles: usize,
    receipts: usize,
    /// Bundles of other enrolments, which other keys signed; they are not in it.
    of_other_epochs: usize,
}

async fn export(
    context: &Context,
    dir: &Path,
    site: &Site,
    trust: Option<&Path>,
) -> Result<Verdict, Error> {
    let plane = context.control_plane()?;
    let trust = match trust {
        Some(path) => files::trust(path)?,
        None => plane.trust(site).await?,
    };
    let trust = trust.into_value();
    files::empty_directory(dir)?;
    // A machine that was replaced signed with a key of its own, so each enrolment is an export of its own.
    let (evidence, others): (Vec<_>, Vec<_>) =
        all(&plane, site).await?.into_iter().partition(|one| one.epoch == trust.epoch);
    let mut receipts = 0;
    for summary in &evidence {
        let detail = one(&plane, summary).await?;
        let signed = detail.signed();
        let verified = signed
            .verify(&trust.roles.evidence)
            .map_err(|source| Error::Evidence { sequence: summary.sequence, source })?;
        receipts += usize::from(detail.receipt.is_some());
        for file in bundle_files(verified.bundle(), &signed, detail.receipt.as_deref()) {
            files::export(dir, &file)?;
        }
    }
    for file in key_files(&trust.roles.evidence, &trust.log).map_err(Error::KeySet)? {
        files::export(dir, &file)?;
    }
    let exported = Exported {
        directory: dir.to_owned(),
        bundles: evidence.len(),
        receipts,
        of_other_epochs: others.len(),
    };
    context.output.show(&exported, |exported, _| {
        let dir = exported.directory.display();
        let others = match exported.of_other_epochs {
            0 => String::new(),
            count => format!(
                "\n{count} bundles of other enrolments are NOT in it: export them with the trust file of theirs, --trust FILE"
            ),
        };
        format!(
            "{} bundles of {site} in epoch {}, {} with receipts, are in {dir}{others}\nVerify them: compliancectl verify {dir} --trust TRUST_FILE",
            exported.bundles, trust.epoch, exported.receipts
        )
    })?;
    Ok(Verdict::Holds)
}

/// A page's mark as it goes back into a query.
fn plain(mark: &Value) -> String {
    mark.as_str().map_or_else(|| mark.to_string(), str::to_owned)
}
