//! Files, links and folders.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};

use compliance_protocol::name::AbsPath;
use compliance_protocol::time::Timestamp;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::statvfs::statvfs;

use crate::host::{FileStat, HostError};

/// The most names that [`list`] gives.
const MAX_NAMES: usize = 10_000;

pub(super) fn stat(path: &AbsPath) -> Result<FileStat, HostError> {
    let meta = std::fs::metadata(path.as_str()).map_err(|e| failed(path, &e))?;
    Ok(stat_of(&meta))
}

pub(super) fn read(path: &AbsPath, limit: usize) -> Result<Vec<u8>, HostError> {
    let file = open_regular(path, Links::Followed)?;
    let bytes = read_up_to(file, limit.saturating_add(1)).map_err(|e| failed(path, &e))?;
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

pub(super) fn free_bytes(path: &AbsPath) -> Result<u64, HostError> {
    let stat = statvfs(path.as_str()).map_err(|errno| failed(path, &errno.into()))?;
    Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
}

fn failed(path: &AbsPath, error: &std::io::Error) -> HostError {
    HostError::from_io(path.as_str(), error)
}

fn no_path(path: &AbsPath) -> HostError {
    HostError::Garbage {
        what: path.to_string(),
        why: "it leads to no plain absolute path".to_owned(),
    }
}

fn read_up_to(file: File, length: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(u64::try_from(length).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn at(s: i64, ns: i64) -> Timestamp {
    Timestamp::from_millis(s.saturating_mul(1000).saturating_add(ns / 1_000_000))
}

/// Whether links in a path are followed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Links {
    Followed,
    /// The path was resolved before: a link in it has been put there since.
    Refused,
}

/// Opens a regular file and nothing else: to open a device is to act on it (a watchdog is armed, a tape
/// rewinds), so what the path leads to is looked at first. Never waits: not for whoever holds a lease.
pub(super) fn open_regular(path: &AbsPath, links: Links) -> Result<File, HostError> {
    let seen = find(path, links).map_err(|errno| failed(path, &errno.into()))?;
    if !seen.metadata().map_err(|e| failed(path, &e))?.is_file() {
        return Err(HostError::Garbage {
            what: path.to_string(),
            why: "it is not a regular file".to_owned(),
        });
    }
    // By its number this is the file that was seen, whatever has its name by now.
    std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(format!("/proc/self/fd/{}", seen.as_raw_fd()))
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => HostError::Io {
                what: path.to_string(),
                why: "it cannot be opened while /proc is not mounted".to_owned(),
            },
            _ => failed(path, &error),
        })
}

/// What `path` leads to, without opening it.
fn find(path: &AbsPath, links: Links) -> nix::Result<File> {
    let resolve = match links {
        Links::Followed => ResolveFlag::empty(),
        Links::Refused => ResolveFlag::RESOLVE_NO_SYMLINKS,
    };
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(resolve);
    openat2(AT_FDCWD, path.as_str(), how).map(File::from)
}

pub(super) fn stat_of(meta: &std::fs::Metadata) -> FileStat {
    FileStat {
        dev: meta.dev(),
        ino: meta.ino(),
        size: meta.len(),
        mtime: at(meta.mtime(), meta.mtime_nsec()),
        ctime: at(meta.ctime(), meta.ctime_nsec()),
        regular: meta.is_file(),
        rdev: meta.rdev(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(path: &std::path::Path) -> AbsPath {
        path.to_str().unwrap().parse().unwrap()
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

    #[test]
    fn what_is_free_is_less_after_something_was_written() {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let folder = path(dir.path());
        let before = free_bytes(&folder).unwrap();
        std::fs::write(dir.path().join("x"), vec![1; 16 << 20]).unwrap();
        let after = free_bytes(&folder).unwrap();
        assert!(after < before - (8 << 20), "{before} {after}");
        let gone = path(&dir.path().join("gone"));
        assert!(matches!(free_bytes(&gone), Err(HostError::NotFound(_))));
    }

    #[test]
    fn a_path_that_was_resolved_has_no_link_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().canonicalize().unwrap();
        std::fs::write(folder.join("file"), "x").unwrap();
        std::os::unix::fs::symlink("file", folder.join("link")).unwrap();
        let open = |name: &str, links| open_regular(&path(&folder.join(name)), links);
        assert!(open("link", Links::Followed).is_ok() && open("file", Links::Refused).is_ok());
        assert!(matches!(open("link", Links::Refused), Err(HostError::Io { .. })));
    }

    #[test]
    fn what_is_no_regular_file_is_not_even_opened() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&socket, &link).unwrap();
        // The kernel refuses to open a socket, so whoever tried has another error.
        for place in [socket, link] {
            let refused = read(&path(&place), 10);
            assert!(matches!(refused, Err(HostError::Garbage { .. })), "{refused:?}");
        }
    }
}
