//! Effects on the host. [`perform`] is the one function that changes it, and it takes a [`Permit`].

pub(crate) mod activation;
mod lock;
mod nar;
mod plan;

use std::time::Duration;

use compliance_checks::backups::{BackupJob, Run};
use compliance_checks::command::{Argv, Command};
use compliance_checks::host::HostError;
use compliance_checks::{CheckId, Host};
use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::{ActionRecord, StepResult};
use compliance_protocol::name::{AbsPath, UnitName};
use compliance_protocol::time::Span;
use serde::{Deserialize, Serialize};

use crate::activation::{Action, Activation, Event};
use crate::authorise::Permit;
use crate::config::Switching;

/// What can be done to the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Restart a unit.
    RestartUnit {
        /// The unit.
        unit: UnitName,
        /// How long that may take, in seconds.
        max_runtime_s: u32,
    },
    /// Run a backup job.
    RunBackup(BackupJob),
    /// Restart the machine.
    Reboot,
    /// Carry out one step of an activation. Its intent holds the activation itself.
    #[serde(skip)]
    Activation(Box<(Action, Activation)>),
}

impl Effect {
    /// What is done, for people: `backup records`.
    pub fn title(&self) -> String {
        match self {
            Self::RestartUnit { unit, .. } => format!("restart of {unit}"),
            Self::RunBackup(job) => format!("backup {}", job.name),
            Self::Reboot => "restart of the machine".to_owned(),
            Self::Activation(step) => format!("activation of {}", step.1.target.system),
        }
    }

    /// The check whose findings it remedies.
    pub fn check(&self) -> CheckId {
        match self {
            Self::RestartUnit { .. } => CheckId::Services,
            Self::RunBackup(_) => CheckId::Backups,
            Self::Reboot | Self::Activation(_) => CheckId::Patching,
        }
    }

    /// What it is done to, as findings name it.
    pub fn subject(&self) -> String {
        match self {
            Self::RestartUnit { unit, .. } => unit.to_string(),
            Self::RunBackup(job) => job.name.to_string(),
            Self::Reboot => "machine".to_owned(),
            Self::Activation(step) => step.1.target.system.to_string(),
        }
    }
}

/// What an effect did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Performed {
    /// The steps taken, in order; after one that failed none follows.
    pub actions: Vec<ActionRecord>,
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// What a step of an activation brought to light.
    pub event: Option<Event>,
}

/// The tools that effects need.
#[derive(Debug, Clone)]
pub struct Tools {
    /// systemd's command line; `None` where there is no systemd.
    pub systemctl: Option<AbsPath>,
    /// What activations need; `None` where systems are not activated.
    pub switching: Option<Switching>,
}

/// Changes the host as `permit` says. `uptime` tells how long steps take.
pub fn perform(
    permit: Permit,
    host: &dyn Host,
    tools: &Tools,
    uptime: &dyn Fn() -> Span,
) -> Performed {
    match permit.into_effect() {
        Effect::RunBackup(job) => {
            let limit = Duration::from_secs(job.max_runtime_s.into());
            match job.run {
                Run::Argv(argv) => {
                    let target = job.name.to_string();
                    let step = Step { name: "run_backup", target, argv: Ok(argv), limit };
                    run_steps(&[step], host, uptime)
                }
                Run::Unit(unit) => {
                    run_steps(&[systemctl(tools, "start", &unit, limit)], host, uptime)
                }
            }
        }
        Effect::RestartUnit { unit, max_runtime_s } => {
            let limit = Duration::from_secs(max_runtime_s.into());
            let restart = systemctl(tools, "restart", &unit, limit);
            let ask = systemctl(tools, "is-active", &unit, Duration::from_secs(10));
            run_steps(&[restart, ask], host, uptime)
        }
        Effect::Reboot => {
            let reboot = ["reboot"].as_slice();
            run_steps(&[command("reboot", "machine", tools, reboot)], host, uptime)
        }
        Effect::Activation(step) => {
            let (action, activation) = *step;
            match &tools.switching {
                Some(tools) => activation::carry_out(&action, &activation, tools, host, uptime),
                None => Performed { actions: Vec::new(), failure: None, event: Some(Event::Done) },
            }
        }
    }
}

struct Step {
    name: &'static str,
    target: String,
    argv: Result<Argv, &'static str>,
    limit: Duration,
}

/// At most this much of what a step prints is taken, to be digested.
const OUTPUT_CAP: usize = 16 * 1024 * 1024;

fn systemctl(tools: &Tools, verb: &'static str, unit: &UnitName, limit: Duration) -> Step {
    let argv = tools.systemctl.as_ref().map(|tool| {
        let parts = [tool.as_str(), "--quiet", verb, "--", unit.as_str()];
        Argv::try_from(parts.map(str::to_owned).to_vec()).map_err(|_| "`systemctl` is no argv")
    });
    let name = match verb {
        "restart" => "restart_unit",
        "start" => "start_unit",
        _ => "unit_is_active",
    };
    let argv = argv.unwrap_or(Err("this appliance's configuration names no `systemctl`"));
    Step { name, target: unit.to_string(), argv, limit }
}

/// A step of systemd's command line that is about no unit.
fn command(name: &'static str, target: &str, tools: &Tools, words: &[&str]) -> Step {
    let argv = tools.systemctl.as_ref().map(|tool| {
        let parts = std::iter::once(tool.as_str()).chain(words.iter().copied());
        Argv::try_from(parts.map(str::to_owned).collect::<Vec<_>>())
            .map_err(|_| "`systemctl` is no argv")
    });
    let argv = argv.unwrap_or(Err("this appliance's configuration names no `systemctl`"));
    Step { name, target: target.to_owned(), argv, limit: Duration::from_secs(60) }
}

fn run_steps(steps: &[Step], host: &dyn Host, uptime: &dyn Fn() -> Span) -> Performed {
    let mut performed = Performed { actions: Vec::new(), failure: None, event: None };
    for step in steps {
        let started = uptime();
        let ended = step
            .argv
            .clone()
            .map(|argv| host.run(&Command { argv, limit: step.limit, output_cap: OUTPUT_CAP }));
        let lasted = uptime().as_millis() - started.as_millis();
        let (result, output, failure) = judge(step, ended);
        performed.actions.push(ActionRecord {
            name: step.name.to_owned(),
            target: step.target.clone(),
            duration_ms: u64::try_from(lasted).unwrap_or(0),
            result,
            output_sha256: Digest::of(&output),
            output_bytes: output.len() as u64,
        });
        if failure.is_some() {
            performed.failure = failure;
            break;
        }
    }
    performed
}

type Ended = Result<Result<compliance_checks::command::Output, HostError>, &'static str>;

fn judge(step: &Step, ended: Ended) -> (StepResult, Vec<u8>, Option<String>) {
    let failed = |why: String| (StepResult::Failed, Vec::new(), Some(why));
    match ended {
        Ok(Ok(output)) => {
            let text = [output.stdout, output.stderr].concat();
            match output.code {
                Some(0) => (StepResult::Done, text, None),
                Some(code) => {
                    let why = format!("{} of {} ended with code {code}", step.name, step.target);
                    (StepResult::Failed, text, Some(why))
                }
                None => {
                    let why = format!("{} of {} was ended by a signal", step.name, step.target);
                    (StepResult::Failed, text, Some(why))
                }
            }
        }
        Ok(Err(error @ HostError::TimedOut { .. })) => {
            (StepResult::TimedOut, Vec::new(), Some(error.about(&step.target).to_string()))
        }
        Ok(Err(error)) => failed(error.about(&step.target).to_string()),
        Err(why) => failed(why.to_owned()),
    }
}
