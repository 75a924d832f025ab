//! The real host.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Mutex, PoisonError};

use compliance_protocol::digest::Digest;
use compliance_protocol::name::AbsPath;
use compliance_protocol::time::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::command::{self, Command, Output};
use crate::host::{FileStat, Host, HostError};

/// This machine.
#[derive(Debug, Default)]
pub struct LinuxHost {
    hashed: Mutex<HashMap<AbsPath, (FileStat, Digest)>>,
}

impl Host for LinuxHost {
    fn stat(&self, path: &AbsPath) -> Result<FileStat, HostError> {
        let meta =
            std::fs::metadata(path.as_str()).map_err(|e| HostError::from_io(path.as_str(), &e))?;
        Ok(stat_of(&meta))
    }

    fn read(&self, path: &AbsPath, limit: usize) -> Result<Vec<u8>, HostError> {
        let failed = |error: std::io::Error| HostError::from_io(path.as_str(), &error);
        let mut bytes = Vec::new();
        let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        let file = open_regular(path)?;
        file.take(bound).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() > limit {
            return Err(HostError::TooLarge { what: path.to_string(), limit });
        }
        Ok(bytes)
    }

    fn sha256(&self, path: &AbsPath) -> Result<Digest, HostError> {
        let failed = |error: std::io::Error| HostError::from_io(path.as_str(), &error);
        let mut file = open_regular(path)?;
        let before = stat_of(&file.metadata().map_err(failed)?);
        let mut hashed = self.hashed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, digest)) = hashed.get(path).filter(|(stat, _)| *stat == before) {
            return Ok(*digest);
        }
        let digest = hash(&mut file).map_err(failed)?;
        // A file that changed while it was read has no digest worth keeping.
        if stat_of(&file.metadata().map_err(failed)?) == before {
            hashed.insert(path.clone(), (before, digest));
        }
        Ok(digest)
    }

    fn run(&self, command: &Command) -> Result<Output, HostError> {
        command::run(command)
    }
}

/// Opens without waiting: a pipe in place of a file must not hold up the round.
fn open_regular(path: &AbsPath) -> Result<File, HostError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let failed = |error: std::io::Error| HostError::from_io(path.as_str(), &error);
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits())
        .open(path.as_str())
        .map_err(failed)?;
    if file.metadata().map_err(failed)?.is_file() {
        Ok(file)
    } else {
        Err(HostError::Garbage {
            what: path.to_string(),
            why: "it is not a regular file".to_owned(),
        })
    }
}

fn stat_of(meta: &std::fs::Metadata) -> FileStat {
    let at = |s: i64, ns: i64| Timestamp::from_millis(s.saturating_mul(1000) + ns / 1_000_000);
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
        let host = LinuxHost::default();
        std::fs::write(file.as_str(), b"abc").unwrap();
        assert_eq!(host.sha256(&file), Ok(Digest::of(b"abc")));
        assert_eq!(host.sha256(&file), Ok(Digest::of(b"abc")));
        std::fs::write(file.as_str(), b"abcd").unwrap();
        assert_eq!(host.sha256(&file), Ok(Digest::of(b"abcd")));
    }

    #[test]
    fn what_is_missing_too_large_or_no_file_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let host = LinuxHost::default();
        let file = path(&dir.path().join("x"));
        assert!(matches!(host.read(&file, 10), Err(HostError::NotFound(_))));
        std::fs::write(file.as_str(), b"12345678901").unwrap();
        assert!(matches!(host.read(&file, 10), Err(HostError::TooLarge { .. })));
        assert!(matches!(host.read(&path(dir.path()), 10), Err(HostError::Garbage { .. })));
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(matches!(host.read(&path(&fifo), 10), Err(HostError::Garbage { .. })));
    }
}
