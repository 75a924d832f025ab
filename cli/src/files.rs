//! The files that commands read and write, each with its bound and its kind.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use compliance_daemon::files;
use compliance_protocol::envelope::{MAX_ENVELOPE, Verified};
use compliance_protocol::evidence::export::ExportFile;
use compliance_protocol::key::PublicKey;
use compliance_protocol::tlog::VerifierKey;
use compliance_protocol::trust::Trust;
use compliance_signing::PrivateKey;

use crate::Error;

/// Mode of files that anybody may read.
pub const PUBLIC: u32 = 0o644;

/// Mode of private keys.
pub const PRIVATE: u32 = 0o600;

/// Keys and certificates are far smaller.
const MAX_PEM: usize = 64 * 1024;

/// Reads a small text: a key or a certificate.
pub fn text(path: &Path) -> Result<String, Error> {
    files::read_text(path, MAX_PEM).map_err(|source| Error::Read { path: path.to_owned(), source })
}

/// Reads an envelope's bytes.
pub fn envelope(path: &Path) -> Result<Vec<u8>, Error> {
    files::read(path, MAX_ENVELOPE).map_err(|source| Error::Read { path: path.to_owned(), source })
}

/// Reads a private key, PKCS#8 PEM.
pub fn private_key(path: &Path) -> Result<PrivateKey, Error> {
    PrivateKey::from_pem(&text(path)?)
        .map_err(|source| Error::PrivateKey { path: path.to_owned(), source })
}

/// Reads a public key, SPKI PEM.
pub fn public_key(path: &Path) -> Result<PublicKey, Error> {
    PublicKey::from_pem(&text(path)?)
        .map_err(|source| Error::PublicKey { path: path.to_owned(), source })
}

/// Reads the evidence log's key: one line, a C2SP vkey.
pub fn log_key(path: &Path) -> Result<VerifierKey, Error> {
    text(path)?.trim_end().parse().map_err(|source| Error::LogKey { path: path.to_owned(), source })
}

/// Reads a trust file that the user names, and so trusts.
pub fn trust(path: &Path) -> Result<Verified<Trust>, Error> {
    Trust::first(&envelope(path)?).map_err(|source| Error::Trust {
        origin: path.display().to_string(),
        source: Box::new(source),
    })
}

/// Writes a new file; one that exists is an error.
pub fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    files::create(path, bytes, mode).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists(path.to_owned()),
        _ => Error::Write { path: path.to_owned(), source },
    })
}

/// Replaces a file.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    files::replace(path, bytes, mode)
        .map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// Makes a directory with those above it; one that is there is taken.
pub fn directory(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// Makes a directory that must be new, or empty.
pub fn empty_directory(path: &Path) -> Result<(), Error> {
    directory(path)?;
    let mut entries =
        fs::read_dir(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    if entries.next().is_some() { Err(Error::NotEmpty(path.to_owned())) } else { Ok(()) }
}

/// Writes one new file of an export below `top`. It is not synced: an export is a copy, and syncing each of
/// its many files takes most of the time.
pub fn export(top: &Path, file: &ExportFile) -> Result<(), Error> {
    let path = top.join(&file.path);
    let folder = path.parent().ok_or_else(|| Error::Write {
        path: path.clone(),
        source: io::ErrorKind::InvalidInput.into(),
    })?;
    directory(folder)?;
    let new = OpenOptions::new().write(true).create_new(true).mode(PUBLIC).open(&path);
    new.and_then(|mut new| new.write_all(&file.bytes))
        .map_err(|source| Error::Write { path, source })
}
