//! The appliance's backup job: a real archive of a real folder, with a status file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use compliance_checks::backups::JobStatus;
use compliance_daemon::files;
use compliance_protocol::time::Timestamp;

use super::failure::Failure;
use super::spawn;

/// Its name in the baseline.
pub(super) const NAME: &str = "records";

/// How old its archive may be, in hours.
pub(super) const MAX_AGE_H: u32 = 48;

/// What the script does, after the line that says where its programs are: where they are for who runs the demonstration.
const SCRIPT: &str = r#"
# Archives the folder `records` below $1, and says so in status.json once the archive is in place.
set -eu
cd "$1"
tar -cf archive.tar.new records
mv archive.tar.new archive.tar
bytes=$(wc -c < archive.tar | tr -d ' ')
sha256=$(sha256sum archive.tar | cut -d ' ' -f 1)
finished=$(date -u +%Y-%m-%dT%H:%M:%S.%3NZ)
printf '{"finished_at":"%s","artefact":"%s/archive.tar","bytes":%s,"sha256":"%s"}\n' \
    "$finished" "$1" "$bytes" "$sha256" > status.json.new
mv status.json.new status.json
"#;

/// The job's folder.
#[derive(Debug)]
pub(super) struct Job {
    folder: PathBuf,
}

impl Job {
    /// Makes the folder, something to back up, and the script; and runs it a first time.
    pub(super) fn make(folder: PathBuf) -> Result<Self, Failure> {
        let job = Self { folder };
        let records = job.folder.join("records");
        fs::create_dir_all(&records).map_err(|source| failed(&records, source))?;
        for n in 1..=20 {
            let path = records.join(format!("record-{n:02}.txt"));
            fs::write(&path, format!("made up for the demonstration, {n}\n").repeat(100))
                .map_err(|source| failed(&path, source))?;
        }
        let script = job.script();
        let path = std::env::var("PATH").unwrap_or_default().replace('\'', r"'\''");
        let text = format!("#!/bin/sh\nPATH='{path}'\nexport PATH\n{SCRIPT}");
        files::create(&script, text.as_bytes(), 0o755).map_err(|source| failed(&script, source))?;
        spawn::run_well(&script, &[&job.folder.display().to_string()], &job.folder)?;
        Ok(job)
    }

    /// The program and its argument, as the baseline names them.
    pub(super) fn argv(&self) -> [PathBuf; 2] {
        [self.script(), self.folder.clone()]
    }

    /// The status file.
    pub(super) fn status_file(&self) -> PathBuf {
        self.folder.join("status.json")
    }

    /// Makes the last backup look as if it had ended at `at`: the job has not run since.
    pub(super) fn set_back(&self, at: Timestamp) -> Result<(), Failure> {
        let path = self.status_file();
        let bytes = fs::read(&path).map_err(|source| failed(&path, source))?;
        let status: JobStatus =
            serde_json::from_slice(&bytes).map_err(|error| failed(&path, error.into()))?;
        let old = JobStatus { finished_at: at, ..status };
        let bytes = serde_json::to_vec(&old).map_err(|error| failed(&path, error.into()))?;
        files::replace(&path, &bytes, 0o644).map_err(|source| failed(&path, source))
    }

    fn script(&self) -> PathBuf {
        self.folder.join("backup.sh")
    }
}

fn failed(path: &Path, source: io::Error) -> Failure {
    Failure::File { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use compliance_protocol::digest::Digest;
    use compliance_protocol::time::Span;

    use super::*;

    fn status(job: &Job) -> JobStatus {
        serde_json::from_slice(&fs::read(job.status_file()).unwrap()).unwrap()
    }

    // One test: a script that was just written cannot be run while another thread starts a process.
    #[test]
    fn the_job_really_archives_tells_the_truth_and_can_be_set_back() {
        let dir = tempfile::tempdir().unwrap();
        let job = Job::make(dir.path().join("a job")).unwrap();
        let fresh = status(&job);
        let archive = fs::read(fresh.artefact.as_str()).unwrap();
        assert_eq!(fresh.bytes, archive.len() as u64);
        assert_eq!(fresh.sha256, Digest::of(&archive));
        assert!(archive.len() > 20 * 1024);

        let old = fresh.finished_at.plus(Span::from_hours(-76));
        job.set_back(old).unwrap();
        assert_eq!(status(&job), JobStatus { finished_at: old, ..fresh });
    }
}
