//! An exported directory: every file is accounted for, every bundle verifies, every chain has no gap.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use compliance_protocol::evidence::export::{EVIDENCE_KEY_FILE, LOG_KEY_FILE, Part};
use compliance_protocol::evidence::{Chain, ChainBreak, Pruned, VerifiedBundle};
use compliance_protocol::name::Site;

use super::demand::Heads;
use super::receipts::Receipts;
use super::report::{ChainName, Tail, chain_name};
use super::{ChainHead, Keys, Report, bundle};
use crate::files;

/// Verifies the export at `top`.
pub(super) fn verify(
    top: &Path,
    keys: &Keys,
    pending_ok: bool,
    heads: &mut Heads,
    report: &mut Report,
) {
    let found = match Found::below(top, report) {
        Ok(found) => found,
        Err(error) => return report.unread(top, &error),
    };
    check_key_files(top, keys, report);
    if found.bundles.is_empty() {
        report.fails(top, "holds no evidence".to_owned());
    }
    let (mut chains, mut receipts) = (Chains::default(), Receipts::default());
    // By sequence: so each chain is followed in its order, and no bundle need be kept.
    for (_, folder, stem) in &found.bundles {
        let Some(checked) = bundle::verify(&top.join(folder), stem, keys, report) else {
            continue;
        };
        receipts.take(&checked);
        let verified = &checked.verified;
        let path = top.join(folder).join(format!("{stem}{}", Part::Json.ending()));
        if verified.bundle().folder() != *folder {
            report.fails(&path, format!("belongs into {}", verified.bundle().folder()));
        }
        chains.follow(&path, verified, heads, report);
    }
    receipts.judge(pending_ok, report);
    chains.end(report);
}

#[derive(Default)]
struct Chains {
    followed: BTreeMap<ChainName, Chain>,
    heads: BTreeMap<ChainName, ChainHead>,
    /// First bundles that are not the first of their chain, and what is missing before them.
    begun: Vec<(PathBuf, VerifiedBundle, ChainBreak)>,
    /// What bundles here say was pruned, and of which site.
    pruned: Vec<(Site, Pruned)>,
}

impl Chains {
    fn follow(
        &mut self,
        path: &Path,
        verified: &VerifiedBundle,
        heads: &mut Heads,
        report: &mut Report,
    ) {
        let bundle = verified.bundle();
        let name = chain_name(bundle);
        heads.meet(&name, verified);
        match self.followed.entry(name.clone()).or_default().follow(verified) {
            Err(broken @ ChainBreak::Missing { from: 1, .. }) => {
                self.begun.push((path.to_owned(), verified.clone(), broken));
            }
            Err(broken) => breaks(path, &broken, report),
            Ok(()) => {}
        }
        self.pruned.extend(Pruned::of(verified).map(|pruned| (bundle.site.clone(), pruned)));
        let head = ChainHead {
            site: bundle.site.clone(),
            epoch: bundle.epoch,
            ledger_id: bundle.ledger_id,
            first: self.heads.get(&name).map_or(bundle.sequence, |head| head.first),
            last: bundle.sequence,
            sha256: verified.sha256(),
            tail: Tail::NotChecked,
        };
        self.heads.insert(name, head);
    }

    /// A chain may begin late where a bundle of the same site says that all before was pruned.
    fn end(self, report: &mut Report) {
        for (path, first, broken) in &self.begun {
            let explains = |(site, pruned): &(Site, Pruned)| {
                *site == first.bundle().site && pruned.precedes(first)
            };
            if !self.pruned.iter().any(explains) {
                breaks(path, broken, report);
            }
        }
        report.chains.extend(self.heads.into_values());
    }
}

fn breaks(path: &Path, broken: &ChainBreak, report: &mut Report) {
    report.fails(path, format!("breaks the chain: {broken}"));
}

/// Sequence, folder and stem of every bundle of which there is any file.
struct Found {
    bundles: BTreeSet<(u64, String, String)>,
}

impl Found {
    /// Walks the directory; what does not belong into an export is a problem.
    fn below(top: &Path, report: &mut Report) -> io::Result<Self> {
        let mut found = Self { bundles: BTreeSet::new() };
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(top.join(&folder))? {
                let entry = entry?;
                let (kind, path) = (entry.file_type()?, entry.path());
                let name = entry.file_name();
                let Some(name) = name.to_str() else {
                    report.fails(&path, "does not belong into an export".to_owned());
                    continue;
                };
                let below =
                    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
                if kind.is_dir() && is_date_folder(&below) {
                    folders.push(below);
                } else if !(kind.is_file() && found.take(&folder, name)) {
                    report.fails(&path, "does not belong into an export".to_owned());
                }
            }
        }
        Ok(found)
    }

    /// Whether a file of that name belongs into that folder.
    fn take(&mut self, folder: &str, name: &str) -> bool {
        if folder.is_empty() {
            return [EVIDENCE_KEY_FILE, LOG_KEY_FILE].contains(&name);
        }
        let split = Part::of_name(name).and_then(|(stem, _)| Some((stem, stem.split_once('-')?.0)));
        let (Some((stem, digits)), 10) = (split, folder.len()) else { return false };
        let numeric = digits.len() >= 8 && digits.bytes().all(|b| b.is_ascii_digit());
        match digits.parse() {
            Ok(sequence) if numeric => {
                self.bundles.insert((sequence, folder.to_owned(), stem.to_owned()));
                true
            }
            _ => false,
        }
    }
}

/// Whether the path is `yyyy`, `yyyy/mm` or `yyyy/mm/dd`.
fn is_date_folder(path: &str) -> bool {
    let lengths: Vec<_> = path.split('/').map(str::len).collect();
    let digits = path.bytes().all(|b| b.is_ascii_digit() || b == b'/');
    digits && matches!(lengths.as_slice(), [4] | [4, 2] | [4, 2, 2])
}

/// The keys that lie in the export are trusted by nobody; they must be the ones that the user named.
fn check_key_files(top: &Path, keys: &Keys, report: &mut Report) {
    let evidence = top.join(EVIDENCE_KEY_FILE);
    match files::public_key(&evidence) {
        Ok(key) if keys.evidence().contains(&&key) => {}
        Ok(_) => report.fails(&evidence, "is another key than the one given".to_owned()),
        Err(error) => report.fails(&evidence, error.to_string()),
    }
    let log = top.join(LOG_KEY_FILE);
    match (files::log_key(&log), keys.log()) {
        (Err(error), _) => report.fails(&log, error.to_string()),
        (Ok(_), None) => {
            report.unchecked(
                &log,
                "was not checked: give the log's key with --checkpoint".to_owned(),
            );
        }
        (Ok(here), Some(given)) if here == *given => {}
        (Ok(_), Some(_)) => report.fails(&log, "is another key than the one given".to_owned()),
    }
}
