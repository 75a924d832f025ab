//! `compliancectl verify`: evidence, envelopes and exported directories, offline.
//!
//! What is expected and not there, what is there and not expected, and what nobody looked at each keep
//! the verdict from being [`Verdict::Holds`].

mod bundle;
mod directory;
mod envelope;
mod keys;
mod report;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use compliance_daemon::files;
use compliance_protocol::envelope::MAX_ENVELOPE;
use compliance_protocol::evidence::STATEMENT_TYPE;
use compliance_protocol::evidence::export::Part;

pub use envelope::peek;
pub use keys::Keys;
pub use report::{ChainHead, Problem, Report};

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
}

/// Carries out `verify`.
pub fn run(context: &Context, args: &VerifyArgs) -> Result<Verdict, Error> {
    let keys = Keys::read(&args.keys, args.trust.as_deref(), args.checkpoint.as_deref())?;
    let report = verify(&args.paths, &keys);
    context.output.show(&report, describe)?;
    Ok(report.verdict())
}

/// Verifies all of `paths`.
pub fn verify(paths: &[PathBuf], keys: &Keys) -> Report {
    let mut report = Report::default();
    for path in paths {
        match fs::metadata(path) {
            Err(error) => report.unchecked(path, format!("cannot be read: {error}")),
            Ok(metadata) if metadata.is_dir() => directory::verify(path, keys, &mut report),
            Ok(metadata) if metadata.is_file() => verify_file(path, keys, &mut report),
            Ok(_) => report.unchecked(path, "is neither a file nor a directory".to_owned()),
        }
    }
    report
}

/// One named file: any file of a bundle stands for the bundle, anything else must be an envelope.
fn verify_file(path: &Path, keys: &Keys, report: &mut Report) {
    let bytes = match files::read(path, MAX_ENVELOPE) {
        Ok(bytes) => bytes,
        Err(error) => return report.unchecked(path, format!("cannot be read: {error}")),
    };
    let name = path.file_name().and_then(|name| name.to_str()).and_then(Part::of_name);
    match (envelope::kind(&bytes).as_deref(), name) {
        (Some(STATEMENT_TYPE) | None, Some((stem, _))) => {
            let folder = path.parent().unwrap_or_else(|| Path::new(""));
            let before = report.problems.len();
            let checked = bundle::verify(folder, stem, keys, report);
            if let Some(checked) = checked.filter(|_| report.problems.len() == before) {
                let bundle = checked.bundle();
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
    for ChainHead { site, epoch, ledger_id, last, sha256 } in &report.chains {
        lines.push(format!(
            "  chain of {site}, epoch {epoch}, ledger {ledger_id}: bundles 1 to {last}, head {sha256}\n"
        ));
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
