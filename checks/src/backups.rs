//! `backups`: each job's newest archive is fresh, whole and where its status file says.
//!
//! A job that has ended well writes a status file beside its archive (see [`JobStatus`]). The check
//! reads it, and looks at the archive itself.

mod capture;
mod judge;

use std::collections::BTreeMap;

use compliance_protocol::digest::Digest;
use compliance_protocol::name::{AbsPath, JobName, UnitName};
use compliance_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use capture::capture;
pub use judge::{judge, judge_job};

use crate::baseline::Baseline;
use crate::command::Argv;
use crate::host::Hashing;
use crate::{Check, CheckId, Circumstances, Host, HostError, Report};

/// What the backups check expects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupsBaseline {
    /// The jobs.
    pub jobs: Vec<BackupJob>,
}

/// One backup job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupJob {
    /// Its name.
    pub name: JobName,
    /// Where it writes its status.
    pub status_file: AbsPath,
    /// The folder that holds its archives; `None` means that of the status file. An archive elsewhere is
    /// not looked at: a job that lies must not make us read what it may not.
    #[serde(default)]
    pub archive_dir: Option<AbsPath>,
    /// How old the newest backup may be, in hours.
    #[serde(default = "default_max_age_h")]
    pub max_age_h: u32,
    /// How long ago a restore may last have been tested, in days; `None` asks for no test.
    #[serde(default)]
    pub restore_test_max_age_d: Option<u32>,
    /// How to start it.
    pub run: Run,
    /// How long it may run, in seconds.
    #[serde(default = "default_max_runtime_s")]
    pub max_runtime_s: u32,
}

/// How a job is started. No shell is involved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Run {
    /// A program with its arguments.
    Argv(Argv),
    /// A systemd unit.
    Unit(UnitName),
}

/// What a job writes, as JSON, after each backup that ended well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobStatus {
    /// When the backup ended.
    pub finished_at: Timestamp,
    /// The archive.
    pub artefact: AbsPath,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its digest.
    pub sha256: Digest,
    /// When restoring from it, or from one before it, was last tested.
    #[serde(default)]
    pub restore_tested_at: Option<Timestamp>,
}

/// The check.
#[derive(Debug, Default)]
pub struct Backups {
    /// By status file, when the newest backup ended that was read whole and found good.
    proven: BTreeMap<AbsPath, Timestamp>,
    round: usize,
}

/// How many bytes of archives are read in one round; what is left is read in the next ones.
const ROUND_BUDGET: u64 = 64 * 1024 * 1024;

impl Check for Backups {
    fn id(&self) -> CheckId {
        CheckId::Backups
    }

    fn version(&self) -> u32 {
        3
    }

    fn run(&mut self, host: &dyn Host, baseline: &Baseline, about: &Circumstances) -> Report {
        let seen = self.look_at_all(host, baseline.backup_jobs());
        let facts =
            seen.iter().map(|(job, facts)| (job.name.to_string(), facts.to_json())).collect();
        let verdict = judge(&seen, about.now);
        Report { check: self.id(), version: self.version(), verdict, facts }
    }
}

impl Backups {
    /// Each round another job comes first, so that one that changes all the time starves no other.
    fn look_at_all<'a>(
        &mut self,
        host: &dyn Host,
        jobs: &'a [BackupJob],
    ) -> Vec<(&'a BackupJob, JobFacts)> {
        let mut budget = ROUND_BUDGET;
        let first = self.round.checked_rem(jobs.len()).unwrap_or(0);
        self.round = self.round.wrapping_add(1);
        let (later, sooner) = jobs.split_at_checked(first).unwrap_or((jobs, &[]));
        let looked = sooner.iter().chain(later).map(|job| (job, self.look(host, job, &mut budget)));
        let mut seen: Vec<_> = looked.collect();
        seen.rotate_right(first);
        self.proven.retain(|status_file, _| jobs.iter().any(|job| job.status_file == *status_file));
        seen
    }

    fn look(&mut self, host: &dyn Host, job: &BackupJob, budget: &mut u64) -> JobFacts {
        let mut facts = look(host, job, budget);
        if facts.contradict() {
            // Archive and status are replaced one after the other: perhaps it was just then.
            facts = look(host, job, budget);
        }
        if let (Ok(status), true) = (&facts.status, facts.agree()) {
            self.proven.insert(job.status_file.clone(), status.finished_at);
        }
        facts.proven = self.proven.get(&job.status_file).copied();
        facts
    }
}

/// What was seen of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFacts {
    /// Its status, as far as it could be read.
    pub status: Result<JobStatus, HostError>,
    /// Its archive; asked for only when there is a status.
    pub artefact: Option<Result<Artefact, HostError>>,
    /// When the newest backup ended that was read whole, by this process, and found good.
    pub proven: Option<Timestamp>,
}

/// What was seen of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Artefact {
    /// Its length in bytes.
    pub bytes: u64,
    /// Its digest; not taken when the length already differs from the status.
    pub hashing: Option<Hashing>,
}

/// Looks at one job, reading at most `budget` bytes of its archive.
pub fn look(host: &dyn Host, job: &BackupJob, budget: &mut u64) -> JobFacts {
    let status = read_status(host, &job.status_file);
    let artefact = status.as_ref().ok().map(|status| look_at_artefact(host, job, status, budget));
    JobFacts { status, artefact, proven: None }
}

const MAX_STATUS: usize = 64 * 1024;

const fn default_max_age_h() -> u32 {
    48
}

const fn default_max_runtime_s() -> u32 {
    3600
}

fn read_status(host: &dyn Host, path: &AbsPath) -> Result<JobStatus, HostError> {
    let bytes = host.read(path, MAX_STATUS)?;
    // Which rule the text breaks is said, never what the text is.
    serde_json::from_slice(&bytes).map_err(|error| HostError::Garbage {
        what: path.to_string(),
        why: format!("line {}, column {} is not a backup status", error.line(), error.column()),
    })
}

fn look_at_artefact(
    host: &dyn Host,
    job: &BackupJob,
    status: &JobStatus,
    budget: &mut u64,
) -> Result<Artefact, HostError> {
    let unnamed = |error: HostError| error.about("the archive");
    let within = |artefact: &AbsPath, folder: &AbsPath| {
        let why = "it is outside the folder that the baseline names".to_owned();
        let outside = || HostError::Garbage { what: "the archive".to_owned(), why };
        is_within(artefact, folder).then_some(()).ok_or_else(outside)
    };
    let folder = archive_folder(job).map_err(unnamed)?;
    within(&status.artefact, &folder)?;
    // Nor does a link lead out of it, in place of the archive or on the way there.
    let artefact = host.resolve(&status.artefact).map_err(unnamed)?;
    within(&artefact, &host.resolve(&folder).map_err(unnamed)?)?;
    let bytes = host.stat(&artefact).map_err(unnamed)?.size;
    let hashing = (bytes == status.bytes)
        .then(|| host.sha256(&artefact, budget).map_err(unnamed))
        .transpose()?;
    Ok(Artefact { bytes, hashing })
}

fn archive_folder(job: &BackupJob) -> Result<AbsPath, HostError> {
    let beside = || match folder_of(&job.status_file) {
        "" => "/".parse(),
        folder => folder.parse(),
    };
    let folder = job.archive_dir.clone().map_or_else(beside, Ok);
    folder.map_err(|_| HostError::Garbage {
        what: job.status_file.to_string(),
        why: "it is in no folder".to_owned(),
    })
}

fn is_within(path: &AbsPath, folder: &AbsPath) -> bool {
    let folder = folder.as_str().trim_end_matches('/');
    path.as_str().strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// The folder of a file; empty for the root.
fn folder_of(file: &AbsPath) -> &str {
    file.as_str().rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl JobFacts {
    /// The archive is not the one that the status tells of.
    fn contradict(&self) -> bool {
        match (&self.status, &self.artefact) {
            (Ok(status), Some(Ok(artefact))) => match artefact.hashing {
                Some(Hashing::Done(sha256)) => sha256 != status.sha256,
                Some(Hashing::Reading(_)) => false,
                None => true,
            },
            (Ok(_), Some(Err(HostError::NotFound(_)))) => true,
            _ => false,
        }
    }

    /// The archive was read whole, and is the one that the status tells of.
    fn agree(&self) -> bool {
        match (&self.status, &self.artefact) {
            (Ok(status), Some(Ok(artefact))) => {
                artefact.hashing == Some(Hashing::Done(status.sha256))
            }
            _ => false,
        }
    }

    fn to_json(&self) -> Value {
        let mut facts = Map::new();
        match &self.status {
            Ok(status) => {
                facts.insert("finished_at".to_owned(), json!(status.finished_at));
                facts.insert("restore_tested_at".to_owned(), json!(status.restore_tested_at));
                facts.insert("proven_finished_at".to_owned(), json!(self.proven));
            }
            Err(error) => {
                facts.insert("status_error".to_owned(), json!(error.to_string()));
            }
        }
        match &self.artefact {
            Some(Ok(artefact)) => {
                // In text: a sparse file may claim more bytes than JSON numbers are exact for.
                facts.insert("bytes".to_owned(), json!(artefact.bytes.to_string()));
                match artefact.hashing {
                    Some(Hashing::Done(sha256)) => facts.insert("sha256".to_owned(), json!(sha256)),
                    Some(Hashing::Reading(percent)) => {
                        facts.insert("read_percent".to_owned(), json!(percent))
                    }
                    None => None,
                };
            }
            Some(Err(error)) => {
                facts.insert("artefact_error".to_owned(), json!(error.to_string()));
            }
            None => {}
        }
        facts.into()
    }
}
