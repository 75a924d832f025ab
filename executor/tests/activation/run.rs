//! One run: the state machine on the simulated machine, with a ledger, faults, and the invariants watched at
//! every instant.

use compliance_executor::activation::{
    Action, Activation, Before, Decision, Ending, Event, Limits, Phase, Target, Which,
    deadman_patience, step,
};
use compliance_protocol::name::{Id, StorePath};
use compliance_protocol::time::{Span, Timestamp};

use super::bugs::Bug;
use super::machine::{By, DeadManState, Machine, Noise, Sys};
use super::scenario::{Behaviour, Fault, HOUR, Instant, MINUTE, SECOND, Scenario, Struck};

/// What must never be, and was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation(pub(crate) String);

/// How a run went.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) steps: u32,
    pub(crate) ending: Ending,
    pub(crate) running: Sys,
}

/// A run that is not over by then never ends.
const FOR_EVER: i64 = 48 * HOUR;

pub(crate) fn run(scenario: &Scenario, bug: Option<Bug>) -> Result<Ran, Violation> {
    let mut run = Run::new(scenario, bug);
    run.deliver(Event::Begin);
    while let Some(at) = run.next_at() {
        if at > FOR_EVER {
            return Err(run.violation("it does not end"));
        }
        run.machine.now = at.max(run.machine.now);
        run.advance()?;
        run.watch()?;
    }
    run.judge()
}

/// What the executor is at.
pub(crate) enum Executor {
    /// Not running; started again then.
    Down { until: i64 },
    /// It performs an action, and has performed it when `effect_at` is taken.
    Busy { action: Action, fault: Option<Fault>, effect_at: Option<i64>, done_at: Option<i64> },
    /// It waits for the switch that it began.
    Switching,
    /// Its activation is over.
    Over,
}

pub(crate) struct Run<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) bug: Option<Bug>,
    pub(crate) machine: Machine,
    pub(crate) executor: Executor,
    /// What the executor knows.
    pub(crate) memory: Activation,
    /// What is on disk.
    pub(crate) ledger: Activation,
    /// The boot in which the phase on disk was entered.
    pub(crate) phase_boot: u32,
    pub(crate) endings: Vec<Ending>,
    pub(crate) steps: u32,
    pub(crate) next_poll: i64,
    pub(crate) last_head: Option<i64>,
    pub(crate) no_network_until: i64,
    pub(crate) ledger_full_until: i64,
    pub(crate) clock_known: bool,
    pub(crate) shutdown: bool,
    /// The new system was decided to stay, and had proven itself.
    pub(crate) proven: bool,
    /// Heads that came from the new system since it runs.
    pub(crate) heads: u8,
    /// By when the system before runs again, unless the new one is proven.
    pub(crate) undone_by: Option<i64>,
    /// It ended with a dead-man about that would still act.
    pub(crate) left_deadman: bool,
    /// Tell all.
    pub(crate) trace: bool,
}

impl<'a> Run<'a> {
    fn new(scenario: &'a Scenario, bug: Option<Bug>) -> Self {
        let limits = Limits::default();
        let target = Target {
            system: Sys::Next.path().clone(),
            nar_hash: None,
            flake: None,
            baseline_sha256: None,
        };
        let mut machine = Machine::new(scenario, i64::from(limits.switch_s) * SECOND);
        machine.bug = bug;
        let id = Id::new(Timestamp::from_millis(0), [7; 10]);
        let now = Span::from_millis(machine.now - machine.booted_at);
        let limits = bug.map_or(limits, |bug| bug.limits(limits));
        let ledger = Activation::new(id, target, limits, now);
        Self {
            scenario,
            bug,
            machine,
            executor: Executor::Down { until: 0 },
            memory: ledger.clone(),
            ledger,
            phase_boot: 1,
            endings: Vec::new(),
            steps: 0,
            next_poll: 20 * SECOND,
            last_head: Some(-30 * SECOND),
            no_network_until: 0,
            ledger_full_until: 0,
            clock_known: true,
            shutdown: false,
            proven: false,
            heads: 0,
            undone_by: None,
            left_deadman: false,
            trace: std::env::var_os("ACTIVATION_TRACE").is_some(),
        }
    }

    /// The kernel's clock since boot.
    pub(crate) fn boottime(&self) -> Span {
        Span::from_millis(self.machine.now - self.machine.booted_at)
    }

    fn next_at(&self) -> Option<i64> {
        let executor = match &self.executor {
            Executor::Down { until } if self.machine.hosts_executor() => Some(*until),
            Executor::Busy { effect_at, done_at, .. } => effect_at.or(*done_at),
            Executor::Down { .. } | Executor::Switching | Executor::Over => None,
        };
        let poll = (!matches!(self.executor, Executor::Over)).then_some(self.next_poll);
        if matches!(self.executor, Executor::Over) && self.machine.is_quiet() {
            return None;
        }
        [executor, poll, self.machine.next_at()].into_iter().flatten().min()
    }

    fn advance(&mut self) -> Result<(), Violation> {
        let now = self.machine.now;
        if self.machine.next_at().is_some_and(|at| now >= at) {
            let noise = self.machine.happen();
            self.hear(noise);
            return Ok(());
        }
        if now >= self.next_poll && !matches!(self.executor, Executor::Over) {
            self.poll();
            return Ok(());
        }
        match &mut self.executor {
            Executor::Down { until } if now >= *until => {
                self.restart();
                Ok(())
            }
            Executor::Busy { action, fault, effect_at, .. }
                if effect_at.is_some_and(|at| now >= at) =>
            {
                let (action, fault) = (action.clone(), *fault);
                *effect_at = None;
                self.effect(&action, fault)
            }
            Executor::Busy { action, fault, effect_at: None, done_at: Some(at) } if now >= *at => {
                let (action, fault) = (action.clone(), *fault);
                if let Some(Fault::Strike(struck, Instant::AfterEffect)) = fault {
                    self.strike(struck);
                    return Ok(());
                }
                let event = self.outcome(&action, fault);
                self.deliver(event);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn restart(&mut self) {
        self.memory = self.ledger.clone();
        let same_boot = self.phase_boot == self.machine.boot;
        match self.bug {
            Some(Bug::StartsAgain) => {
                let Activation { id, target, limits, .. } = self.memory.clone();
                self.memory = Activation::new(id, target, limits, self.boottime());
                self.deliver(Event::Begin);
            }
            Some(Bug::AnyBootIsThisBoot) => self.deliver(Event::Restarted { same_boot: true }),
            _ => self.deliver(Event::Restarted { same_boot }),
        }
    }

    fn hear(&mut self, noise: Option<Noise>) {
        match noise {
            Some(Noise::SwitchEnded) if matches!(self.executor, Executor::Switching) => {
                self.deliver(Event::Done);
            }
            Some(Noise::ExecutorRestarts) => self.kill(3 * SECOND),
            Some(Noise::Down) => self.kill(0),
            Some(Noise::SwitchEnded) | None => {}
        }
    }

    fn poll(&mut self) {
        let now = self.machine.now;
        // The ticket is a moment older than its answer.
        let asked_at = now - self.machine.below(30 * SECOND);
        let asked = Span::from_millis(asked_at - self.machine.booted_at);
        self.next_poll = now + 54 * SECOND + self.machine.below(12 * SECOND);
        let up = !matches!(self.executor, Executor::Down { .. });
        if !up || now < self.no_network_until || !self.machine.reaches_plane() {
            if self.is_stuck() && self.is_touched_by_hand() {
                // Whoever chose a system that does not do has to put that right.
                self.machine.put_right();
            }
            return;
        }
        self.last_head = Some(now);
        if self.machine.whole == Some(Sys::Next) && asked_at >= self.machine.whole_since {
            self.heads = self.heads.saturating_add(1);
        }
        self.deliver(Event::Head { asked });
    }

    fn is_stuck(&self) -> bool {
        self.machine.off_until.is_none() && self.machine.now > self.machine.booted_at + 2 * HOUR
    }

    fn kill(&mut self, back_after: i64) {
        if !matches!(self.executor, Executor::Over) {
            let until = self.machine.now + back_after;
            let until = self.machine.off_until.map_or(until, |on| until.max(on + 20 * SECOND));
            self.executor = Executor::Down { until };
        }
    }

    fn strike(&mut self, struck: Struck) {
        match struck {
            Struck::Executor(back_after) => self.kill(back_after),
            Struck::Power(back_after) => {
                self.machine.go_down(back_after);
                self.kill(0);
            }
        }
    }

    /// Hands an event to the state machine, records what it says, and begins what it asks for.
    fn deliver(&mut self, event: Event) {
        let told = self.trace.then(|| format!("{event:?}"));
        let (next, action) = step(&self.memory, event, self.boottime());
        if let Some(told) = told {
            let at = self.machine.now / SECOND;
            println!("{at:>6} s  step {}  {told}\n    → {:?}: {action:?}", self.steps, next.phase);
        }
        self.memory = next;
        let Some(action) = action else { return };
        let action = match self.bug {
            Some(bug) => bug.bite(&self.memory, action),
            None => action,
        };
        self.steps += 1;
        let fault = self.scenario.faults.iter().find(|(step, _)| *step == self.steps);
        let fault = fault.map(|(_, fault)| *fault);
        if let Some(fault) = fault {
            self.befall(fault);
        }
        if let Some(Fault::Strike(struck, Instant::BeforeRecord)) = fault {
            self.strike(struck);
            return;
        }
        if self.machine.now < self.ledger_full_until {
            self.kill(10 * SECOND);
            return;
        }
        if self.bug != Some(Bug::NothingOnRecord) || matches!(action, Action::End(_)) {
            self.ledger = self.memory.clone();
            self.phase_boot = self.machine.boot;
        }
        self.begin(action, fault);
    }

    /// What strikes the machine and not the step.
    fn befall(&mut self, fault: Fault) {
        let now = self.machine.now;
        match fault {
            Fault::DeadManNow => {
                if let DeadManState::Armed { fires_at } = &mut self.machine.deadman {
                    *fires_at = now + self.machine.switch_limit % 3;
                }
            }
            Fault::NoNetwork(span) => self.no_network_until = now + span,
            Fault::DiskFull(span) => self.machine.disk_full_until = now + span,
            Fault::MemoryFull(span) => self.machine.memory_full_until = now + span,
            Fault::LedgerFull(span) => {
                self.machine.disk_full_until = now + span;
                self.ledger_full_until = now + span;
            }
            Fault::LockHeld(span) => {
                self.machine.lock_until = now + span;
                self.undone_by = self.undone_by.map(|by| by.max(now + span + 20 * MINUTE));
            }
            Fault::ClockLost => self.clock_known = false,
            Fault::ShutdownScheduled => self.shutdown = true,
            Fault::ByHand(what) => self.machine.take_hand(what),
            Fault::Strike(..)
            | Fault::NoEffect
            | Fault::Slow
            | Fault::SlowAndNothing
            | Fault::Blind => {}
        }
    }

    fn begin(&mut self, action: Action, fault: Option<Fault>) {
        let now = self.machine.now;
        if let Action::End(ending) = action {
            self.check_deadman(&ending);
            self.endings.push(ending);
            self.executor = Executor::Over;
            return;
        }
        if let Some(Fault::Strike(struck, Instant::BeforeEffect)) = fault {
            return self.strike(struck);
        }
        let (effect_after, lasts) = match action {
            Action::Wait { until } => {
                let left = until.as_millis() - self.boottime().as_millis();
                (None, left.max(0))
            }
            Action::Preflight | Action::Look { .. } => (None, 100 + self.machine.below(900)),
            Action::Realise => (None, 10 * SECOND + self.machine.below(20 * MINUTE)),
            Action::Plan => (None, SECOND + self.machine.below(10 * SECOND)),
            _ => (Some(self.machine.below(SECOND)), SECOND + self.machine.below(2 * SECOND)),
        };
        let slow = matches!(fault, Some(Fault::Slow | Fault::SlowAndNothing));
        let lasts = lasts + if slow { 4 * MINUTE } else { 0 };
        let effect_at = effect_after.map(|after| now + after);
        self.executor =
            Executor::Busy { action, fault, effect_at, done_at: Some(now + lasts.max(1)) };
    }

    fn system(&self, which: Which) -> Sys {
        self.meant(which, |before| &before.system)
    }

    fn meant(&self, which: Which, of: impl Fn(&Before) -> &StorePath) -> Sys {
        match which {
            Which::Before => self.memory.before.as_ref().map_or(Sys::Old, |it| Sys::of(of(it))),
            Which::Next => Sys::Next,
        }
    }

    /// What an action does to the machine.
    fn effect(&mut self, action: &Action, fault: Option<Fault>) -> Result<(), Violation> {
        let nothing = matches!(fault, Some(Fault::NoEffect | Fault::SlowAndNothing));
        if nothing && !matches!(action, Action::Reboot) {
            if matches!(action, Action::Test(_)) {
                // The other lie: it begins, and brings nothing about.
                self.machine.botch_switch = fault == Some(Fault::NoEffect);
                if !self.machine.botch_switch {
                    return Ok(());
                }
            } else {
                return Ok(());
            }
        }
        let theirs = self.is_theirs_for_a_while();
        let machine = &mut self.machine;
        let writable = machine.now >= machine.disk_full_until;
        match action {
            Action::Arm if machine.deadman == DeadManState::Absent => {
                let after = i64::from(self.ledger.limits.deadman_s) * SECOND;
                let patience = deadman_patience(Span::from_millis(machine.switch_limit));
                let by_boot = self.scenario.behaviour == Behaviour::NoWayBack;
                let slack = if by_boot { patience.as_millis() } else { 0 };
                let undone_in = after + 2 * machine.switch_limit + 5 * MINUTE + slack;
                self.undone_by = Some(machine.now + undone_in);
                if self.bug == Some(Bug::NoDeadMan) {
                    return Ok(());
                }
                machine.back_to =
                    self.memory.before.as_ref().map_or(Sys::Old, |b| Sys::of(&b.system));
                machine.deadman = DeadManState::Armed { fires_at: machine.now + after };
            }
            Action::Disarm => {
                if matches!(machine.deadman, DeadManState::Armed { .. }) {
                    machine.deadman = DeadManState::Absent;
                }
            }
            Action::Decide(decision) => {
                let new = machine.decision.is_none() || self.bug == Some(Bug::DecidedTwice);
                let new = new && machine.now >= machine.memory_full_until;
                if new {
                    machine.decision = Some(*decision);
                }
                if new && *decision == Decision::Proven {
                    self.check_proof()?;
                }
            }
            Action::Test(which) => return self.begin_test(self.system(*which)),
            Action::SetProfile(Which::Next) | Action::InstallBoot(Which::Next) if theirs => {
                return Err(self.violation("what boots is changed after somebody chose"));
            }
            Action::SetProfile(which) if writable => {
                self.machine.profile = self.meant(*which, |before| &before.profile);
            }
            Action::InstallBoot(which) if writable => {
                self.machine.default = self.meant(*which, |before| &before.default);
            }
            Action::TryOnce if writable => {
                machine.guard_left = true;
                machine.once = Some(Sys::Next);
            }
            Action::ForgetOnce if writable => {
                machine.guard_left = false;
                machine.once = None;
            }
            Action::Reboot => {
                if matches!(self.ledger.phase, Phase::Rebooting { .. }) {
                    self.check_window("a restart into the new system")?;
                }
                if !nothing {
                    self.machine.go_down(MINUTE);
                    self.kill(0);
                }
            }
            _ => {}
        }
        if let Some(Fault::Strike(struck, Instant::AfterEffect)) = fault {
            self.strike(struck);
        }
        Ok(())
    }

    /// Somebody at the shell chose a third system, and that could be seen.
    fn is_theirs_for_a_while(&self) -> bool {
        let theirs = self.machine.running == Sys::Other && self.machine.whole == Some(Sys::Other);
        let a_while = self.machine.now > self.machine.whole_since + 10 * SECOND;
        theirs && a_while && self.system(Which::Before) != Sys::Other
    }

    fn begin_test(&mut self, to: Sys) -> Result<(), Violation> {
        if self.is_theirs_for_a_while() {
            return Err(self.violation("a switch away from what somebody chose"));
        }
        if self.machine.begin_switch(By::Executor, to) {
            if to == Sys::Next {
                self.heads = 0;
                self.check_window("a switch to the new system")?;
                if self.machine.deadman == DeadManState::Absent {
                    return Err(self.violation("a switch to the new system without a dead-man"));
                }
            }
            if matches!(self.executor, Executor::Busy { .. }) {
                self.executor = Executor::Switching;
            }
        }
        Ok(())
    }
}
