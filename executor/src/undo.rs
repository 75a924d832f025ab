//! `compliance-executor undo`: what the dead-man runs. It needs no ledger, no configuration and no network:
//! it reads the decision, and goes back to the system that it was armed with. Where that cannot be done while
//! the machine runs, it restarts the machine: what boots was never unproven.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use compliance_checks::Host;
use compliance_checks::command::{Argv, Command};
use compliance_protocol::name::{AbsPath, Id, StorePath};
use compliance_protocol::time::Span;

use crate::activation::{Class, DeadManVerdict, Decision, deadman_patience, deadman_verdict};
use crate::decision::decide;
use crate::effect::is_switching;

/// What the dead-man was armed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undoing {
    /// The activation.
    pub activation: Id,
    /// What ran before it.
    pub before: StorePath,
    /// What was activated.
    pub next: StorePath,
    /// How the machine came to run it, and so how it is undone.
    pub class: Class,
    /// `systemd-run`, from the old closure.
    pub systemd_run: AbsPath,
    /// `systemctl`, from the old closure.
    pub systemctl: AbsPath,
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
        fn text<'a>(arguments: &'a [String], name: &str) -> Option<&'a str> {
            let mut given =
                arguments.iter().filter_map(|it| it.strip_prefix("--")?.split_once('='));
            given.find(|(key, _)| *key == name).map(|(_, value)| value)
        }
        fn value<T: FromStr>(arguments: &[String], name: &'static str) -> Result<T, Unusable> {
            text(arguments, name).and_then(|text| text.parse().ok()).ok_or(Unusable(name))
        }
        let class = text(arguments, "class").and_then(Class::from_word);
        Ok(Self {
            activation: value(arguments, "activation")?,
            before: value(arguments, "before")?,
            next: value(arguments, "next")?,
            class: class.ok_or(Unusable("class"))?,
            systemd_run: value(arguments, "systemd-run")?,
            systemctl: value(arguments, "systemctl")?,
            switch_s: value(arguments, "switch-s")?,
            folder: value(arguments, "folder")?,
        })
    }

    /// As arguments of `compliance-executor undo`.
    pub fn arguments(&self) -> [String; 8] {
        [
            format!("--activation={}", self.activation),
            format!("--before={}", self.before),
            format!("--next={}", self.next),
            format!("--class={}", self.class.word()),
            format!("--systemd-run={}", self.systemd_run),
            format!("--systemctl={}", self.systemctl),
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
    /// It could not be done, nor did the machine go down when it was to restart.
    Failed,
}

/// Between two attempts.
const AGAIN: Duration = Duration::from_secs(10);

/// A decision that can be neither written nor read so often is not waited for longer: nobody else can have
/// decided either.
const UNDECIDED: u32 = 3;

/// To tell systemd something takes this long at most.
const ASKING: Duration = Duration::from_secs(30);

/// A machine that was told to restart goes down within this time.
const GOES_DOWN: Duration = Duration::from_mins(5);

/// The system before runs after so many switches to it that were not killed: it is back, and what they end with
/// was so before, too. A switch that was killed is told from others by its code, which is 1.
const ENOUGH: u32 = 2;
const KILLED: i32 = 1;

/// Goes back, unless it is decided that the new system stays. `wait` lets time pass, as `uptime` tells.
pub fn undo(
    order: &Undoing,
    host: &dyn Host,
    uptime: &dyn Fn() -> Span,
    wait: &mut dyn FnMut(Duration),
) -> Undone {
    let patience = uptime().plus(deadman_patience(Span::from_secs(order.switch_s.into())));
    let (mut undecided, mut back) = (0, 0);
    while uptime() < patience {
        let decision = match decide(folder(order), order.activation, Decision::Undo) {
            Ok(decision) => Some(decision),
            Err(error) => {
                undecided += 1;
                tracing::error!(%error, "the decision to undo cannot be written");
                (undecided >= UNDECIDED).then_some(Decision::Undo)
            }
        };
        let running = running_system(host);
        match deadman_verdict(decision, running.as_ref(), &order.before, &order.next) {
            DeadManVerdict::Leave => return Undone::Left,
            DeadManVerdict::Undo if order.class == Class::Reboot => {
                if running.as_ref() == Some(&order.before) {
                    return Undone::Back;
                }
                // Somebody may be switching to a third system just now.
                if is_switching(host) == Some(false) {
                    break;
                }
            }
            DeadManVerdict::Undo => {
                let ended = goes_back(order, host);
                back += u32::from(ended.is_some_and(|code| code != KILLED));
                if matches!(ended, Some(0 | 4)) || back >= ENOUGH {
                    return Undone::Back;
                }
            }
            DeadManVerdict::Again => {}
        }
        wait(AGAIN);
    }
    restart(order, host, wait)
}

fn folder(order: &Undoing) -> &Path {
    Path::new(order.folder.as_str())
}

/// Switches to the system before; what that ended with, if it runs then. The unit's name is the lock: while
/// anybody switches, this is refused, and tried again.
fn goes_back(order: &Undoing, host: &dyn Host) -> Option<i32> {
    if is_switching(host) == Some(true) {
        return None;
    }
    let test = switch(&order.systemd_run, &order.before, "test", order.switch_s, Way::Back)?;
    let code = host.run(&test).ok()?.code?;
    (running_system(host).as_ref() == Some(&order.before)).then_some(code)
}

/// Restarts the machine, the harder the longer it stays up.
fn restart(order: &Undoing, host: &dyn Host, wait: &mut dyn FnMut(Duration)) -> Undone {
    let harder: [&[&str]; 3] = [&["--check-inhibitors=no"], &["--force"], &["--force", "--force"]];
    for how in harder {
        tracing::error!(?how, "the machine is restarted, into what ran before");
        let argv = [&[order.systemctl.as_str(), "reboot"], how].concat();
        let argv = Argv::try_from(argv.into_iter().map(str::to_owned).collect::<Vec<_>>());
        if let Ok(argv) = argv {
            // How it ended says nothing; a machine that goes down ends us.
            let _ =
                host.run(&Command { argv, input: Vec::new(), limit: ASKING, output_cap: 65_536 });
        }
        wait(GOES_DOWN);
    }
    Undone::Failed
}

fn running_system(host: &dyn Host) -> Option<StorePath> {
    system_at(host, "/run/current-system")
}

/// The system that the link at `path` leads to.
pub fn system_at(host: &dyn Host, path: &str) -> Option<StorePath> {
    host.resolve(&path.parse().ok()?).ok()?.as_str().parse().ok()
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
        // A switch that does not heed the end of its time is not asked twice: it would go on past our patience,
        // and into the dead-man.
        "--property=KillSignal=SIGKILL",
        // What runs after it may take as long as an activation script does.
        "--property=TimeoutStopSec=130",
        "--setenv=NIXOS_INSTALL_BOOTLOADER=0",
    ];
    let parts = unit.into_iter().chain(of_the_way.as_deref()).chain([program.as_str(), verb]);
    let argv = Argv::try_from(parts.map(str::to_owned).collect::<Vec<_>>()).ok()?;
    // systemd ends the unit; the slack is for its telling us.
    let limit = Duration::from_secs(u64::from(limit_s) + 60);
    Some(Command { argv, input: Vec::new(), limit, output_cap: 1024 * 1024 })
}
