//! Hints that something the checks look at may have changed, from the kernel's file notices (inotify(7)).
//!
//! A hint is never a fact: it only brings the next round forward. Folders are watched, not files, since
//! files are replaced by renaming; when notices were lost, everything may have changed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

/// Watches files and links for as long as it lives.
#[derive(Debug)]
pub struct Hints {
    paths: BTreeSet<PathBuf>,
    _watcher: Option<RecommendedWatcher>,
}

/// One hint. Until it is dropped no other is given: whoever writes a watched file in a loop must not fill
/// the memory with them.
#[derive(Debug)]
pub struct Hint(Arc<AtomicBool>);

impl Hint {
    /// None while the last one is not dropped.
    fn new(waits: &Arc<AtomicBool>) -> Option<Self> {
        let is_first = !waits.swap(true, Ordering::AcqRel);
        is_first.then(|| Self(Arc::clone(waits)))
    }
}

impl Drop for Hint {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Hints {
    /// Calls `give` with a hint when one of `paths` may have changed. It is to be dropped before what
    /// changed is looked at. What cannot be watched is looked at in each round all the same, so that is
    /// logged and no more.
    pub fn new(paths: BTreeSet<PathBuf>, give: impl Fn(Hint) + Send + 'static) -> Self {
        let ours = paths.clone();
        let waits = Arc::default();
        let handler = move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| concerns(&event, &ours)) {
                Hint::new(&waits).into_iter().for_each(&give);
            }
        };
        let mut watcher = match notify::recommended_watcher(handler) {
            Ok(made) => made,
            Err(error) => {
                tracing::warn!(%error, "no file notices: changes are seen at the next round");
                return Self { paths, _watcher: None };
            }
        };
        let named = paths.iter().map(PathBuf::as_path).filter(|path| is_folder(path));
        let folders: BTreeSet<_> =
            paths.iter().filter_map(|path| path.parent()).chain(named).collect();
        for folder in folders {
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                tracing::debug!(%error, folder = %folder.display(), "this folder is not watched");
            }
        }
        Self { paths, _watcher: Some(watcher) }
    }

    /// Whether exactly these are watched.
    pub fn are(&self, paths: &BTreeSet<PathBuf>) -> bool {
        self.paths == *paths
    }
}

/// Whether a folder itself is named, and not a link to one.
fn is_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_dir())
}

/// Whether a notice is about one of `paths`, or about something in a folder that is itself watched.
fn concerns(event: &Event, paths: &BTreeSet<PathBuf>) -> bool {
    let within = |path: &Path| path.parent().is_some_and(|parent| paths.contains(parent));
    let named = event.paths.iter().any(|path| paths.contains(path) || within(path));
    event.need_rescan() || (named && !matches!(event.kind, EventKind::Access(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn a_file_replaced_by_renaming_is_noticed_and_its_neighbours_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let status = dir.path().join("status.json");
        std::fs::write(&status, "old").unwrap();
        let (hint, hints) = mpsc::channel();
        let watching = Hints::new(BTreeSet::from([status.clone()]), move |given| {
            let _ = hint.send(given);
        });
        std::fs::write(dir.path().join("neighbour"), "x").unwrap();
        assert!(hints.recv_timeout(Duration::from_millis(200)).is_err());
        std::fs::write(dir.path().join("new"), "new").unwrap();
        std::fs::rename(dir.path().join("new"), &status).unwrap();
        hints.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(watching.are(&BTreeSet::from([status])));
    }

    #[test]
    fn what_changes_in_a_folder_that_is_named_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let units = dir.path().join("system");
        std::fs::create_dir(&units).unwrap();
        let unit = units.join("nginx.service");
        std::fs::write(&unit, "old").unwrap();
        let (hint, hints) = mpsc::channel();
        let _watching = Hints::new(BTreeSet::from([units]), move |given| {
            let _ = hint.send(given);
        });
        std::fs::write(&unit, "new").unwrap();
        hints.recv_timeout(Duration::from_secs(10)).unwrap();
    }

    #[test]
    fn however_often_a_file_is_rewritten_one_hint_waits() {
        let dir = tempfile::tempdir().unwrap();
        let status = dir.path().join("status.json");
        let (hint, hints) = mpsc::channel();
        let _watching = Hints::new(BTreeSet::from([status.clone()]), move |given| {
            let _ = hint.send(given);
        });
        for _ in 0..1000 {
            std::fs::write(&status, "new").unwrap();
        }
        let first = hints.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(hints.recv_timeout(Duration::from_millis(200)).is_err(), "no other waits");
        drop(first);
        std::fs::write(&status, "newer").unwrap();
        hints.recv_timeout(Duration::from_secs(10)).unwrap();
    }
}
