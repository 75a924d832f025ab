//! The backup jobs of this host, as far as they leave status files where such files usually are.

use std::collections::BTreeSet;

use compliance_protocol::name::{AbsPath, JobName, UnitName};

use super::{BackupJob, BackupsBaseline, JobStatus, Run, folder_of, read_status};
use super::{default_max_age_h, default_max_runtime_s};
use crate::Host;
use crate::capture::Captured;
use crate::host::UnitState;

/// Where status files are looked for; elsewhere a person knows of them.
const FOLDERS: [&str; 4] = ["/var/backup", "/var/backups", "/var/lib/backup", "/var/lib/backups"];

/// The most files of one folder that are looked at.
const MOST: usize = 64;

/// What the units of backup jobs are called before the job's name: by our own examples, and by NixOS.
const UNITS: [&str; 3] = ["backup-", "restic-backups-", "borgbackup-job-"];

/// The jobs whose status file and unit are found, with the usual limits.
pub fn capture(host: &dyn Host) -> Captured<BackupsBaseline> {
    let files: Vec<_> = FOLDERS.iter().flat_map(|folder| status_files(host, folder)).collect();
    let units = units_of_jobs(host, files.iter().map(|(name, ..)| name));
    let (mut jobs, mut remarks) = (Vec::new(), Vec::new());
    for (name, file, status) in files {
        if status.restore_tested_at.is_none() {
            remarks.push(format!("that a restore of {name} was ever tested is not recorded"));
        }
        match units.iter().find(|(job, _)| job == name.as_str()) {
            Some((_, unit)) => jobs.push(job(name, file, &status, unit.clone())),
            None => remarks.push(format!(
                "{file} tells of a backup, but no unit was found that makes it: add the job by hand"
            )),
        }
    }
    for (name, unit) in &units {
        if !jobs.iter().any(|job: &BackupJob| job.name.as_str() == name) {
            remarks.push(format!(
                "{unit} seems to make backups, but none of its status files was found in {}: let it \
                 write one, and add the job by hand",
                FOLDERS.join(", ")
            ));
        }
    }
    let none =
        || format!("no backup job was found that leaves a status file in {}", FOLDERS.join(", "));
    let expected = if jobs.is_empty() { Err(none()) } else { Ok(BackupsBaseline { jobs }) };
    Captured { expected, remarks }
}

fn job(name: JobName, status_file: AbsPath, status: &JobStatus, unit: UnitName) -> BackupJob {
    let archives = folder_of(&status.artefact);
    let beside = archives == folder_of(&status_file);
    BackupJob {
        name,
        archive_dir: if beside { None } else { archives.parse().ok() },
        status_file,
        max_age_h: default_max_age_h(),
        restore_test_max_age_d: None,
        run: Run::Unit(unit),
        max_runtime_s: default_max_runtime_s(),
    }
}

/// The files of a folder that are backup statuses, with the job's name, which is the file's.
fn status_files(host: &dyn Host, folder: &str) -> Vec<(JobName, AbsPath, JobStatus)> {
    let files = folder.parse().ok().and_then(|folder| host.list(&folder).ok()).unwrap_or_default();
    let status = |stem: &str| {
        let path = format!("{folder}/{stem}.json").parse().ok()?;
        let status = read_status(host, &path).ok()?;
        Some((stem.parse().ok()?, path, status))
    };
    let stems = files.iter().filter_map(|file| file.strip_suffix(".json"));
    stems.take(MOST).filter_map(status).collect()
}

/// The units that are called as those of backup jobs are, each with its job's name. systemd lists the units
/// that it has loaded, and one that neither runs nor has a timer is not: those of `jobs` are asked for by name.
fn units_of_jobs<'a>(
    host: &dyn Host,
    jobs: impl Iterator<Item = &'a JobName>,
) -> BTreeSet<(String, UnitName)> {
    let called = |job| UNITS.map(|prefix| format!("{prefix}{job}.service").parse().ok());
    let named: Vec<_> = jobs.flat_map(called).flatten().collect();
    let answers = [host.all_units(), host.units(&named)];
    answers.iter().flatten().flatten().filter_map(unit_of_job).collect()
}

/// The unit, if it is called as the units of backup jobs are, and its job's name.
fn unit_of_job(unit: &UnitState) -> Option<(String, UnitName)> {
    let name = unit.unit.strip_suffix(".service").filter(|_| unit.load == "loaded")?;
    let job = UNITS.iter().find_map(|prefix| name.strip_prefix(prefix))?;
    Some((job.to_owned(), unit.unit.parse().ok()?))
}
