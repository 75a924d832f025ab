//! Digests of files that may be large: taken a piece at a time, and kept while a file stays as it is.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use compliance_protocol::digest::Digest;
use compliance_protocol::name::AbsPath;
use compliance_protocol::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::files;
use crate::host::{FileStat, Hashing, HostError};

/// After this time a file is read whole again, even if it did not change: disks rot.
const READ_AGAIN: Span = Span::from_hours(24);

/// A file that changed so shortly before it was read may change again without another time stamp.
const RACY: Span = Span::from_secs(2);

/// Nobody asked for this file in so long: it is forgotten.
const FORGET: Span = Span::from_hours(48);

/// Reading stops after so long, also within the budget.
const PATIENCE: Span = Span::from_millis(300);

/// Digests, and the files that are being read.
#[derive(Debug)]
pub(super) struct Digests {
    /// With the time when somebody last asked.
    entries: Mutex<HashMap<AbsPath, (Timestamp, Entry)>>,
    /// Where digests are kept over a restart.
    memory: Option<PathBuf>,
    patience: Span,
}

impl Default for Digests {
    fn default() -> Self {
        Self { entries: Mutex::default(), memory: None, patience: PATIENCE }
    }
}

#[derive(Debug, Default)]
struct Entry {
    known: Option<Known>,
    reading: Option<Reading>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Known {
    stat: FileStat,
    digest: Digest,
    read_at: Timestamp,
}

#[derive(Debug)]
struct Reading {
    stat: FileStat,
    hasher: Sha256,
    offset: u64,
}

impl Digests {
    /// Starts from the digests that are kept in the file at `memory`, and keeps them there. One that cannot
    /// be read or written costs no more than reading the files again.
    pub(super) fn kept_in(memory: PathBuf, now: Timestamp) -> Self {
        let kept = std::fs::read(&memory).ok();
        let kept =
            kept.and_then(|bytes| serde_json::from_slice::<Vec<(AbsPath, Known)>>(&bytes).ok());
        let entry = |known| (now, Entry { known: Some(known), reading: None });
        let entries =
            kept.unwrap_or_default().into_iter().map(|(path, known)| (path, entry(known)));
        let entries = Mutex::new(entries.collect());
        Self { entries, memory: Some(memory), ..Self::default() }
    }

    /// As [`crate::Host::sha256`].
    pub(super) fn sha256(
        &self,
        path: &AbsPath,
        budget: &mut u64,
        now: Timestamp,
    ) -> Result<Hashing, HostError> {
        let failed = |error: std::io::Error| HostError::from_io(path.as_str(), &error);
        let mut file = files::open_regular(path, files::Links::Refused)?;
        let stat = files::stat_of(&file.metadata().map_err(failed)?);
        let Entry { known, reading } = self.take(path, now);
        let known = known.filter(|known| known.stat == stat);
        if let Some(done) = known.filter(|known| !known.is_due(now)) {
            self.put(path, now, Entry { known, reading: None });
            return Ok(Hashing::Done(done.digest));
        }
        let reading = reading.filter(|reading| reading.stat == stat);
        let mut reading =
            reading.unwrap_or_else(|| Reading { stat, hasher: Sha256::new(), offset: 0 });
        let is_whole = reading.go_on(&mut file, budget, self.patience).map_err(failed)?;
        if files::stat_of(&file.metadata().map_err(failed)?) != stat {
            return Ok(Hashing::Reading(0));
        }
        let is_racy = is_racy(&stat, now);
        if !is_whole {
            let percent = reading.percent();
            self.put(path, now, Entry { known, reading: (!is_racy).then_some(reading) });
            return Ok(known.map_or(Hashing::Reading(percent), |known| Hashing::Done(known.digest)));
        }
        let digest = Digest::from_bytes(reading.hasher.finalize().into());
        let known = (!is_racy).then_some(Known { stat, digest, read_at: now });
        self.put(path, now, Entry { known, reading: None });
        self.keep();
        Ok(Hashing::Done(digest))
    }

    /// The lock is not held while a file is read: one that hangs must not hold up the others.
    fn take(&self, path: &AbsPath, now: Timestamp) -> Entry {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, (asked_at, _)| now.since(*asked_at) < FORGET);
        entries.remove(path).map(|(_, entry)| entry).unwrap_or_default()
    }

    fn put(&self, path: &AbsPath, now: Timestamp, entry: Entry) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.insert(path.clone(), (now, entry));
    }

    fn keep(&self) {
        let Some(memory) = &self.memory else { return };
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let known = entries.iter().filter_map(|(path, (_, entry))| Some((path, entry.known?)));
        let known: Vec<_> = known.collect();
        let new = memory.with_extension("new");
        // What is torn or lost here is only read again.
        let _ = serde_json::to_vec(&known)
            .map_err(std::io::Error::from)
            .and_then(|bytes| std::fs::write(&new, bytes))
            .and_then(|()| std::fs::rename(&new, memory));
    }
}

/// What was read so shortly after a change is taken on trust in no later call.
fn is_racy(stat: &FileStat, now: Timestamp) -> bool {
    let age = now.since(stat.ctime);
    age < RACY && age > Span::from_millis(-RACY.as_millis())
}

impl Known {
    /// Also when the clock was set back.
    fn is_due(&self, now: Timestamp) -> bool {
        let age = now.since(self.read_at);
        age >= READ_AGAIN || age < Span::ZERO
    }
}

impl Reading {
    /// Reads on, and says whether that was the end.
    fn go_on(
        &mut self,
        file: &mut File,
        budget: &mut u64,
        patience: Span,
    ) -> std::io::Result<bool> {
        file.seek(SeekFrom::Start(self.offset))?;
        let start = compliance_clock::boottime();
        let mut buffer = vec![0; 256 * 1024];
        while self.offset < self.stat.size {
            let late = compliance_clock::boottime().as_millis() - start.as_millis()
                >= patience.as_millis();
            let room = usize::try_from(*budget).unwrap_or(usize::MAX).min(buffer.len());
            if room == 0 || late {
                return Ok(false);
            }
            let part = buffer.get_mut(..room).unwrap_or_default();
            let n = file.read(part)?;
            if n == 0 {
                return Ok(true);
            }
            self.hasher.update(part.get(..n).unwrap_or_default());
            self.offset += n as u64;
            *budget -= n as u64;
        }
        Ok(true)
    }

    fn percent(&self) -> u8 {
        let percent = u128::from(self.offset) * 100 / u128::from(self.stat.size.max(1));
        u8::try_from(percent.min(99)).unwrap_or(99)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const MIB: u64 = 1024 * 1024;
    const FOREVER: Span = Span::from_hours(1);

    fn digests() -> Digests {
        Digests { patience: FOREVER, ..Digests::default() }
    }

    fn path(path: &Path) -> AbsPath {
        path.to_str().unwrap().parse().unwrap()
    }

    /// A file, and a time long after it was written.
    fn file(bytes: &[u8]) -> (tempfile::TempDir, AbsPath, Timestamp) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("archive");
        std::fs::write(&file, bytes).unwrap();
        (dir, path(&file), compliance_clock::wall().plus(Span::from_secs(10)))
    }

    /// Gives a file other contents, and the kernel time to show it: its time stamps are as coarse as its tick,
    /// and the inode may be that of before.
    fn change(path: &AbsPath, bytes: &[u8]) {
        let before = files::stat(path).unwrap();
        while files::stat(path).unwrap().ctime == before.ctime {
            std::fs::write(path.as_str(), bytes).unwrap();
        }
    }

    fn ask(digests: &Digests, path: &AbsPath, mut budget: u64, now: Timestamp) -> (Hashing, u64) {
        let before = budget;
        let hashing = digests.sha256(path, &mut budget, now).unwrap();
        (hashing, before - budget)
    }

    #[test]
    fn a_large_file_is_read_a_budget_at_a_time_and_only_once() {
        let bytes: Vec<u8> = (0..5 * MIB / 2).map(|i| (i % 251) as u8).collect();
        let (_dir, path, now) = file(&bytes);
        let digests = digests();
        assert_eq!(ask(&digests, &path, MIB, now), (Hashing::Reading(40), MIB));
        assert_eq!(ask(&digests, &path, MIB, now), (Hashing::Reading(80), MIB));
        assert_eq!(ask(&digests, &path, 0, now), (Hashing::Reading(80), 0));
        let done = Hashing::Done(Digest::of(&bytes));
        assert_eq!(ask(&digests, &path, MIB, now), (done, MIB / 2));
        assert_eq!(ask(&digests, &path, MIB, now), (done, 0));
    }

    #[test]
    fn a_file_that_changes_is_read_from_its_start_with_or_without_a_new_length() {
        let (_dir, path, now) = file(&[1; 4000]);
        let digests = digests();
        assert_eq!(ask(&digests, &path, 1000, now), (Hashing::Reading(25), 1000));
        for bytes in [vec![2; 4000], vec![3; 3000]] {
            change(&path, &bytes);
            let done = Hashing::Done(Digest::of(&bytes));
            assert_eq!(ask(&digests, &path, MIB, now), (done, bytes.len() as u64));
        }
    }

    #[test]
    fn an_unchanged_file_is_read_again_after_a_day_and_the_old_digest_holds_meanwhile() {
        let (_dir, path, now) = file(&[1; 4000]);
        let digests = digests();
        let done = Hashing::Done(Digest::of(&[1; 4000]));
        assert_eq!(ask(&digests, &path, MIB, now), (done, 4000));
        let tomorrow = now.plus(READ_AGAIN);
        assert_eq!(ask(&digests, &path, 3000, tomorrow), (done, 3000));
        assert_eq!(ask(&digests, &path, 3000, tomorrow), (done, 1000));
        assert_eq!(ask(&digests, &path, 3000, tomorrow), (done, 0));
        let set_back = now.plus(Span::from_hours(-1));
        assert_eq!(ask(&digests, &path, MIB, set_back), (done, 4000));
    }

    #[test]
    fn a_file_changed_just_now_is_not_trusted_to_stay_as_it_is() {
        let (_dir, path, _) = file(b"abc");
        let digests = digests();
        let done = Hashing::Done(Digest::of(b"abc"));
        let now = files::stat(&path).unwrap().ctime.plus(Span::from_secs(1));
        assert_eq!(ask(&digests, &path, MIB, now), (done, 3));
        assert_eq!(ask(&digests, &path, MIB, now), (done, 3));
    }

    #[test]
    fn what_was_read_of_a_file_changed_just_now_is_not_added_to() {
        let (_dir, path, _) = file(&[1; 4000]);
        let digests = digests();
        let ctime = files::stat(&path).unwrap().ctime;
        let at = |seconds| ctime.plus(Span::from_secs(seconds));
        assert_eq!(ask(&digests, &path, 1000, at(1)), (Hashing::Reading(25), 1000));
        assert_eq!(ask(&digests, &path, 1000, at(3)), (Hashing::Reading(25), 1000));
        let done = Hashing::Done(Digest::of(&[1; 4000]));
        assert_eq!(ask(&digests, &path, MIB, at(3)), (done, 3000));
    }

    #[test]
    fn digests_outlive_the_process_and_a_spoilt_memory_only_costs_reading_again() {
        let (dir, path, now) = file(b"abc");
        let memory = dir.path().join("digests.json");
        let done = Hashing::Done(Digest::of(b"abc"));
        let digests = || Digests { patience: FOREVER, ..Digests::kept_in(memory.clone(), now) };
        assert_eq!(ask(&digests(), &path, MIB, now), (done, 3));
        assert_eq!(ask(&digests(), &path, MIB, now), (done, 0));
        std::fs::write(&memory, b"[{]").unwrap();
        assert_eq!(ask(&digests(), &path, MIB, now), (done, 3));
    }

    #[test]
    fn a_slow_disk_stops_the_reading_within_the_budget_too() {
        let (_dir, path, now) = file(&[1; 4000]);
        let digests = Digests { patience: Span::ZERO, ..Digests::default() };
        assert_eq!(ask(&digests, &path, MIB, now), (Hashing::Reading(0), 0));
    }

    #[test]
    fn what_nobody_asks_for_is_forgotten() {
        let (dir, path, now) = file(b"abc");
        let digests = digests();
        ask(&digests, &path, MIB, now);
        let other = dir.path().join("other");
        std::fs::write(&other, b"x").unwrap();
        ask(&digests, &self::path(&other), MIB, now.plus(FORGET));
        assert_eq!(digests.entries.lock().unwrap().len(), 1);
    }
}
