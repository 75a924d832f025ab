//! `compliancectl verify`: evidence, envelopes and exported directories, offline.
//!
//! What is expected and not there, what is there and not expected, and what nobody looked at each keep
//! the verdict from being [`Verdict::Holds`].

mod bundle;
mod demand;
mod directory;
mod envelope;
mod keys;
mod receipts;
mod report;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use compliance_daemon::files;
use compliance_protocol::envelope::MAX_ENVELOPE;
use compliance_protocol::evidence::STATEMENT_TYPE;
use compliance_protocol::evidence::export::Part;

pub use demand::{Demands, Head, NotAHead};
pub use envelope::peek;
pub use keys::Keys;
pub use report::{ChainHead, Problem, Report, Tail};

use self::demand::Heads;
use self::receipts::Receipts;
use crate::output::{Paint, Table, Tone};
use crate::{Context, Error, Verdict};

/// Options of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Bundles, envelopes, or exported directories.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// A public key that signed: evidence.pub of the site for evidence, the role's for an envelope.
    #[arg(long = "key", value_name = "FILE", required_unless_present = "trust")]
    pub keys: Vec<PathBuf>,
    /// The site's trust file: names the keys of all roles, tenant, site and log.
    #[arg(long, value_name = "FILE")]
    pub trust: Option<PathBuf>,
    /// The evidence log's key, a vkey, with which receipts are verified.
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// What must be there beside that.
    #[command(flatten)]
    pub demands: Demands,
}

/// Carries out `verify`.
pub fn run(context: &Context, args: &VerifyArgs) -> Result<Verdict, Error> {
    let keys = Keys::read(&args.keys, args.trust.as_deref(), args.checkpoint.as_deref())?;
    let report = verify(&args.paths, &keys, &args.demands);
    context.output.show(&report, describe)?;
    Ok(report.verdict())
}

/// Verifies all of `paths`, and that what is demanded is among them.
pub fn verify(paths: &[PathBuf], keys: &Keys, demands: &Demands) -> Report {
    let mut report = Report::default();
    let mut heads = Heads::demanded(&demands.heads);
    for path in paths {
        match fs::metadata(path) {
            Err(error) => report.unread(path, &error),
            Ok(metadata) if metadata.is_dir() => {
                directory::verify(path, keys, demands.pending_ok, &mut heads, &mut report);
            }
            Ok(metadata) if metadata.is_file() => {
                verify_file(path, keys, demands.pending_ok, &mut report);
            }
            Ok(_) => report.unchecked(path, "is neither a file nor a directory".to_owned()),
        }
    }
    heads.judge(&mut report);
    report
}

/// One named file: any file of a bundle stands for the bundle, anything else must be an envelope.
fn verify_file(path: &Path, keys: &Keys, pending_ok: bool, report: &mut Report) {
    let bytes = match files::read(path, MAX_ENVELOPE) {
        Ok(bytes) => bytes,
        Err(error) => return report.unread(path, &error),
    };
    let name = path.file_name().and_then(|name| name.to_str()).and_then(Part::of_name);
    match (envelope::kind(&bytes).as_deref(), name) {
        (Some(STATEMENT_TYPE) | None, Some((stem, _))) => {
            let folder = path.parent().unwrap_or_else(|| Path::new(""));
            let before = report.problems.len();
            let checked = bundle::verify(folder, stem, keys, report);
            let mut receipts = Receipts::default();
            if let Some(checked) = &checked {
                receipts.take(checked);
            }
            receipts.judge(pending_ok, report);
            if let Some(checked) = checked.filter(|_| report.problems.len() == before) {
                let bundle = checked.verified.bundle();
                let subject = bundle.check.as_deref().unwrap_or("no check");
                let outcome = bundle.outcome.code();
                report.verified(path, &format!("bundle {}: {outcome}, {subject}", bundle.sequence));
            }
        }
        _ => envelope::verify(path, &bytes, keys, report),
    }
}

fn describe(report: &Report, paint: Paint) -> String {
    let mut lines = Vec::new();
    if !report.problems.is_empty() {
        lines.push(problems(report).render(paint));
    }
    for what in &report.verified {
        lines.push(format!("  {}  {what}\n", paint.tone(Tone::Good, "verified")));
    }
    for ChainHead { site, epoch, ledger_id, first, last, sha256, tail } in &report.chains {
        lines.push(format!(
            "  chain of {site}, epoch {epoch}, ledger {ledger_id}: bundles {first} to {last}, head {last}:{sha256}\n"
        ));
        if *first > 1 {
            lines.push(format!(
                "  bundles 1 to {} of chain {ledger_id} were pruned by the appliance, which says so in a bundle `pruned`\n",
                first - 1
            ));
        }
        if *tail == Tail::NotChecked {
            lines.push(format!(
                "  whether anything follows bundle {last} of chain {ledger_id}, or another chain is missing, cannot be seen from the files alone; pass --head to demand it\n"
            ));
        }
    }
    let (tone, word) = match report.verdict() {
        Verdict::Holds => (Tone::Good, "It holds"),
        Verdict::Fails => (Tone::Bad, "It does not hold"),
        Verdict::Unchecked => (Tone::Open, "It could not all be checked"),
    };
    let counts = [
        (report.bundles, "bundles verified"),
        (report.receipts, "receipts verified"),
        (report.receipts_unchecked, "receipts NOT CHECKED (give the log's key with --checkpoint)"),
        (report.without_receipt, "without receipt"),
        (report.envelopes, "envelopes verified"),
    ];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counts: Vec<_> = counts.map(|(count, what)| format!("{count} {what}")).collect();
    let counts =
        if counts.is_empty() { "nothing was verified".to_owned() } else { counts.join(", ") };
    lines.push(format!("{}: {counts}\n", paint.tone(tone, word)));
    lines.concat()
}

fn problems(report: &Report) -> Table {
    let mut table = Table::new(&["", "file", "why"]);
    for problem in &report.problems {
        let (tone, word) = match problem.verdict {
            Verdict::Fails => (Tone::Bad, "FAILS"),
            Verdict::Holds | Verdict::Unchecked => (Tone::Open, "UNCHECKED"),
        };
        table.row(vec![
            (tone, word.to_owned()),
            (Tone::Plain, problem.path.clone()),
            (Tone::Plain, problem.detail.clone()),
        ]);
    }
    table
}

#[cfg(test)]
mod tests;
