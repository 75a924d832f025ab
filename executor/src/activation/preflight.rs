//! Whether to begin: nothing that is not known counts as good.

use compliance_protocol::evidence::Outcome;
use compliance_protocol::gate::{Gate, GateName};
use compliance_protocol::time::Span;
use serde::{Deserialize, Serialize};

use super::{Activation, Before, Changes, Class, Ending, Phase, Sight};
use crate::gates;

/// A feed head must have been verified within this time, or else a lost connection would be blamed on the
/// new system.
const HEARD: Span = Span::from_secs(900);

/// What is known before anything is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The answers of the executor's own gates: clock, window, policy and so on.
    pub gates: Vec<Gate>,
    /// The machine, health included.
    pub sight: Sight,
    /// How long ago a feed head was verified, if one was in this boot.
    pub last_head: Option<Span>,
    /// Whether the machine is about to go down.
    pub shutdown: Option<bool>,
    /// Whether the dead-man of another activation is still about.
    pub other_deadman: Option<bool>,
    /// Room in the store.
    pub store: Option<Room>,
    /// Room for what boots.
    pub boot: Option<Room>,
    /// What the boot loader can do.
    pub loader: Loader,
    /// Whether somebody pinned what it starts by default.
    pub pinned: Option<bool>,
}

/// Room on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// Bytes that are free.
    pub free: u64,
    /// Bytes that are needed.
    pub needed: u64,
}

/// What the boot loader can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loader {
    /// Start a system once, and the default again after that.
    TriesOnce,
    /// Not that; or nobody knows.
    DefaultOnly,
}

/// What the new system says it would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// It can be switched to in this way, which would change these units.
    Can(Class, Changes),
    /// Somebody else began to switch the system, so it could not be asked.
    Busy,
    /// It cannot be switched to, or it would be a mistake.
    Cannot {
        /// Why, for machines.
        reason: &'static str,
        /// Why, for people.
        detail: String,
    },
}

/// What the facts come to.
pub(super) enum Readiness {
    Ready(Box<Before>),
    Over(Ending),
}

/// Whether `activation` can go on, and if so how things are before it.
pub(super) fn judge(activation: &Activation, facts: Facts, now: Span) -> Readiness {
    let mut gates = facts.gates;
    gates.push(switch(&facts.sight, facts.other_deadman));
    gates.push(shutdown(facts.shutdown));
    gates.push(heard(facts.last_head));
    gates.push(space("the store", facts.store));
    gates.push(space("what boots", facts.boot));
    if !gates.iter().all(Gate::is_open) {
        return Readiness::Over(deferred(gates));
    }
    if facts.pinned != Some(false) {
        let detail = "what boots by default is pinned in the firmware (LoaderEntryDefault), so that no new system could: `bootctl set-default ''` takes the pin out";
        return Readiness::Over(Ending::new(Outcome::Rejected, "boot_default_pinned", detail));
    }
    if activation.class == Class::Reboot && facts.loader != Loader::TriesOnce {
        let detail = "this system has to be booted, and the boot loader cannot try one once";
        return Readiness::Over(Ending::new(Outcome::Rejected, "loader_cannot_try_once", detail));
    }
    let late = has_taken_too_long(activation, now).filter(|_| activation.phase == Phase::Ready);
    if let Some(ending) = late {
        return Readiness::Over(ending);
    }
    let Sight {
        running: Some(system), profile: Some(profile), default: Some(default), health, ..
    } = facts.sight
    else {
        return Readiness::Over(deferred(gates));
    };
    let next = &activation.target.system;
    if [&system, &profile, &default].iter().all(|it| *it == next) {
        let detail = format!("{next} runs already, and is what boots");
        return Readiness::Over(Ending::new(Outcome::Success, "already_active", detail));
    }
    if activation.class == Class::Reboot && (system != default || system == *next) {
        let why = "what runs is not what boots by default, so that no restart would go back to it";
        gates.push(Gate::closed(GateName::Switch, why, None));
        return Readiness::Over(deferred(gates));
    }
    let Some(health) = health else { return Readiness::Over(deferred(gates)) };
    Readiness::Ready(Box::new(Before { system, profile, default, health }))
}

/// Fetching may have used up the time that it was allowed: what is begun must have enough for an undo. A later
/// window is no help then, only an order that allows more.
pub(super) fn has_taken_too_long(activation: &Activation, now: Span) -> Option<Ending> {
    if activation.left_to_prepare(now)? >= Span::ZERO {
        return None;
    }
    let needed = activation.needed();
    let detail = format!(
        "fetching took its part of max_runtime_s, and the {needed} that the rest may take are not within it any more; what was fetched is kept: order it again, with more"
    );
    Some(Ending::new(Outcome::Failed, "max_runtime", detail))
}

/// Not now, because somebody else began to switch.
pub(super) fn busy_switching() -> Ending {
    deferred(vec![Gate::closed(GateName::Switch, "somebody is switching the system", None)])
}

/// Not now, because of the gates that are not open.
pub(super) fn deferred(gates: Vec<Gate>) -> Ending {
    let closed = gates.iter().filter(|gate| !gate.is_open()).map(|gate| gate.why.as_str());
    let detail = closed.collect::<Vec<_>>().join("; ");
    let retry_after = gates::opens(&gates);
    let reason = gates::hold_reason(&gates);
    Ending { gates, retry_after, ..Ending::new(Outcome::Deferred, reason, detail) }
}

/// Whether nobody else is at it, and all can be seen that has to be judged later.
fn switch(sight: &Sight, other_deadman: Option<bool>) -> Gate {
    let unknown = |what: &str| Gate::unknown(GateName::Switch, format!("{what} cannot be seen"));
    match nobody_switches(sight.switching, other_deadman) {
        gate if !gate.is_open() => gate,
        _ if sight.running.is_none() => unknown("which system runs"),
        _ if sight.profile.is_none() => unknown("which system the profile names"),
        _ if sight.default.is_none() => unknown("which system boots by default"),
        _ if sight.health.is_none() => unknown("what is wrong already"),
        gate => gate,
    }
}

/// Whether nobody else is switching the system, or is about to.
pub(crate) fn nobody_switches(switching: Option<bool>, deadman: Option<bool>) -> Gate {
    let unknown = |what: &str| Gate::unknown(GateName::Switch, format!("{what} cannot be seen"));
    let closed = |why: &str| Gate::closed(GateName::Switch, why, None);
    match (switching, deadman) {
        (None, _) => unknown("whether somebody is switching the system"),
        (_, None) => unknown("whether an earlier activation is still being undone"),
        (Some(true), _) => closed("somebody is switching the system"),
        (_, Some(true)) => closed("the dead-man of an earlier activation is still about"),
        (Some(false), Some(false)) => {
            Gate::open(GateName::Switch, "nobody is switching the system")
        }
    }
}

/// Whether the machine is not about to go down.
pub(crate) fn shutdown(shutdown: Option<bool>) -> Gate {
    match shutdown {
        None => Gate::unknown(GateName::Shutdown, "whether a shutdown is scheduled is not known"),
        Some(true) => Gate::closed(GateName::Shutdown, "a shutdown is scheduled", None),
        Some(false) => Gate::open(GateName::Shutdown, "no shutdown is scheduled"),
    }
}

fn heard(last_head: Option<Span>) -> Gate {
    match last_head {
        Some(age) if age <= HEARD => {
            Gate::open(GateName::Head, format!("a feed head was verified {age} ago"))
        }
        Some(age) => {
            let why = format!("the last feed head was verified {age} ago, which is over {HEARD}");
            Gate::closed(GateName::Head, why, None)
        }
        None => {
            Gate::closed(GateName::Head, "no feed head was verified since the machine booted", None)
        }
    }
}

fn space(place: &str, room: Option<Room>) -> Gate {
    match room {
        None => Gate::unknown(
            GateName::Space,
            format!("how much room {place} has and needs is not known"),
        ),
        Some(Room { free, needed }) if free < needed => {
            let why = format!("{place} needs {needed} bytes and has {free}");
            Gate::closed(GateName::Space, why, None)
        }
        Some(_) => Gate::open(GateName::Space, format!("{place} has room")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::{Health, Limits, Target};
    use compliance_protocol::name::{Id, StorePath};
    use compliance_protocol::time::Timestamp;

    fn system(name: &str) -> StorePath {
        format!("/nix/store/0123456789abcdfghijklmnpqrsvwxyz-{name}").parse().unwrap()
    }

    fn activation() -> Activation {
        let (nar_hash, flake, baseline_sha256) = (None, None, None);
        let target = Target { system: system("next"), nar_hash, flake, baseline_sha256 };
        let id = Id::new(Timestamp::from_millis(0), [1; 10]);
        Activation::new(id, target, Limits::default(), Span::ZERO)
    }

    fn facts() -> Facts {
        Facts {
            gates: vec![Gate::open(GateName::Window, "")],
            sight: Sight {
                running: Some(system("old")),
                profile: Some(system("old")),
                default: Some(system("old")),
                switching: Some(false),
                health: Some(Health::default()),
                ..Sight::default()
            },
            last_head: Some(Span::from_secs(900)),
            shutdown: Some(false),
            other_deadman: Some(false),
            store: Some(Room { free: 2, needed: 2 }),
            boot: Some(Room { free: 2, needed: 2 }),
            loader: Loader::DefaultOnly,
            pinned: Some(false),
        }
    }

    fn ending(class: Class, change: impl FnOnce(&mut Facts)) -> Option<(Outcome, String)> {
        let mut facts = facts();
        change(&mut facts);
        match judge(&Activation { class, ..activation() }, facts, Span::ZERO) {
            Readiness::Over(ending) => Some((ending.outcome, ending.reason)),
            Readiness::Ready(before) => {
                assert_eq!((&before.system, &before.default), (&system("old"), &system("old")));
                None
            }
        }
    }

    #[test]
    fn whatever_is_not_as_it_should_be_or_not_known_defers_it_with_its_reason() {
        type Change = fn(&mut Facts);
        let cases: [(&str, &[Change]); 6] = [
            ("outside_window", &[|f| f.gates = vec![Gate::closed(GateName::Window, "", None)]]),
            (
                "somebody_switches",
                &[
                    |f| f.sight.switching = Some(true),
                    |f| f.sight.switching = None,
                    |f| f.sight.running = None,
                    |f| f.sight.profile = None,
                    |f| f.sight.default = None,
                    |f| f.sight.health = None,
                    |f| f.other_deadman = Some(true),
                    |f| f.other_deadman = None,
                ],
            ),
            ("shutdown_scheduled", &[|f| f.shutdown = Some(true), |f| f.shutdown = None]),
            (
                "not_connected",
                &[|f| f.last_head = None, |f| f.last_head = Some(Span::from_millis(900_001))],
            ),
            ("no_space", &[|f| f.store = None, |f| f.store = Some(Room { free: 1, needed: 2 })]),
            ("no_space", &[|f| f.boot = None, |f| f.boot = Some(Room { free: 1, needed: 2 })]),
        ];
        assert_eq!(ending(Class::Live, |_| ()), None);
        for (reason, changes) in cases {
            for change in changes {
                let expected = Some((Outcome::Deferred, reason.to_owned()));
                assert_eq!(ending(Class::Live, change), expected);
            }
        }
    }

    #[test]
    fn a_system_that_has_to_be_booted_needs_a_loader_that_can_try_once() {
        let rejected = Some((Outcome::Rejected, "loader_cannot_try_once".to_owned()));
        assert_eq!(ending(Class::Reboot, |_| ()), rejected);
        assert_eq!(ending(Class::Reboot, |facts| facts.loader = Loader::TriesOnce), None);
    }

    #[test]
    fn a_pinned_default_is_not_fought() {
        let pinned = Some((Outcome::Rejected, "boot_default_pinned".to_owned()));
        for seen in [Some(true), None] {
            assert_eq!(ending(Class::Live, |facts| facts.pinned = seen), pinned);
        }
    }

    #[test]
    fn a_system_is_booted_on_trial_only_where_a_restart_would_go_back() {
        let held = Some((Outcome::Deferred, "somebody_switches".to_owned()));
        for (running, default) in [("old", "next"), ("next", "next"), ("other", "old")] {
            let ended = ending(Class::Reboot, |facts| {
                facts.loader = Loader::TriesOnce;
                facts.sight.running = Some(system(running));
                facts.sight.default = Some(system(default));
            });
            assert_eq!(ended, held, "{running} runs and {default} boots");
        }
    }

    #[test]
    fn what_runs_and_boots_already_is_not_activated_again() {
        let everywhere = |facts: &mut Facts| {
            let next = Some(system("next"));
            (facts.sight.running, facts.sight.profile) = (next.clone(), next.clone());
            facts.sight.default = next;
        };
        let already = Some((Outcome::Success, "already_active".to_owned()));
        assert_eq!(ending(Class::Live, everywhere), already);
    }

    #[test]
    fn when_it_is_here_there_must_be_time_left_for_an_undo() {
        let needed = Limits::default().needed();
        let reason = |phase: Phase, left: Span| {
            let finish_by = Some(left);
            let activation = Activation { finish_by, phase, ..activation() };
            match judge(&activation, facts(), Span::ZERO) {
                Readiness::Over(ending) => Some((ending.outcome, ending.reason)),
                Readiness::Ready(_) => None,
            }
        };
        let short = Span::from_millis(needed.as_millis() - 1);
        let over = Some((Outcome::Failed, "max_runtime".to_owned()));
        assert_eq!(reason(Phase::Ready, short), over);
        assert_eq!(reason(Phase::Ready, needed), None);
        assert_eq!(reason(Phase::Preflight, short), None, "it was asked when it was ordered");
    }
}
