//! What the backups check makes of what it saw.

use compliance_protocol::clock::TrustedNow;
use compliance_protocol::evidence::Finding;
use compliance_protocol::time::{Span, Timestamp};

use super::{Artefact, BackupJob, JobFacts, JobStatus};
use crate::host::Hashing;
use crate::{HostError, Verdict};

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
    let finding = |subject: &str, (expected, actual): (String, String)| Finding {
        subject: subject.to_owned(),
        expected,
        actual,
    };
    let name = job.name.as_str();
    let status = match &facts.status {
        Ok(status) => status,
        Err(HostError::NotFound(_)) => {
            let expected = format!("a backup not older than {} h", job.max_age_h);
            let actual = "no backup was ever recorded".to_owned();
            return Ok(vec![finding(name, (expected, actual))]);
        }
        Err(error) => return Err(error.to_string()),
    };
    let (mut findings, doubt) = match &facts.artefact {
        Some(Ok(artefact)) => judge_artefact(job, status, artefact, facts.proven, now),
        Some(Err(HostError::NotFound(_))) => {
            (vec![("the archive that the status names".to_owned(), "it is gone".to_owned())], None)
        }
        Some(Err(error)) => return Err(error.to_string()),
        None => return Err("the archive was not looked at".to_owned()),
    };
    findings.extend(now.at().and_then(|now| judge_age(job, status, now)));
    // What is wrong at any time of day is wrong without knowing the time.
    match (findings.is_empty(), doubt, now.at()) {
        (true, _, None) => Err("the time is not known, so no age is".to_owned()),
        (true, Some(doubt), _) => Err(doubt),
        _ => {
            let untested = now.at().and_then(|now| judge_restore_test(job, status, now));
            // No finding about the job itself: running it is the remedy for those, and tests nothing.
            let untested = untested.map(|found| finding(&format!("{name}: restore test"), found));
            Ok(findings.into_iter().map(|found| finding(name, found)).chain(untested).collect())
        }
    }
}

/// What differs in the archive, or why it cannot be said whether anything does.
fn judge_artefact(
    job: &BackupJob,
    status: &JobStatus,
    artefact: &Artefact,
    proven: Option<Timestamp>,
    now: TrustedNow,
) -> (Vec<(String, String)>, Option<String>) {
    match artefact.hashing {
        _ if artefact.bytes != status.bytes => {
            let expected = format!("an archive of {} bytes", status.bytes);
            (vec![(expected, format!("it has {} bytes", artefact.bytes))], None)
        }
        Some(Hashing::Done(sha256)) if sha256 != status.sha256 => {
            let expected = format!("an archive with SHA-256 {}", status.sha256);
            (vec![(expected, sha256.to_string())], None)
        }
        Some(Hashing::Done(_)) => (Vec::new(), None),
        // Until the new archive is read, the one before it says that there is a good and fresh one.
        Some(Hashing::Reading(_))
            if now.at().zip(proven).is_some_and(|(now, at)| is_fresh(job, now, at)) =>
        {
            (Vec::new(), None)
        }
        Some(Hashing::Reading(percent)) => {
            let doubt = format!("the archive is being read: {percent} % so far");
            (Vec::new(), Some(doubt))
        }
        None => (Vec::new(), Some("the archive was not read".to_owned())),
    }
}

fn is_fresh(job: &BackupJob, now: Timestamp, finished_at: Timestamp) -> bool {
    (FUTURE_TOLERANCE..=job.max_age()).contains(&now.since(finished_at))
}

impl BackupJob {
    fn max_age(&self) -> Span {
        Span::from_hours(i64::from(self.max_age_h))
    }
}

fn judge_age(job: &BackupJob, status: &JobStatus, now: Timestamp) -> Option<(String, String)> {
    let age = now.since(status.finished_at);
    let fresh = format!("a backup not older than {} h", job.max_age_h);
    if age < FUTURE_TOLERANCE {
        Some((fresh, format!("it is from the future: {}", status.finished_at)))
    } else if age > job.max_age() {
        Some((fresh, format!("it is {age} old")))
    } else {
        None
    }
}

fn judge_restore_test(
    job: &BackupJob,
    status: &JobStatus,
    now: Timestamp,
) -> Option<(String, String)> {
    let days = job.restore_test_max_age_d?;
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
}

/// The job's clock and the trusted time may differ by a little.
const FUTURE_TOLERANCE: Span = Span::from_secs(-300);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backups::{JobStatus, Run};
    use compliance_protocol::clock::{ClockDoubt, ClockSource};
    use compliance_protocol::digest::Digest;
    use proptest::prelude::*;

    fn job() -> BackupJob {
        BackupJob {
            name: "records".parse().unwrap(),
            status_file: "/var/backup/records.json".parse().unwrap(),
            archive_dir: None,
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
            artefact: Some(Ok(Artefact { bytes: 7, hashing: Some(Hashing::Done(sha256)) })),
            proven: Some(at(-1)),
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
    fn a_restore_that_nobody_tested_is_no_finding_about_the_backup_which_no_run_of_it_mends() {
        let subjects = |verdict: &Verdict| -> Vec<String> {
            verdict.findings().iter().map(|finding| finding.subject.clone()).collect()
        };
        let untested = with(|facts| facts.status.as_mut().unwrap().restore_tested_at = None);
        assert_eq!(subjects(&untested), ["records: restore test"]);
        let both = with(|facts| {
            let status = facts.status.as_mut().unwrap();
            (status.finished_at, status.restore_tested_at) = (at(-76), None);
        });
        assert_eq!(subjects(&both), ["records", "records: restore test"]);
        // Nor does it hide that nobody knows yet how the backup is.
        let reading = with(|facts| {
            facts.status.as_mut().unwrap().restore_tested_at = None;
            facts.artefact = Some(Ok(Artefact { bytes: 7, hashing: Some(Hashing::Reading(34)) }));
            facts.proven = None;
        });
        assert!(matches!(reading, Verdict::Unknown(_)), "{reading:?}");
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
        facts.artefact = Some(Ok(Artefact { bytes: 6, hashing: None }));
        let verdict = judge(&[(&job(), facts)], TrustedNow::Unknown(ClockDoubt::NoSource));
        assert!(matches!(verdict, Verdict::Drifted(_)), "{verdict:?}");
    }

    #[test]
    fn until_a_new_archive_is_read_the_last_good_one_speaks_for_it_as_long_as_it_is_fresh() {
        let reading = |proven: Option<i64>, status: fn(&mut JobStatus)| {
            with(|facts| {
                status(facts.status.as_mut().unwrap());
                facts.artefact =
                    Some(Ok(Artefact { bytes: 7, hashing: Some(Hashing::Reading(34)) }));
                facts.proven = proven.map(at);
            })
        };
        assert_eq!(reading(Some(-48), |_| ()), Verdict::Compliant);
        for proven in [None, Some(-49), Some(1)] {
            let verdict = reading(proven, |_| ());
            assert!(verdict.why().contains("34 %"), "{proven:?}: {verdict:?}");
        }
        let stale = reading(Some(-48), |status| status.finished_at = at(-49));
        assert_eq!(actual(&stale), "it is 2 d 1 h old");
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
