//! A machine with two systems: its links, its switch, its dead-man, its power. It knows nothing of the state
//! machine that acts on it.

use std::sync::LazyLock;

use compliance_executor::activation::{
    DeadManVerdict, Decision, Ended, Health, deadman_patience, deadman_verdict,
};
use compliance_protocol::name::StorePath;
use compliance_protocol::time::Span;

use super::bugs::Bug;
use super::scenario::{Behaviour, ByHand, HOUR, MINUTE, Rng, SECOND, Scenario};

/// One system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sys {
    Old,
    Next,
    Other,
}

static PATHS: LazyLock<[StorePath; 3]> = LazyLock::new(|| {
    ["old", "next", "other"]
        .map(|name| format!("/nix/store/0123456789abcdfghijklmnpqrsvwxyz-{name}").parse().unwrap())
});

impl Sys {
    pub(crate) fn of(path: &StorePath) -> Self {
        [Self::Old, Self::Next, Self::Other].into_iter().find(|it| it.path() == path).unwrap()
    }

    pub(crate) fn path(self) -> &'static StorePath {
        &PATHS[self as usize]
    }
}

/// How long after a trial boot the guard acts: the dead-man's delay, and ten minutes.
const GUARD: i64 = 35 * MINUTE;

/// Who switches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Executor,
    DeadMan,
    Hand,
}

/// A switch under way: `nixos-rebuild-switch-to-configuration`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Switch {
    pub(crate) by: By,
    pub(crate) to: Sys,
    flips_at: Option<i64>,
    ends_at: i64,
    whole: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeadManState {
    Absent,
    Armed { fires_at: i64 },
    AtWork { again_at: Option<i64>, gives_up: i64, undecided: u8 },
}

#[derive(Debug, Clone, Copy)]
struct Hand {
    what: ByHand,
    at: i64,
    give_up: i64,
    began: bool,
}

/// Something that the executor hears of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noise {
    /// A switch by it has ended.
    SwitchEnded,
    /// The switch restarts it.
    ExecutorRestarts,
    /// The machine has gone down.
    Down,
}

pub(crate) struct Machine {
    pub(crate) now: i64,
    /// Off until then.
    pub(crate) off_until: Option<i64>,
    pub(crate) booted_at: i64,
    pub(crate) boot: u32,
    pub(crate) running: Sys,
    pub(crate) profile: Sys,
    pub(crate) default: Sys,
    pub(crate) once: Option<Sys>,
    /// The system whose units all run as they should.
    pub(crate) whole: Option<Sys>,
    /// Since when it is that.
    pub(crate) whole_since: i64,
    pub(crate) switch: Option<Switch>,
    pub(crate) deadman: DeadManState,
    /// What the dead-man goes back to.
    pub(crate) back_to: Sys,
    pub(crate) decision: Option<Decision>,
    /// How our switch to the new system ended, on record in memory.
    pub(crate) note: Option<Ended>,
    /// Nothing can be written in memory until then: no decision, and not how a switch ended.
    pub(crate) memory_full_until: i64,
    pub(crate) lock_until: i64,
    pub(crate) disk_full_until: i64,
    /// What somebody switched to at the shell.
    pub(crate) by_hand: [bool; 3],
    /// The next switch of ours does nothing useful.
    pub(crate) botch_switch: bool,
    pub(crate) switch_limit: i64,
    /// What is wrong with the dead-man, on purpose.
    pub(crate) bug: Option<Bug>,
    hand: Option<Hand>,
    behaviour: Behaviour,
    reboot: bool,
    panics_at: Option<i64>,
    /// The guard of a trial boot acts then.
    guard_at: Option<i64>,
    /// The guard has something to take up at the next boot.
    pub(crate) guard_left: bool,
    rng: Rng,
}

impl Machine {
    pub(crate) fn new(scenario: &Scenario, switch_limit: i64) -> Self {
        Self {
            now: 0,
            off_until: None,
            booted_at: -HOUR,
            boot: 1,
            running: Sys::Old,
            profile: Sys::Old,
            default: Sys::Old,
            once: None,
            whole: Some(Sys::Old),
            whole_since: -HOUR,
            switch: None,
            deadman: DeadManState::Absent,
            back_to: Sys::Old,
            decision: None,
            note: None,
            memory_full_until: 0,
            lock_until: 0,
            disk_full_until: 0,
            by_hand: [false; 3],
            botch_switch: false,
            switch_limit,
            bug: None,
            hand: None,
            behaviour: scenario.behaviour,
            reboot: scenario.reboot,
            panics_at: None,
            guard_at: None,
            guard_left: false,
            rng: Rng::new(scenario.seed),
        }
    }

    pub(crate) fn below(&mut self, n: i64) -> i64 {
        self.rng.below(n)
    }

    /// When something happens next by itself.
    pub(crate) fn next_at(&self) -> Option<i64> {
        if let Some(until) = self.off_until {
            return Some(until);
        }
        let switch = self.switch.map(|s| s.flips_at.unwrap_or(s.ends_at));
        let deadman = match self.deadman {
            DeadManState::Absent => None,
            DeadManState::Armed { fires_at } => Some(fires_at),
            DeadManState::AtWork { again_at, .. } => again_at,
        };
        let hand = self.hand.filter(|hand| !hand.began).map(|hand| hand.at);
        [switch, deadman, hand, self.panics_at, self.guard_at].into_iter().flatten().min()
    }

    /// Lets happen what is due.
    pub(crate) fn happen(&mut self) -> Option<Noise> {
        let now = self.now;
        if let Some(until) = self.off_until {
            if now >= until {
                self.come_up();
            }
            return None;
        }
        if self.panics_at.is_some_and(|at| now >= at) {
            self.behaviour = Behaviour::Good;
            self.go_down(20 * SECOND);
            return Some(Noise::Down);
        }
        if let Some(switch) = self.switch.filter(|s| now >= s.flips_at.unwrap_or(s.ends_at)) {
            return self.advance(switch);
        }
        if self.guard_at.take_if(|at| now >= *at).is_some() {
            let decision = *self.decision.get_or_insert(Decision::Undo);
            if decision == Decision::Undo && self.running == Sys::Next {
                self.go_down(MINUTE);
                return Some(Noise::Down);
            }
        }
        match self.deadman {
            DeadManState::Armed { fires_at } if now >= fires_at => return self.dead_man(),
            DeadManState::AtWork { again_at: Some(at), .. } if now >= at => return self.dead_man(),
            _ => {}
        }
        if let Some(hand) = self.hand.filter(|hand| !hand.began && now >= hand.at) {
            self.type_on(hand);
        }
        None
    }

    /// Whether nothing is under way any more.
    pub(crate) fn is_quiet(&self) -> bool {
        self.off_until.is_none()
            && self.switch.is_none()
            && self.deadman == DeadManState::Absent
            && self.hand.is_none()
            && self.panics_at.is_none()
            && self.guard_at.is_none()
    }

    /// Begins a switch, unless one is under way.
    pub(crate) fn begin_switch(&mut self, by: By, to: Sys) -> bool {
        if self.switch.is_some() || self.now < self.lock_until {
            return false;
        }
        let flips = self.now + 2 * SECOND + self.rng.below(15 * SECOND);
        let ends = flips + SECOND + self.rng.below(20 * SECOND);
        let limit = self.now + self.switch_limit;
        let botched = by == By::Executor && std::mem::take(&mut self.botch_switch);
        let (flips_at, ends_at, whole) = match (to, self.behaviour) {
            _ if botched => (None, ends, false),
            (Sys::Next, Behaviour::NeverRuns) => (None, ends, false),
            (Sys::Next, Behaviour::HangsBefore) => (None, limit, false),
            (Sys::Next, Behaviour::HangsAfter) => (Some(flips), limit, false),
            (Sys::Next, Behaviour::UnitFails | Behaviour::NoWayBack) => (Some(flips), ends, false),
            (Sys::Old, Behaviour::NoWayBack) if self.running == Sys::Next => (None, ends, false),
            _ => (Some(flips), ends, true),
        };
        self.whole = None;
        self.switch = Some(Switch { by, to, flips_at, ends_at, whole });
        true
    }

    /// The power fails, or the machine restarts: it is back after so long.
    pub(crate) fn go_down(&mut self, back_after: i64) {
        self.off_until = Some(self.now + back_after);
        self.switch = None;
        self.deadman = DeadManState::Absent;
        self.decision = None;
        self.note = None;
        self.whole = None;
        self.hand = None;
        self.panics_at = None;
        self.guard_at = None;
    }

    fn come_up(&mut self) {
        self.off_until = None;
        self.boot += 1;
        self.booted_at = self.now;
        self.running = self.once.take().unwrap_or(self.default);
        let broken = matches!(self.behaviour, Behaviour::NeverRuns | Behaviour::HangsBefore);
        if self.running == Sys::Next && broken {
            // It hangs at boot; somebody or a watchdog restarts it, and whoever chose it puts that right.
            self.go_down(10 * MINUTE);
            if self.by_hand[Sys::Next as usize] {
                self.put_right();
            }
            return;
        }
        if std::mem::take(&mut self.guard_left) && self.bug != Some(Bug::NoGuard) {
            self.guard_at = Some(self.now + GUARD);
        }
        self.came_to(self.running, true);
    }

    /// From here on, the new system is well.
    pub(crate) fn put_right(&mut self) {
        self.behaviour = Behaviour::Good;
    }

    fn came_to(&mut self, system: Sys, whole: bool) {
        let fails = matches!(self.behaviour, Behaviour::UnitFails | Behaviour::NoWayBack);
        let fails = fails && system == Sys::Next;
        self.whole = (whole && !fails).then_some(system);
        self.whole_since = self.now;
        if let (Sys::Next, Behaviour::Panics(after)) = (system, self.behaviour) {
            self.panics_at = Some(self.now + after);
        } else if system != Sys::Next {
            self.panics_at = None;
        }
    }

    fn advance(&mut self, mut switch: Switch) -> Option<Noise> {
        if switch.flips_at.take().is_some() {
            self.running = switch.to;
            self.switch = Some(switch);
            let restarts = matches!(self.behaviour, Behaviour::RestartsExecutor)
                || (self.behaviour == Behaviour::NoExecutor && switch.to == Sys::Next);
            return restarts.then_some(Noise::ExecutorRestarts);
        }
        self.switch = None;
        if switch.whole {
            self.came_to(switch.to, true);
        }
        let ours = switch.by == By::Executor && switch.to == Sys::Next;
        if ours && self.now >= self.memory_full_until {
            self.note = Some(self.leaves_word());
        }
        match switch.by {
            By::Executor => Some(Noise::SwitchEnded),
            By::DeadMan => {
                if let DeadManState::AtWork { again_at, .. } = &mut self.deadman {
                    *again_at = Some(self.now + SECOND);
                }
                None
            }
            By::Hand => {
                self.hand = None;
                None
            }
        }
    }

    /// How a switch to the new system says that it ended.
    fn leaves_word(&self) -> Ended {
        match self.behaviour {
            Behaviour::ScriptFails
            | Behaviour::NeverRuns
            | Behaviour::HangsBefore
            | Behaviour::HangsAfter => Ended::CutShort,
            _ => Ended::Whole,
        }
    }

    /// `compliance-executor undo`, once around.
    fn dead_man(&mut self) -> Option<Noise> {
        let now = self.now;
        let patience = deadman_patience(Span::from_millis(self.switch_limit)).as_millis();
        let (first, gives_up, mut undecided) = match self.deadman {
            DeadManState::AtWork { gives_up, undecided, .. } => (false, gives_up, undecided),
            _ => (true, now + patience, 0),
        };
        let decision = self.decide_undo(&mut undecided);
        let at_work = |again_at| DeadManState::AtWork { again_at, gives_up, undecided };
        let again = |after: i64| at_work(Some(now + after));
        let (running, before) = (self.running.path(), self.back_to.path());
        let verdict = deadman_verdict(decision, Some(running), before, Sys::Next.path());
        match verdict {
            DeadManVerdict::Leave => self.deadman = DeadManState::Absent,
            DeadManVerdict::Undo if self.reboot && self.running == self.back_to => {
                self.deadman = DeadManState::Absent;
            }
            DeadManVerdict::Undo if self.reboot => {
                self.go_down(MINUTE);
                return Some(Noise::Down);
            }
            DeadManVerdict::Undo if !first && self.whole == Some(self.back_to) => {
                self.deadman = DeadManState::Absent;
            }
            _ if now >= gives_up && self.bug == Some(Bug::DeadManGivesUp) => {
                self.deadman = DeadManState::Absent;
            }
            _ if now >= gives_up => {
                self.go_down(MINUTE);
                return Some(Noise::Down);
            }
            DeadManVerdict::Again => self.deadman = again(10 * SECOND),
            DeadManVerdict::Undo => {
                let began = self.begin_switch(By::DeadMan, self.back_to);
                self.deadman = if began { at_work(None) } else { again(10 * SECOND) };
            }
        }
        None
    }

    /// What is decided, when the dead-man has tried to decide.
    fn decide_undo(&mut self, undecided: &mut u8) -> Option<Decision> {
        if self.bug == Some(Bug::DeadManDoesNotAsk) {
            return Some(Decision::Undo);
        }
        if self.decision.is_none() && self.now < self.memory_full_until {
            *undecided = undecided.saturating_add(1);
            return (*undecided >= 3).then_some(Decision::Undo);
        }
        Some(*self.decision.get_or_insert(Decision::Undo))
    }

    /// Somebody at the shell begins.
    pub(crate) fn take_hand(&mut self, what: ByHand) {
        let at = self.now + self.rng.below(3 * SECOND);
        self.hand.get_or_insert(Hand { what, at, give_up: at + 5 * MINUTE, began: false });
    }

    /// `nixos-rebuild`: the profile first, then the switch, which also installs the boot loader.
    fn type_on(&mut self, mut hand: Hand) {
        let (to, switch) = match hand.what {
            ByHand::SwitchOther => (Sys::Other, true),
            ByHand::TestOther => (Sys::Other, false),
            ByHand::SwitchNext => (Sys::Next, true),
            ByHand::SwitchBack => (Sys::Old, true),
        };
        self.by_hand[to as usize] = true;
        if switch {
            self.profile = to;
        }
        if self.begin_switch(By::Hand, to) {
            if switch {
                self.default = to;
            }
            hand.began = true;
            self.hand = Some(hand);
        } else if self.now >= hand.give_up {
            self.hand = None;
        } else {
            hand.at = self.now + 20 * SECOND;
            self.hand = Some(hand);
        }
    }

    /// What is wrong with it.
    pub(crate) fn health(&self) -> Health {
        let mut wrong = vec!["unit known-to-fail.service".to_owned()];
        if self.is_worse() {
            wrong.push("services: nginx.service".to_owned());
        }
        if self.now < self.whole_since + 12 * SECOND {
            wrong.push("unit slow.service".to_owned());
        }
        Health::of(wrong)
    }

    /// Whether something is wrong that was not before.
    pub(crate) fn is_worse(&self) -> bool {
        self.whole != Some(self.running) || self.is_failing_since().is_some()
    }

    /// Since when a unit of the new system fails that did not at first.
    pub(crate) fn is_failing_since(&self) -> Option<i64> {
        match (self.running, self.behaviour) {
            (Sys::Next, Behaviour::UnitFailsAfter(after)) => {
                Some(self.whole_since + after).filter(|at| self.now >= *at)
            }
            _ => None,
        }
    }

    /// Whether the executor can run.
    pub(crate) fn hosts_executor(&self) -> bool {
        self.off_until.is_none()
            && !(self.running == Sys::Next && self.behaviour == Behaviour::NoExecutor)
    }

    /// Whether the control plane can be reached.
    pub(crate) fn reaches_plane(&self) -> bool {
        self.hosts_executor()
            && !(self.running == Sys::Next && self.behaviour == Behaviour::NoNetwork)
    }
}
