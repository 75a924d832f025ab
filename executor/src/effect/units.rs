//! Units of systemd, and backup jobs. `systemctl` waits for the job it asked for, and its exit code is the
//! job's result; that a unit stays up is for the next look to say.

use std::time::Duration;

use compliance_checks::backups::{self, BackupJob};
use compliance_checks::command::{Argv, Command};
use compliance_protocol::name::UnitName;

use super::Tools;
use super::steps::{OUTPUT_CAP, Run};

/// The steps of a restart.
pub(super) const RESTART: [&str; 2] = ["restart_unit", "unit_is_active"];

/// How long systemd may take to answer what it need not wait for.
const PROMPT: Duration = Duration::from_secs(10);

/// Restarts `unit`.
pub(super) fn restart(
    run: &mut Run<'_>,
    tools: &Tools,
    unit: &UnitName,
    max_runtime_s: u32,
) -> Result<(), String> {
    let limit = Duration::from_secs(max_runtime_s.into());
    let verbs = [("restart", limit), ("is-active", PROMPT)];
    for (name, (verb, limit)) in RESTART.into_iter().zip(verbs) {
        run.step(name, unit.as_str(), systemctl(tools, verb, unit, limit))?;
    }
    Ok(())
}

/// The one step of a backup.
pub(super) fn backup(job: &BackupJob) -> &'static [&'static str] {
    match job.run {
        backups::Run::Argv(_) => &["run_backup"],
        backups::Run::Unit(_) => &["start_unit"],
    }
}

/// Runs a backup job to its end.
pub(super) fn back_up(run: &mut Run<'_>, tools: &Tools, job: BackupJob) -> Result<(), String> {
    let limit = Duration::from_secs(job.max_runtime_s.into());
    let [name] = backup(&job) else { return Ok(()) };
    let (target, command) = match job.run {
        backups::Run::Argv(argv) => (
            job.name.to_string(),
            Ok(Command { argv, input: Vec::new(), limit, output_cap: OUTPUT_CAP }),
        ),
        backups::Run::Unit(unit) => {
            let command = systemctl(tools, "start", &unit, limit);
            (unit.to_string(), command)
        }
    };
    run.step(name, &target, command).map(drop)
}

/// Has `unit` started, and does not wait for it.
pub(super) fn begin(run: &mut Run<'_>, tools: &Tools, name: &str, unit: &UnitName) {
    let words = ["--quiet", "--no-block", "start", "--", unit.as_str()];
    let _ = run.step(name, unit.as_str(), command(tools, &words, PROMPT));
}

/// The one step of a restart of the machine.
pub(super) const REBOOT: [&str; 1] = ["reboot"];

/// Tells the machine to restart.
pub(super) fn reboot(run: &mut Run<'_>, tools: &Tools) -> Result<(), String> {
    let [name] = REBOOT;
    run.step(name, "machine", command(tools, &["--quiet", "reboot"], PROMPT)).map(drop)
}

fn systemctl(
    tools: &Tools,
    verb: &str,
    unit: &UnitName,
    limit: Duration,
) -> Result<Command, String> {
    command(tools, &["--quiet", verb, "--", unit.as_str()], limit)
}

fn command(tools: &Tools, words: &[&str], limit: Duration) -> Result<Command, String> {
    let tool = tools.systemctl.as_ref();
    let tool = tool.ok_or("this appliance's configuration names no `systemctl`")?;
    let parts = std::iter::once(tool.as_str()).chain(words.iter().copied());
    let argv = Argv::try_from(parts.map(str::to_owned).collect::<Vec<_>>())
        .map_err(|_| "`systemctl` is no argv".to_owned())?;
    Ok(Command { argv, input: Vec::new(), limit, output_cap: OUTPUT_CAP })
}
