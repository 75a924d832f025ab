//! What the executor gets to see of the simulated machine.

use compliance_executor::activation::{
    Action, Changes, Class, DeadMan, Ended, Event, Facts, Health, Limits, Loader, Phase, Plan,
    Room, Sight,
};
use compliance_protocol::gate::{Gate, GateName};
use compliance_protocol::time::Span;

use super::bugs::Bug;
use super::machine::{DeadManState, Sys};
use super::run::Run;
use super::scenario::Fault;

impl Run<'_> {
    /// What the executor is told when an action has ended.
    pub(crate) fn outcome(&self, action: &Action, fault: Option<Fault>) -> Event {
        let failed = matches!(fault, Some(Fault::NoEffect | Fault::SlowAndNothing));
        let blind = fault == Some(Fault::Blind);
        match action {
            Action::Preflight => Event::Facts(Box::new(self.facts(blind))),
            Action::Realise if failed || self.machine.now < self.machine.disk_full_until => {
                Event::Realised(Err("no substituter has it".to_owned()))
            }
            Action::Realise if blind => Event::Realised(Ok(Sys::Other.path().clone())),
            Action::Realise => Event::Realised(Ok(Sys::Next.path().clone())),
            Action::Plan if failed => {
                Event::Planned(Plan::Cannot { reason: "check_failed", detail: String::new() })
            }
            Action::Plan => {
                let class = if self.scenario.reboot { Class::Reboot } else { Class::Live };
                Event::Planned(Plan::Can(class, Changes::default()))
            }
            Action::Decide(_) => {
                Event::Decided(if blind || failed { None } else { self.machine.decision })
            }
            Action::Look { health } => Event::Seen(Box::new(self.sight(*health, blind))),
            _ => Event::Done,
        }
    }

    fn sight(&self, health: bool, blind: bool) -> Sight {
        let machine = &self.machine;
        if blind {
            return Sight::default();
        }
        let believes = self.bug == Some(Bug::BelievesExitCode)
            && matches!(self.memory.phase, Phase::Testing { .. } | Phase::Proving(_));
        let running = if believes { Sys::Next } else { machine.running };
        Sight {
            running: Some(running.path().clone()),
            profile: Some(machine.profile.path().clone()),
            default: Some(machine.default.path().clone()),
            once: Some(machine.once.map(|once| once.path().clone())),
            switching: Some(machine.switch.is_some() || machine.now < machine.lock_until),
            deadman: Some(match machine.deadman {
                DeadManState::Absent if self.bug == Some(Bug::NoDeadMan) => DeadMan::Armed,
                DeadManState::Absent => DeadMan::Absent,
                DeadManState::Armed { .. } => DeadMan::Armed,
                DeadManState::AtWork { .. } => DeadMan::AtWork,
            }),
            ended: Some(match self.bug {
                Some(Bug::NoScript) => Some(Ended::Whole),
                Some(Bug::SilenceIsGood) => machine.note.or(Some(Ended::Whole)),
                _ => machine.note,
            }),
            decision: Some(machine.decision),
            health: health.then(|| if believes { Health::default() } else { machine.health() }),
        }
    }

    fn facts(&self, blind: bool) -> Facts {
        let now = self.machine.now;
        let left = self.scenario.window - now;
        let long_enough = left >= Limits::default().needed().as_millis();
        let window = match (self.clock_known, long_enough) {
            _ if self.bug == Some(Bug::NoWindow) => Gate::open(GateName::Window, ""),
            (false, _) => Gate::unknown(GateName::Window, "nobody knows the time"),
            (_, false) => Gate::closed(GateName::Window, "not for long enough", None),
            _ => Gate::open(GateName::Window, ""),
        };
        let needed = u64::from(now < self.machine.disk_full_until);
        Facts {
            gates: vec![window],
            sight: self.sight(true, blind),
            last_head: self.last_head.map(|at| Span::from_millis(now - at)),
            shutdown: Some(self.shutdown),
            other_deadman: Some(false),
            store: Some(Room { free: 0, needed }),
            boot: Some(Room { free: 0, needed }),
            loader: Loader::TriesOnce,
            pinned: Some(false),
        }
    }
}
