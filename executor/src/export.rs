//! Exporting the ledger's evidence as files that anybody can verify.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use compliance_protocol::evidence::BundleError;
use compliance_protocol::evidence::export::{ExportFile, bundle_files, key_files};
use compliance_protocol::key::{KeyError, PublicKey};
use compliance_protocol::tlog::VerifierKey;

use crate::ledger::{Ledger, LedgerError};

/// Why evidence was not exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The folder has something in it: an export is not mixed with what was there.
    #[error("{0} is not empty; export into a new folder")]
    NotEmpty(PathBuf),
    /// A file cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A bundle in the ledger does not verify: it was changed after it was signed.
    #[error("a bundle in the ledger does not verify: {0}")]
    Bundle(#[from] BundleError),
    /// The public key cannot be written.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Ledgers that were moved aside beside `path`: their evidence is in no export of it.
pub fn moved_aside(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned() + ".damaged-";
    let folder = path.parent().unwrap_or_else(|| Path::new(".")).read_dir();
    let mut found: Vec<_> = folder
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&name)))
        .filter(|path| {
            !path.to_string_lossy().ends_with("-wal") && !path.to_string_lossy().ends_with("-shm")
        })
        .collect();
    found.sort();
    found
}

/// Writes all bundles, their receipts and the two public keys into `dir`; how many bundles there were.
pub fn export(
    ledger: &Ledger,
    evidence: &PublicKey,
    log: &VerifierKey,
    dir: &Path,
) -> Result<u64, ExportError> {
    fs::create_dir_all(dir).map_err(failed(dir))?;
    if fs::read_dir(dir).map_err(failed(dir))?.next().is_some() {
        return Err(ExportError::NotEmpty(dir.to_owned()));
    }
    let write = |file: ExportFile| write(dir, &file);
    key_files(evidence, log)?.into_iter().try_for_each(write)?;
    let mut count = 0;
    ledger.each_bundle(|stored| {
        let verified = stored.signed.verify(evidence)?;
        count += 1;
        let receipt = stored.receipt.as_deref();
        bundle_files(verified.bundle(), &stored.signed, receipt).into_iter().try_for_each(write)
    })?;
    Ok(count)
}

/// Not synced: an export is a copy, and syncing each of its many files takes most of the time.
fn write(top: &Path, file: &ExportFile) -> Result<(), ExportError> {
    let path = top.join(&file.path);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed(folder))?;
    }
    let new = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path);
    new.and_then(|mut new| new.write_all(&file.bytes)).map_err(failed(&path))
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> ExportError + use<> {
    let path = path.to_owned();
    |source| ExportError::Write { path, source }
}
