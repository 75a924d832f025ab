//! Files, links and folders.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::sync::{Mutex, PoisonError};

use compliance_protocol::digest::Digest;
use compliance_protocol::name::AbsPath;
use compliance_protocol::time::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::host::{FileStat, HostError};

/// The most names that [`list`] gives.
const MAX_NAMES: usize = 10_000;

/// Digests of files that have not changed since.
#[derive(Debug, Default)]
pub(super) struct Hashed(Mutex<HashMap<AbsPath, (FileStat, Digest)>>);

impl Hashed {
    pub(super) fn sha256(&self, path: &AbsPath) -> Result<Digest, HostError> {
        let mut file = open_regular(path)?;
        let before = stat_of(&file.metadata().map_err(|e| failed(path, &e))?);
        let mut hashed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, digest)) = hashed.get(path).filter(|(stat, _)| *stat == before) {
            return Ok(*digest);
        }
        let digest = hash(&mut file).map_err(|e| failed(path, &e))?;
        // A file that changed while it was read has no digest worth keeping.
        if stat_of(&file.metadata().map_err(|e| failed(path, &e))?) == before {
            hashed.insert(path.clone(), (before, digest));
        }
        Ok(digest)
    }
}

pub(super) fn stat(path: &AbsPath) -> Result<FileStat, HostError> {
    let meta = std::fs::metadata(path.as_str()).map_err(|e| failed(path, &e))?;
    Ok(stat_of(&meta))
}

pub(super) fn read(path: &AbsPath, limit: usize) -> Result<Vec<u8>, HostError> {
    let bytes = read_up_to(open_regular(path)?, limit.saturating_add(1)).map_err(|e| failed(path, &e))?;
    if bytes.len() > limit {
        return Err(HostError::TooLarge { what: path.to_string(), limit });
    }
    Ok(bytes)
}

pub(super) fn read_head(path: &AbsPath, length: usize) -> Result<Vec<u8>, HostError> {
    let file = File::open(path.as_str()).map_err(|e| failed(path, &e))?;
    read_up_to(file, length).map_err(|e| failed(path, &e))
}

pub(super) fn resolve(path: &AbsPath) -> Result<AbsPath, HostError> {
    let target = std::fs::canonicalize(path.as_str()).map_err(|e| failed(path, &e))?;
    let target = target.to_str().and_then(|text| text.parse().ok());
    target.ok_or_else(|| no_path(path))
}

pub(super) fn link_time(path: &AbsPath) -> Result<Timestamp, HostError> {
    let meta = std::fs::symlink_metadata(path.as_str()).map_err(|e| failed(path, &e))?;
    Ok(at(meta.mtime(), meta.mtime_nsec()))
}

pub(super) fn read_link(path: &AbsPath) -> Result<String, HostError> {
    let target = std::fs::read_link(path.as_str()).map_err(|e| failed(path, &e))?;
    target.into_os_string().into_string().map_err(|_| no_path(path))
}

pub(super) fn list(path: &AbsPath) -> Result<Vec<String>, HostError> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path.as_str()).map_err(|e| failed(path, &e))? {
        let name = entry.map_err(|e| failed(path, &e))?.file_name();
        names.push(name.into_string().map_err(|_| no_path(path))?);
        if names.len() > MAX_NAMES {
            return Err(HostError::TooLarge { what: path.to_string(), limit: MAX_NAMES });
        }
    }
    names.sort();
    Ok(names)
}

fn failed(path: &AbsPath, error: &std::io::Error) -> HostError {
    HostError::from_io(path.as_str(), error)
}

fn no_path(path: &AbsPath) -> HostError {
    HostError::Garbage { what: path.to_string(), why: "it leads to no plain absolute path".to_owned() }
}

fn read_up_to(file: File, length: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(u64::try_from(length).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn at(s: i64, ns: i64) -> Timestamp {
    Timestamp::from_millis(s.saturating_mul(1000).saturating_add(ns / 1_000_000))
}

/// Opens without waiting: a pipe in place of a file must not hold up the round.
fn open_regular(path: &AbsPath) -> Result<File, HostError> {
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits())
        .open(path.as_str())
        .map_err(|e| failed(path, &e))?;
    if file.metadata().map_err(|e| failed(path, &e))?.is_file() {
        Ok(file)
    } else {
        Err(HostError::Garbage {
            what: path.to_string(),
            why: "it is not a regular file".to_owned(),
        })
    }
}

fn stat_of(meta: &std::fs::Metadata) -> FileStat {
    FileStat {
        dev: meta.dev(),
        ino: meta.ino(),
        size: meta.len(),
        mtime: at(meta.mtime(), meta.mtime_nsec()),
        ctime: at(meta.ctime(), meta.ctime_nsec()),
        regular: meta.is_file(),
    }
}

fn hash(file: &mut File) -> std::io::Result<Digest> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Digest::from_bytes(hasher.finalize().into())),
            n => hasher.update(buffer.get(..n).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(path: &std::path::Path) -> AbsPath {
        path.to_str().unwrap().parse().unwrap()
    }

    #[test]
    fn a_changed_file_is_hashed_anew() {
        let dir = tempfile::tempdir().unwrap();
        let file = path(&dir.path().join("x"));
        let hashed = Hashed::default();
        std::fs::write(file.as_str(), b"abc").unwrap();
        assert_eq!(hashed.sha256(&file), Ok(Digest::of(b"abc")));
        assert_eq!(hashed.sha256(&file), Ok(Digest::of(b"abc")));
        std::fs::write(file.as_str(), b"abcd").unwrap();
        assert_eq!(hashed.sha256(&file), Ok(Digest::of(b"abcd")));
    }

    #[test]
    fn what_is_missing_too_large_or_no_file_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let file = path(&dir.path().join("x"));
        assert!(matches!(read(&file, 10), Err(HostError::NotFound(_))));
        std::fs::write(file.as_str(), b"12345678901").unwrap();
        assert!(matches!(read(&file, 10), Err(HostError::TooLarge { .. })));
        assert!(matches!(read(&path(dir.path()), 10), Err(HostError::Garbage { .. })));
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(matches!(read(&path(&fifo), 10), Err(HostError::Garbage { .. })));
    }
}
