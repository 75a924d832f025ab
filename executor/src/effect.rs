//! Effects on the host. [`perform`] is the one function that changes it, and it takes a [`Permit`].

pub(crate) mod activation;
mod boot_loader;
mod bystanders;
mod firewall;
mod lock;
mod nar;
mod plan;
mod probes;
mod realise;
mod room;
mod sight;
mod signatures;
mod steps;
mod units;

pub(crate) use bystanders::is_switching;
pub use bystanders::look_around;

use std::path::PathBuf;

use compliance_checks::backups::BackupJob;
use compliance_checks::firewall::{FirewallBaseline, RULESET};
use compliance_checks::{CheckId, Host, patching};
use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::{ActionRecord, StepResult};
use compliance_protocol::name::{AbsPath, UnitName};
use compliance_protocol::time::Span;
use serde::{Deserialize, Serialize};

use crate::activation::{Action, Activation, Event, Target};
use crate::authorise::Permit;
use crate::config::Switching;
use steps::Run;

/// What can be done to the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Restart a unit.
    RestartUnit {
        /// The unit.
        unit: UnitName,
        /// How long that may take, in seconds.
        max_runtime_s: u32,
        /// The check whose finding that remedies.
        check: CheckId,
    },
    /// Run a backup job.
    RunBackup(BackupJob),
    /// Restart the machine.
    Reboot,
    /// Activate a system. It is done in steps: each is a permit of its own.
    Activate(Target),
    /// Carry out one step of an activation. Its intent holds the activation itself.
    #[serde(skip)]
    Activation(Box<(Action, Activation)>),
    /// Load the baseline's ruleset.
    LoadFirewall(Box<FirewallBaseline>),
    /// Put back what loading the baseline's ruleset replaced.
    UndoFirewall(Box<FirewallBaseline>),
}

impl Effect {
    /// What is done, for people: `backup records`.
    pub fn title(&self) -> String {
        match self {
            Self::RestartUnit { unit, .. } => format!("restart of {unit}"),
            Self::RunBackup(job) => format!("backup {}", job.name),
            Self::Reboot => "restart of the machine".to_owned(),
            Self::Activate(target) => format!("activation of {}", target.system),
            Self::Activation(step) => format!("activation of {}", step.1.target.system),
            Self::LoadFirewall(_) => "load of the baseline's ruleset".to_owned(),
            Self::UndoFirewall(_) => "return to the ruleset of before".to_owned(),
        }
    }

    /// The check whose findings it remedies.
    pub fn check(&self) -> CheckId {
        match self {
            Self::RestartUnit { check, .. } => *check,
            Self::RunBackup(_) => CheckId::Backups,
            Self::Reboot | Self::Activate(_) | Self::Activation(_) => CheckId::Patching,
            Self::LoadFirewall(_) | Self::UndoFirewall(_) => CheckId::Firewall,
        }
    }

    /// What it is done to.
    pub fn subject(&self) -> String {
        match self {
            Self::RestartUnit { unit, .. } => unit.to_string(),
            Self::RunBackup(job) => job.name.to_string(),
            Self::Reboot => "machine".to_owned(),
            Self::Activate(_) => patching::RUNNING.to_owned(),
            Self::Activation(step) => step.1.target.system.to_string(),
            Self::LoadFirewall(_) | Self::UndoFirewall(_) => RULESET.to_owned(),
        }
    }

    /// Whether it only prepares an activation: that may take hours, and is in nobody's way.
    pub fn prepares(&self) -> bool {
        let prepares = |action: &Action| matches!(action, Action::Realise | Action::Plan);
        matches!(self, Self::Activation(step) if prepares(&step.0))
    }

    /// Whether what was done must hold for a while before it counts.
    pub fn settles(&self) -> bool {
        matches!(self, Self::RestartUnit { .. })
    }

    /// Its steps, as a dry run shows them: none was taken.
    pub fn would(&self) -> Vec<ActionRecord> {
        let names: &[&str] = match self {
            Self::RestartUnit { .. } => &units::RESTART,
            Self::RunBackup(job) => units::backup(job),
            Self::LoadFirewall(_) => &firewall::LOAD,
            Self::UndoFirewall(_) => &firewall::UNDO,
            Self::Reboot => &units::REBOOT,
            Self::Activate(_) | Self::Activation(_) => &activation::STEPS,
        };
        let would = |name: &&str| ActionRecord {
            name: (*name).to_owned(),
            target: self.subject(),
            duration_ms: 0,
            result: StepResult::Would,
            output_sha256: Digest::of(b""),
            output_bytes: 0,
        };
        names.iter().map(would).collect()
    }
}

/// What an effect did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Performed {
    /// The steps taken, in order; after one that failed none follows.
    pub actions: Vec<ActionRecord>,
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// What a step of an activation brought to light.
    pub event: Option<Event>,
}

impl Performed {
    /// A step of an activation that left nothing but what it brought to light.
    fn step(event: Event) -> Self {
        Self { actions: Vec::new(), failure: None, event: Some(event) }
    }
}

/// What effects need.
#[derive(Debug, Clone)]
pub struct Tools {
    /// systemd's command line; `None` where there is no systemd.
    pub systemctl: Option<AbsPath>,
    /// What activations need; `None` where systems are not activated.
    pub switching: Option<Switching>,
    /// The unit that fills the sets of the ruleset, if any does.
    pub fills_sets: Option<UnitName>,
    /// Where it is kept how things were before, until they are known to be well.
    pub undo_dir: PathBuf,
}

/// Changes the host as `permit` says. `uptime` tells how long steps take.
pub fn perform(
    permit: Permit,
    host: &dyn Host,
    tools: &Tools,
    uptime: &dyn Fn() -> Span,
) -> Performed {
    let mut run = Run::new(host, uptime);
    let ended = match permit.into_effect() {
        Effect::RestartUnit { unit, max_runtime_s, .. } => {
            units::restart(&mut run, tools, &unit, max_runtime_s)
        }
        Effect::Reboot => units::reboot(&mut run, tools),
        Effect::Activate(_) => Err("an activation is done in steps".to_owned()),
        Effect::Activation(step) => {
            let (action, activation) = *step;
            let Some(tools) = &tools.switching else { return Performed::step(Event::Done) };
            return activation::carry_out(&action, &activation, tools, host, uptime);
        }
        Effect::RunBackup(job) => units::back_up(&mut run, tools, job),
        Effect::LoadFirewall(expected) => firewall::load(&mut run, tools, &expected),
        Effect::UndoFirewall(expected) => firewall::undo(&mut run, tools, &expected),
    };
    run.into_performed(ended)
}
