//! `backups`: each job's newest archive is fresh, whole and where its status file says.
//!
//! A job that has ended well writes a status file beside its archive (see [`JobStatus`]). The check
//! reads it, and looks at the archive itself.

use compliance_protocol::clock::TrustedNow;
use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::Finding;
use compliance_protocol::name::{AbsPath, JobName, UnitName};
use compliance_protocol::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::baseline::Baseline;
use crate::command::Argv;
use crate::{Check, CheckId, Circumstances, Host, HostError, Report, Verdict};

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
#[derive(Debug)]
pub struct Backups;

impl Check for Backups {
    fn id(&self) -> CheckId {
        CheckId::Backups
    }

    fn version(&self) -> u32 {
        1
    }

    fn run(&mut self, host: &dyn Host, baseline: &Baseline, about: &Circumstances) -> Report {
        let seen: Vec<_> = baseline.backup_jobs().iter().map(|job| (job, look(host, job))).collect();
        let facts =
            seen.iter().map(|(job, facts)| (job.name.to_string(), facts.to_json())).collect();
        let verdict = judge(&seen, about.now);
        Report { check: self.id(), version: self.version(), verdict, facts }
    }
}

/// What was seen of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFacts {
    /// Its status, as far as it could be read.
    pub status: Result<JobStatus, HostError>,
    /// Its archive; asked for only when there is a status.
    pub artefact: Option<Result<Artefact, HostError>>,
}

/// What was seen of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Artefact {
    /// Its length in bytes.
    pub bytes: u64,
    /// Its digest; not taken when the length already differs from the status.
    pub sha256: Option<Digest>,
}

/// Looks at one job.
pub fn look(host: &dyn Host, job: &BackupJob) -> JobFacts {
    let status = read_status(host, &job.status_file);
    let artefact = status.as_ref().ok().map(|status| look_at_artefact(host, status));
    JobFacts { status, artefact }
}

/// Judges all jobs: any drift is drift; else any doubt is doubt; no job at all is doubt.
pub fn judge(seen: &[(&BackupJob, JobFacts)], now: TrustedNow) -> Verdict {
    let mut findings = Vec::new();
    let mut doubts = Vec::new();
    for (job, facts) in seen {
        match judge_job(job, facts, now) {
            Ok(found) => findings.extend(found),
            Err(doubt) => doubts.push(format!("{}: {doubt}", job.name)),
        }
    }
    match (findings.is_empty(), doubts.first()) {
        (false, _) => Verdict::Drifted(findings),
        (true, Some(_)) => Verdict::Unknown(doubts.join("; ")),
        (true, None) if seen.is_empty() => Verdict::Unknown(
            "the baseline names no backup job, nor says why there is none".to_owned(),
        ),
        (true, None) => Verdict::Compliant,
    }
}

/// What differs from the baseline in one job, or why that cannot be said.
pub fn judge_job(
    job: &BackupJob,
    facts: &JobFacts,
    now: TrustedNow,
) -> Result<Vec<Finding>, String> {
    let finding = |expected: String, actual: String| Finding {
        subject: job.name.to_string(),
        expected,
        actual,
    };
    let status = match &facts.status {
        Ok(status) => status,
        Err(HostError::NotFound(_)) => {
            let expected = format!("a backup not older than {} h", job.max_age_h);
            return Ok(vec![finding(expected, "no backup was ever recorded".to_owned())]);
        }
        Err(error) => return Err(error.to_string()),
    };
    let mut findings = Vec::new();
    match &facts.artefact {
        Some(Ok(artefact)) if artefact.bytes != status.bytes => findings.push(finding(
            format!("an archive of {} bytes", status.bytes),
            format!("it has {} bytes", artefact.bytes),
        )),
        Some(Ok(artefact)) if artefact.sha256 != Some(status.sha256) => findings.push(finding(
            format!("an archive with SHA-256 {}", status.sha256),
            artefact.sha256.map_or_else(|| "not taken".to_owned(), |sha256| sha256.to_string()),
        )),
        Some(Ok(_)) => {}
        Some(Err(HostError::NotFound(_))) => findings
            .push(finding("the archive that the status names".to_owned(), "it is gone".to_owned())),
        Some(Err(error)) => return Err(error.to_string()),
        None => return Err("the archive was not looked at".to_owned()),
    }
    match now.at() {
        Some(now) => findings.extend(judge_ages(job, status, now).map(|(e, a)| finding(e, a))),
        // What is wrong at any time of day is wrong without knowing the time.
        None if findings.is_empty() => return Err("the time is not known, so no age is".to_owned()),
        None => {}
    }
    Ok(findings)
}

fn judge_ages(
    job: &BackupJob,
    status: &JobStatus,
    now: Timestamp,
) -> impl Iterator<Item = (String, String)> {
    let age = now.since(status.finished_at);
    let fresh = format!("a backup not older than {} h", job.max_age_h);
    let backup = if age < FUTURE_TOLERANCE {
        Some((fresh, format!("it is from the future: {}", status.finished_at)))
    } else if age > Span::from_hours(i64::from(job.max_age_h)) {
        Some((fresh, format!("it is {age} old")))
    } else {
        None
    };
    let restore = job.restore_test_max_age_d.and_then(|days| {
        let expected = format!("a restore tested within {days} d");
        match status.restore_tested_at.map(|at| now.since(at)) {
            None => Some((expected, "none was ever tested".to_owned())),
            Some(age) if age < FUTURE_TOLERANCE => {
                Some((expected, "the test is from the future".to_owned()))
            }
            Some(age) if age > Span::from_hours(24 * i64::from(days)) => {
                Some((expected, format!("the last test is {age} old")))
            }
            Some(_) => None,
        }
    });
    backup.into_iter().chain(restore)
}

/// The job's clock and the trusted time may differ by a little.
const FUTURE_TOLERANCE: Span = Span::from_secs(-300);

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

fn look_at_artefact(host: &dyn Host, status: &JobStatus) -> Result<Artefact, HostError> {
    let unnamed = |error: HostError| error.about("the archive");
    let stat = host.stat(&status.artefact).map_err(unnamed)?;
    let sha256 = if stat.size == status.bytes {
        Some(host.sha256(&status.artefact).map_err(unnamed)?)
    } else {
        None
    };
    Ok(Artefact { bytes: stat.size, sha256 })
}

impl JobFacts {
    fn to_json(&self) -> Value {
        let mut facts = Map::new();
        match &self.status {
            Ok(status) => {
                facts.insert("finished_at".to_owned(), json!(status.finished_at));
                facts.insert("restore_tested_at".to_owned(), json!(status.restore_tested_at));
            }
            Err(error) => {
                facts.insert("status_error".to_owned(), json!(error.to_string()));
            }
        }
        match &self.artefact {
            Some(Ok(artefact)) => {
                facts.insert("bytes".to_owned(), json!(artefact.bytes));
                facts.insert("sha256".to_owned(), json!(artefact.sha256));
            }
            Some(Err(error)) => {
                facts.insert("artefact_error".to_owned(), json!(error.to_string()));
            }
            None => {}
        }
        facts.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use compliance_protocol::clock::{ClockDoubt, ClockSource};
    use proptest::prelude::*;

    fn job() -> BackupJob {
        BackupJob {
            name: "records".parse().unwrap(),
            status_file: "/var/backup/records.json".parse().unwrap(),
            max_age_h: 48,
            restore_test_max_age_d: Some(90),
            run: Run::Unit("backup-records.service".parse().unwrap()),
            max_runtime_s: 3600,
        }
    }

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_millis(1_795_167_671_000).plus(Span::from_hours(hours))
    }

    fn now() -> TrustedNow {
        TrustedNow::Known { at: at(0), source: ClockSource::Kernel }
    }

    fn fresh() -> JobFacts {
        let sha256 = Digest::of(b"archive");
        JobFacts {
            status: Ok(JobStatus {
                finished_at: at(-1),
                artefact: "/var/backup/records.tar".parse().unwrap(),
                bytes: 7,
                sha256,
                restore_tested_at: Some(at(-24)),
            }),
            artefact: Some(Ok(Artefact { bytes: 7, sha256: Some(sha256) })),
        }
    }

    fn with(change: impl FnOnce(&mut JobFacts)) -> Verdict {
        let mut facts = fresh();
        change(&mut facts);
        judge(&[(&job(), facts)], now())
    }

    fn actual(verdict: &Verdict) -> &str {
        &verdict.findings().first().unwrap_or_else(|| panic!("{verdict:?} has no finding")).actual
    }

    #[test]
    fn a_fresh_whole_and_tested_backup_is_compliant() {
        assert_eq!(with(|_| ()), Verdict::Compliant);
    }

    #[test]
    fn each_way_of_drifting_is_found() {
        let status =
            |change: fn(&mut JobStatus)| with(|facts| change(facts.status.as_mut().unwrap()));
        assert_eq!(actual(&status(|s| s.finished_at = at(-76))), "it is 3 d 4 h old");
        assert!(actual(&status(|s| s.finished_at = at(2))).contains("from the future"));
        assert_eq!(actual(&status(|s| s.bytes = 8)), "it has 7 bytes");
        assert_eq!(
            actual(&status(|s| s.sha256 = Digest::of(b"x"))),
            Digest::of(b"archive").to_string()
        );
        assert_eq!(actual(&status(|s| s.restore_tested_at = None)), "none was ever tested");
        assert_eq!(
            actual(&status(|s| s.restore_tested_at = Some(at(-24 * 91)))),
            "the last test is 91 d 0 h old"
        );
        let gone = with(|facts| facts.artefact = Some(Err(HostError::NotFound(String::new()))));
        assert_eq!(actual(&gone), "it is gone");
        let never = with(|facts| facts.status = Err(HostError::NotFound(String::new())));
        assert_eq!(actual(&never), "no backup was ever recorded");
    }

    #[test]
    fn each_way_of_not_knowing_is_unknown() {
        let what = || "x".to_owned();
        for error in [
            HostError::Denied(what()),
            HostError::TooLarge { what: what(), limit: 1 },
            HostError::TimedOut { what: what(), limit: std::time::Duration::from_secs(1) },
            HostError::Garbage { what: what(), why: what() },
            HostError::Io { what: what(), why: what() },
        ] {
            let status = with(|facts| facts.status = Err(error.clone()));
            let artefact = with(|facts| facts.artefact = Some(Err(error.clone())));
            assert!(matches!(status, Verdict::Unknown(_)), "{status:?}");
            assert!(matches!(artefact, Verdict::Unknown(_)), "{artefact:?}");
        }
        let no_time = judge(&[(&job(), fresh())], TrustedNow::Unknown(ClockDoubt::NoSource));
        assert!(matches!(no_time, Verdict::Unknown(_)), "{no_time:?}");
        assert!(matches!(judge(&[], now()), Verdict::Unknown(_)));
    }

    #[test]
    fn a_wrong_archive_is_drift_even_when_nobody_knows_the_time() {
        let mut facts = fresh();
        facts.artefact = Some(Ok(Artefact { bytes: 6, sha256: None }));
        let verdict = judge(&[(&job(), facts)], TrustedNow::Unknown(ClockDoubt::NoSource));
        assert!(matches!(verdict, Verdict::Drifted(_)), "{verdict:?}");
    }

    #[test]
    fn one_job_in_doubt_is_never_hidden_by_one_that_is_well() {
        let mut doubt = fresh();
        doubt.status = Err(HostError::Denied(String::new()));
        let verdict = judge(&[(&job(), fresh()), (&job(), doubt)], now());
        assert!(matches!(verdict, Verdict::Unknown(_)), "{verdict:?}");
    }

    proptest! {
        #[test]
        fn a_backup_is_compliant_exactly_when_its_age_is_within_the_limit(minutes in -10_000_i64..10_000) {
            let mut facts = fresh();
            let age = Span::from_secs(minutes * 60);
            facts.status.as_mut().unwrap().finished_at = at(0).plus(Span::from_millis(-age.as_millis()));
            let expected = (-5..=48 * 60).contains(&minutes);
            prop_assert_eq!(judge(&[(&job(), facts)], now()) == Verdict::Compliant, expected);
        }
    }
}
