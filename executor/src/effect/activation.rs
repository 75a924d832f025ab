//! The steps of an activation, carried out: the commands, and what is seen of the machine afterwards.

use std::path::Path;
use std::time::Duration;

use compliance_checks::Host;
use compliance_checks::command::{Argv, Command, Output};
use compliance_protocol::name::StorePath;
use compliance_protocol::time::Span;

use super::Performed;
use super::bystanders::{self, deadman};
use super::realise::BY_DAEMON;
use super::steps::{Failed, OUTPUT_CAP, Run};
use crate::activation::{Action, Activation, Decision, Event, Facts, Phase, Which};
use crate::config::Switching;
use crate::decision;
use crate::switched::leaves_its_end;
use crate::undo::{Undoing, Way, switch};

/// What a dry run shows.
pub(super) const STEPS: [&str; 4] = ["realise", "switch_test", "set_profile", "install_boot"];

/// A command that only asks ends by then.
pub(super) const ASKING: Duration = Duration::from_secs(30);

/// The most that a look reads of a file.
pub(super) const READ: usize = 1024 * 1024;

/// Carries out one step.
pub(super) fn carry_out(
    action: &Action,
    activation: &Activation,
    switching: &Switching,
    host: &dyn Host,
    uptime: &dyn Fn() -> Span,
) -> Performed {
    let mut hands = Hands { activation, switching, host, run: Run::new(host, uptime) };
    let event = hands.carry_out(action);
    Performed { event: Some(event), ..hands.run.into_performed(Ok(())) }
}

/// What a step is carried out with, and what it did so far.
pub(super) struct Hands<'a> {
    pub(super) activation: &'a Activation,
    pub(super) switching: &'a Switching,
    pub(super) host: &'a dyn Host,
    run: Run<'a>,
}

impl Hands<'_> {
    fn carry_out(&mut self, action: &Action) -> Event {
        match action {
            Action::Preflight => return Event::Facts(Box::new(self.facts())),
            Action::Realise => return Event::Realised(self.realise()),
            Action::Plan => return Event::Planned(self.plan()),
            Action::Look { health } => return Event::Seen(Box::new(self.sight(*health))),
            Action::Decide(decision) => return Event::Decided(self.decide(*decision)),
            Action::Arm => self.arm(),
            Action::Disarm => {
                let timer = format!("{}.timer", deadman(self.activation.id));
                self.systemctl("disarm_deadman", &["stop", "--", &timer]);
            }
            Action::Test(which) => self.switch("switch_test", *which, "test"),
            Action::SetProfile(which) => {
                let path = self.meant(*which, |before| &before.profile);
                let tool = self.switching.nix_env.to_string();
                let profile = self.switching.profile.to_string();
                let argv = [tool.as_str(), "-p", &profile, "--set", path.as_str()];
                let argv = [&argv[..], &BY_DAEMON].concat();
                self.run("set_profile", path.as_str(), &argv, Duration::from_mins(2));
            }
            Action::InstallBoot(which) => {
                self.forget_guard();
                self.forget_trial();
                self.switch("install_boot", *which, "boot");
            }
            // Nobody's inhibitor keeps the machine from going back.
            Action::Reboot if matches!(self.activation.phase, Phase::Undoing(_)) => {
                self.systemctl("reboot", &["--check-inhibitors=no", "reboot"]);
            }
            Action::Reboot => self.systemctl("reboot", &["reboot"]),
            Action::TryOnce => self.try_once(),
            Action::ForgetOnce => self.forget_once(),
            Action::Wait { .. } | Action::End(_) => {}
        }
        Event::Done
    }

    fn meant(
        &self,
        which: Which,
        of: impl Fn(&crate::activation::Before) -> &StorePath,
    ) -> StorePath {
        let next = &self.activation.target.system;
        match which {
            Which::Before => self.activation.before.as_ref().map_or(next, of).clone(),
            Which::Next => next.clone(),
        }
    }

    pub(super) fn switch(&mut self, name: &'static str, which: Which, verb: &'static str) {
        let system = match verb {
            "boot" => self.meant(which, |before| &before.default),
            _ => self.meant(which, |before| &before.system),
        };
        let limit_s = self.activation.limits.switch_s;
        let Switching { systemd_run, helper, folder, .. } = self.switching;
        let leaves = || leaves_its_end(helper, folder, self.activation.id, &system);
        let way = match which {
            Which::Next => Way::Forward { last: (verb == "test").then(leaves) },
            Which::Before => Way::Back,
        };
        if let Some(command) = switch(systemd_run, &system, verb, limit_s, way) {
            self.take_step(name, system.as_str(), &command);
        }
    }

    /// A timer of PID 1, which runs the helper of the system that runs now.
    fn arm(&mut self) {
        let Some(undoing) = self.undoing() else { return };
        let unit = deadman(self.activation.id);
        let limits = self.activation.limits;
        let timer = [
            self.switching.systemd_run.to_string(),
            format!("--unit={unit}"),
            format!("--on-active={}s", limits.deadman_s),
            "--timer-property=AccuracySec=1s".to_owned(),
            // Or else a dead-man that failed stays a failed unit, which every later switch reports.
            "--collect".to_owned(),
            "--no-ask-password".to_owned(),
            "--quiet".to_owned(),
            self.switching.helper.to_string(),
            "undo".to_owned(),
        ];
        let parts: Vec<_> = timer.into_iter().chain(undoing.arguments()).collect();
        let argv: Vec<&str> = parts.iter().map(String::as_str).collect();
        self.run("arm_deadman", &unit, &argv, ASKING);
    }

    /// What the dead-man is armed with.
    pub(super) fn undoing(&self) -> Option<Undoing> {
        Some(Undoing {
            activation: self.activation.id,
            before: self.activation.before.clone()?.system,
            next: self.activation.target.system.clone(),
            class: self.activation.class,
            systemd_run: self.switching.systemd_run.clone(),
            systemctl: self.switching.systemctl.clone(),
            switch_s: self.activation.limits.switch_s,
            folder: self.switching.folder.clone(),
        })
    }

    fn decide(&self, decision: Decision) -> Option<Decision> {
        let folder = Path::new(self.switching.folder.as_str());
        let decided = decision::decide(folder, self.activation.id, decision);
        decided.inspect_err(|error| tracing::error!(%error, "the decision cannot be written")).ok()
    }

    /// How many seconds a preparation may take: so many, or until no time would be left for the rest.
    pub(super) fn may_prepare_s(&self, at_most: u64) -> u64 {
        let left = self.activation.left_to_prepare(self.run.now());
        left.map_or(at_most, |left| {
            u64::try_from(left.as_millis() / 1000).unwrap_or(0).min(at_most)
        })
    }

    pub(super) fn systemctl(&mut self, name: &'static str, arguments: &[&str]) {
        let tool = self.switching.systemctl.to_string();
        let argv: Vec<&str> =
            std::iter::once(tool.as_str()).chain(arguments.iter().copied()).collect();
        let target = arguments.last().copied().unwrap_or_default();
        self.run(name, target, &argv, ASKING);
    }

    /// Runs a command and takes it down; how it ended is for evidence only.
    pub(super) fn run(
        &mut self,
        name: &'static str,
        target: &str,
        argv: &[&str],
        limit: Duration,
    ) -> Option<Vec<u8>> {
        self.try_run(name, target, argv, limit).ok().map(|output| output.stdout)
    }

    /// As [`Hands::run`], with all that it printed; or how it failed, for what depends on that.
    pub(super) fn try_run(
        &mut self,
        name: &'static str,
        target: &str,
        argv: &[&str],
        limit: Duration,
    ) -> Result<Output, Failed> {
        let command = command(argv, limit).ok_or_else(|| format!("{argv:?} cannot be run"));
        let taken = self.run.try_step(name, target, command);
        taken.inspect_err(|failed| {
            tracing::warn!(name, why = failed.why, "a step of the activation failed");
        })
    }

    /// As [`Hands::run`], and only whether it went well.
    pub(super) fn take_step(
        &mut self,
        name: &'static str,
        target: &str,
        command: &Command,
    ) -> bool {
        let taken = self.run.step(name, target, Ok(command.clone()));
        taken
            .inspect_err(|why| tracing::warn!(name, why, "a step of the activation failed"))
            .is_ok()
    }

    /// Runs a command that only looks: it is no action.
    pub(super) fn ask(&self, argv: &[&str]) -> Option<Vec<u8>> {
        self.ask_within(argv, ASKING).map(|output| output.stdout)
    }

    /// The same for one that takes its time, with all that it prints.
    pub(super) fn ask_within(&self, argv: &[&str], limit: Duration) -> Option<Output> {
        let output = self.host.run(&command(argv, limit)?).ok()?;
        (output.code == Some(0)).then_some(output)
    }

    /// What the engine cannot know; its gates and the checks are added by it.
    fn facts(&mut self) -> Facts {
        Facts {
            gates: Vec::new(),
            sight: self.sight(true),
            last_head: None,
            shutdown: bystanders::is_shutdown_scheduled(self.host),
            other_deadman: bystanders::is_deadman_about(self.host, Some(self.activation.id)),
            store: self.store_room(),
            boot: self.boot_room(),
            loader: self.loader(),
            pinned: self.is_pinned(),
        }
    }
}

/// A command without input.
pub(super) fn command(argv: &[&str], limit: Duration) -> Option<Command> {
    let argv = argv.iter().map(|&part| part.to_owned()).collect::<Vec<_>>();
    let argv = Argv::try_from(argv).ok()?;
    Some(Command { argv, input: Vec::new(), limit, output_cap: OUTPUT_CAP })
}
