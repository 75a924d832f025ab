//! `compliance-executor undo`: what the dead-man runs. It needs no ledger, no configuration and no network:
//! it reads the decision, and goes back to the system that it was armed with.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use compliance_checks::Host;
use compliance_checks::command::{Argv, Command};
use compliance_protocol::name::{AbsPath, Id, StorePath};

use crate::activation::{DeadManVerdict, Decision, deadman_verdict};
use crate::decision::decide;

/// What the dead-man was armed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undoing {
    /// The activation.
    pub activation: Id,
    /// What ran before it.
    pub before: StorePath,
    /// What was activated.
    pub next: StorePath,
    /// `systemd-run`, from the old closure.
    pub systemd_run: AbsPath,
    /// How long one switch may take, in seconds.
    pub switch_s: u32,
    /// Where the decision is.
    pub folder: AbsPath,
}

/// The dead-man was armed with arguments that it cannot use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("undo needs --{0}=VALUE: it is what the dead-man of an activation runs")]
pub struct Unusable(&'static str);

impl Undoing {
    /// Reads what [`Undoing::arguments`] wrote.
    pub fn parse(arguments: &[String]) -> Result<Self, Unusable> {
        fn value<T: FromStr>(arguments: &[String], name: &'static str) -> Result<T, Unusable> {
            let is = |argument: &&String| {
                argument
                    .strip_prefix("--")
                    .and_then(|rest| rest.split_once('='))
                    .is_some_and(|(key, _)| key == name)
            };
            let given = arguments.iter().find(is).and_then(|argument| argument.split_once('='));
            given.and_then(|(_, text)| text.parse().ok()).ok_or(Unusable(name))
        }
        Ok(Self {
            activation: value(arguments, "activation")?,
            before: value(arguments, "before")?,
            next: value(arguments, "next")?,
            systemd_run: value(arguments, "systemd-run")?,
            switch_s: value(arguments, "switch-s")?,
            folder: value(arguments, "folder")?,
        })
    }

    /// As arguments of `compliance-executor undo`.
    pub fn arguments(&self) -> [String; 6] {
        [
            format!("--activation={}", self.activation),
            format!("--before={}", self.before),
            format!("--next={}", self.next),
            format!("--systemd-run={}", self.systemd_run),
            format!("--switch-s={}", self.switch_s),
            format!("--folder={}", self.folder),
        ]
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undone {
    /// The system before runs again.
    Back,
    /// There was nothing to undo: the new system is proven, or somebody switched to a third one.
    Left,
    /// It could not be done in all attempts; what boots is unchanged.
    Failed,
}

/// So often is it tried; with [`AGAIN`] between, that outlasts a switch which is under way.
const ATTEMPTS: u32 = 120;

/// Between two attempts.
const AGAIN: Duration = Duration::from_secs(10);

/// Goes back, unless it is decided that the new system stays. `wait` lets time pass.
pub fn undo(order: &Undoing, host: &dyn Host, wait: &mut dyn FnMut(Duration)) -> Undone {
    let folder = Path::new(order.folder.as_str());
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            wait(AGAIN);
        }
        let decision = decide(folder, order.activation, Decision::Undo).ok();
        let running = running_system(host);
        match deadman_verdict(decision, running.as_ref(), &order.before, &order.next) {
            DeadManVerdict::Leave => return Undone::Left,
            DeadManVerdict::Again => continue,
            DeadManVerdict::Undo => {}
        }
        // The unit's name is the lock: while anybody switches, this is refused, and tried again.
        let ended = test(order).and_then(|test| host.run(&test).ok());
        let well = ended.is_some_and(|output| matches!(output.code, Some(0 | 4)));
        if well && running_system(host).as_ref() == Some(&order.before) {
            return Undone::Back;
        }
    }
    Undone::Failed
}

fn running_system(host: &dyn Host) -> Option<StorePath> {
    let link = "/run/current-system".parse().ok()?;
    host.resolve(&link).ok()?.as_str().parse().ok()
}

fn test(order: &Undoing) -> Option<Command> {
    switch(&order.systemd_run, &order.before, "test", order.switch_s, Way::Back)
}

/// Which way a switch goes.
pub(crate) enum Way {
    /// To the new system; the unit runs `last` when it has ended.
    Forward { last: Option<String> },
    /// To the one of before. Its own checks before a switch have no say: what they find wrong is what it goes
    /// back from.
    Back,
}

/// A switch in the transient unit that `nixos-rebuild` uses, too, so that only one is ever under way; waited
/// for to its end.
pub(crate) fn switch(
    systemd_run: &AbsPath,
    system: &StorePath,
    verb: &str,
    limit_s: u32,
    way: Way,
) -> Option<Command> {
    let of_the_way = match way {
        Way::Forward { last } => last.map(|last| format!("--property=ExecStopPost={last}")),
        Way::Back => Some("--setenv=NIXOS_NO_CHECK=1".to_owned()),
    };
    let program = format!("{system}/bin/switch-to-configuration");
    let limit = format!("--property=RuntimeMaxSec={limit_s}");
    let unit = [
        systemd_run.as_str(),
        "--unit=nixos-rebuild-switch-to-configuration",
        "--service-type=exec",
        "--wait",
        "--collect",
        "--no-ask-password",
        "--quiet",
        &limit,
        // A switch that does not heed the end of its time would go on for systemd's usual 90 s: past our
        // patience, and into the dead-man.
        "--property=TimeoutStopSec=10",
        "--setenv=NIXOS_INSTALL_BOOTLOADER=0",
    ];
    let parts = unit.into_iter().chain(of_the_way.as_deref()).chain([program.as_str(), verb]);
    let argv = Argv::try_from(parts.map(str::to_owned).collect::<Vec<_>>()).ok()?;
    // systemd ends the unit; the slack is for its telling us.
    let limit = Duration::from_secs(u64::from(limit_s) + 60);
    Some(Command { argv, input: Vec::new(), limit, output_cap: 1024 * 1024 })
}
