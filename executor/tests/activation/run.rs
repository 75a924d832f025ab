//! One run: the state machine on the simulated machine, with a ledger, faults, and the invariants watched at
//! every instant.

use compliance_executor::activation::{
    Action, Activation, Before, Class, DeadMan, Decision, Ending, Event, Facts, Health, Limits,
    Loader, Phase, Plan, Room, Sight, Target, Which, step,
};
use compliance_protocol::evidence::Outcome;
use compliance_protocol::gate::{Gate, GateName};
use compliance_protocol::name::{Id, StorePath};
use compliance_protocol::time::{Span, Timestamp};

use super::bugs::Bug;
use super::machine::{By, DeadManState, Machine, Noise, Sys};
use super::scenario::{Fault, HOUR, Instant, MINUTE, SECOND, Scenario, Struck};

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
    run.deliver(Event::Begin)?;
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
enum Executor {
    /// Not running; started again then.
    Down { until: i64 },
    /// It performs an action, and has performed it when `effect_at` is taken.
    Busy { action: Action, fault: Option<Fault>, effect_at: Option<i64>, done_at: Option<i64> },
    /// It waits for the switch that it began.
    Switching,
    /// Its activation is over.
    Over,
}

struct Run<'a> {
    scenario: &'a Scenario,
    bug: Option<Bug>,
    machine: Machine,
    executor: Executor,
    /// What the executor knows.
    memory: Activation,
    /// What is on disk.
    ledger: Activation,
    /// The boot in which the phase on disk was entered.
    phase_boot: u32,
    endings: Vec<Ending>,
    steps: u32,
    next_poll: i64,
    last_head: Option<i64>,
    no_network_until: i64,
    ledger_full_until: i64,
    clock_known: bool,
    shutdown: bool,
    /// The new system was decided to stay, and had proven itself.
    proven: bool,
    /// Heads that came from the new system since it runs.
    heads: u8,
    /// By when the system before runs again, unless the new one is proven.
    undone_by: Option<i64>,
    /// Tell all.
    trace: bool,
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
        machine.deadman_asks = bug != Some(Bug::DeadManDoesNotAsk);
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
            trace: std::env::var_os("ACTIVATION_TRACE").is_some(),
        }
    }

    /// The kernel's clock since boot.
    fn boottime(&self) -> Span {
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
            return self.hear(noise);
        }
        if now >= self.next_poll && !matches!(self.executor, Executor::Over) {
            return self.poll();
        }
        match &mut self.executor {
            Executor::Down { until } if now >= *until => self.restart(),
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
                self.deliver(event)
            }
            _ => Ok(()),
        }
    }

    fn restart(&mut self) -> Result<(), Violation> {
        self.memory = self.ledger.clone();
        let same_boot = self.phase_boot == self.machine.boot;
        match self.bug {
            Some(Bug::StartsAgain) => {
                let Activation { id, target, limits, .. } = self.memory.clone();
                self.memory = Activation::new(id, target, limits, self.boottime());
                self.deliver(Event::Begin)
            }
            Some(Bug::AnyBootIsThisBoot) => self.deliver(Event::Restarted { same_boot: true }),
            _ => self.deliver(Event::Restarted { same_boot }),
        }
    }

    fn hear(&mut self, noise: Option<Noise>) -> Result<(), Violation> {
        match noise {
            Some(Noise::SwitchEnded) if matches!(self.executor, Executor::Switching) => {
                self.deliver(Event::Done)
            }
            Some(Noise::ExecutorRestarts) => {
                self.kill(3 * SECOND);
                Ok(())
            }
            Some(Noise::Down) => {
                self.kill(0);
                Ok(())
            }
            Some(Noise::SwitchEnded) | None => Ok(()),
        }
    }

    fn poll(&mut self) -> Result<(), Violation> {
        let now = self.machine.now;
        let asked = self.boottime();
        self.next_poll = now + 54 * SECOND + self.machine.below(12 * SECOND);
        let up = !matches!(self.executor, Executor::Down { .. });
        if !up || now < self.no_network_until || !self.machine.reaches_plane() {
            if self.is_stuck() && self.is_touched_by_hand() {
                // Whoever chose a system that does not do has to put that right.
                self.machine.put_right();
            } else if self.is_stuck() && self.scenario.reboot && !self.machine.hosts_executor() {
                // Nobody hears of it any more: somebody drives there and pulls the plug.
                self.machine.go_down(20 * SECOND);
                self.kill(0);
            }
            return Ok(());
        }
        self.last_head = Some(now);
        if self.machine.whole == Some(Sys::Next) && now >= self.machine.whole_since {
            self.heads = self.heads.saturating_add(1);
        }
        self.deliver(Event::Head { asked })
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
    fn deliver(&mut self, event: Event) -> Result<(), Violation> {
        let told = self.trace.then(|| format!("{event:?}"));
        let (next, action) = step(&self.memory, event, self.boottime());
        if let Some(told) = told {
            let at = self.machine.now / SECOND;
            println!("{at:>6} s  step {}  {told}\n    → {:?}: {action:?}", self.steps, next.phase);
        }
        self.memory = next;
        let Some(action) = action else { return Ok(()) };
        let action = self.bug.map_or(action.clone(), |bug| bug.bite(&self.memory, action));
        self.steps += 1;
        let fault = self.scenario.faults.iter().find(|(step, _)| *step == self.steps);
        let fault = fault.map(|(_, fault)| *fault);
        if let Some(fault) = fault {
            self.befall(fault);
        }
        if let Some(Fault::Strike(struck, Instant::BeforeRecord)) = fault {
            self.strike(struck);
            return Ok(());
        }
        if self.machine.now < self.ledger_full_until {
            self.kill(10 * SECOND);
            return Ok(());
        }
        if self.bug != Some(Bug::NothingOnRecord) || matches!(action, Action::End(_)) {
            self.ledger = self.memory.clone();
            self.phase_boot = self.machine.boot;
        }
        self.begin(action, fault);
        Ok(())
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
        let lasts = lasts + if slow { 2 * MINUTE } else { 0 };
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
        let machine = &mut self.machine;
        let writable = machine.now >= machine.disk_full_until;
        match action {
            Action::Arm if machine.deadman == DeadManState::Absent => {
                let after = i64::from(self.ledger.limits.deadman_s) * SECOND;
                self.undone_by = Some(machine.now + after + 2 * machine.switch_limit + 5 * MINUTE);
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
                if new {
                    machine.decision = Some(*decision);
                }
                if new && *decision == Decision::Proven {
                    self.check_proof()?;
                }
            }
            Action::Test(which) => return self.begin_test(self.system(*which)),
            Action::SetProfile(which) if writable => {
                self.machine.profile = self.meant(*which, |before| &before.profile);
            }
            Action::InstallBoot(which) if writable => {
                self.machine.default = self.meant(*which, |before| &before.default);
            }
            Action::TryOnce if writable => machine.once = Some(Sys::Next),
            Action::ForgetOnce if writable => machine.once = None,
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

    fn begin_test(&mut self, to: Sys) -> Result<(), Violation> {
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

    /// What the executor is told when an action has ended.
    fn outcome(&self, action: &Action, fault: Option<Fault>) -> Event {
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
            Action::Plan => Event::Planned(Plan::Can(match self.scenario.reboot {
                true => Class::Reboot,
                false => Class::Live,
            })),
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
        }
    }
}

impl Run<'_> {
    /// What is decided to stay must have proven itself.
    fn check_proof(&mut self) -> Result<(), Violation> {
        let machine = &self.machine;
        let limits = Limits::default();
        // The last look is a moment ago.
        let moment = 5 * SECOND;
        let soaked = machine.now - machine.whole_since >= limits.soak().as_millis() - moment;
        let failing = machine.is_failing_since().is_some_and(|at| machine.now - at > moment);
        // Somebody at the shell may have begun to switch since.
        let meddled = self.is_touched_by_hand() && machine.switch.is_some();
        if meddled {
            self.proven = true;
            return Ok(());
        }
        if machine.running != Sys::Next || machine.whole != Some(Sys::Next) || failing {
            return Err(self.violation("proven, and the new system is not well"));
        }
        if !soaked || self.heads < limits.heads {
            return Err(self.violation("proven without soak and heads"));
        }
        self.proven = true;
        Ok(())
    }

    fn check_window(&self, what: &str) -> Result<(), Violation> {
        let limits = Limits::default();
        let worst = limits.deadman().plus(limits.switch()).as_millis();
        if self.scenario.window - self.machine.now < worst - MINUTE {
            return Err(self.violation(&format!("{what} with too little of the window left")));
        }
        Ok(())
    }

    fn may_be(&self, system: Sys) -> bool {
        match system {
            Sys::Old => true,
            Sys::Next => self.proven || self.machine.by_hand[Sys::Next as usize],
            Sys::Other => self.machine.by_hand[Sys::Other as usize],
        }
    }

    fn is_touched_by_hand(&self) -> bool {
        self.machine.by_hand.contains(&true)
    }

    /// What must hold at every instant.
    fn watch(&self) -> Result<(), Violation> {
        let machine = &self.machine;
        if !self.may_be(machine.default) {
            return Err(self.violation("the boot default is not proven"));
        }
        if self.endings.len() > 1 {
            return Err(self.violation("two outcomes are on record"));
        }
        if self.proven && machine.switch.is_some_and(|switch| switch.by == By::DeadMan) {
            return Err(self.violation("the dead-man undoes what is proven"));
        }
        let late = self.undone_by.is_some_and(|by| machine.now > by);
        let unproven = machine.running == Sys::Next && !self.may_be(Sys::Next);
        if late && unproven && machine.off_until.is_none() && !self.scenario.reboot {
            return Err(self.violation("the undo did not come in time"));
        }
        Ok(())
    }

    /// What must hold at the end.
    fn judge(self) -> Result<Ran, Violation> {
        let machine = &self.machine;
        let [ending] = self.endings.as_slice() else {
            return Err(self.violation("there is not exactly one outcome"));
        };
        let all = [machine.running, machine.profile, machine.default];
        if !all.iter().all(|system| self.may_be(*system)) {
            return Err(self.violation("it ends neither old nor proven"));
        }
        let lasting = |(_, fault): &(u32, Fault)| matches!(fault, Fault::DiskFull(HOUR..));
        let gave_up = ending.reason == "undo_failed"
            && machine.default == Sys::Old
            && (self.scenario.faults.len() > 1 || self.scenario.faults.iter().any(lasting));
        let expected = if ending.outcome == Outcome::Success { Sys::Next } else { Sys::Old };
        let settled = all.iter().all(|system| *system == expected)
            && machine.whole == Some(expected)
            && machine.once.is_none();
        if !self.is_touched_by_hand() && !gave_up && !settled {
            return Err(self.violation("it does not end as the outcome says"));
        }
        Ok(Ran { steps: self.steps, ending: ending.clone(), running: machine.running })
    }

    fn violation(&self, what: &str) -> Violation {
        let machine = &self.machine;
        Violation(format!(
            "{what}: at {} s, step {}, in {:?}; running {:?}, profile {:?}, default {:?}, once {:?}, whole {:?}, decision {:?}, dead-man {:?}, outcomes {:?}; in {:?}",
            machine.now / SECOND,
            self.steps,
            self.ledger.phase,
            machine.running,
            machine.profile,
            machine.default,
            machine.once,
            machine.whole,
            machine.decision,
            machine.deadman,
            self.endings,
            self.scenario,
        ))
    }
}
