//! What may happen in one run: how the new system behaves, and which fault strikes at which step.

/// Milliseconds.
pub(crate) const SECOND: i64 = 1000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;

/// A small generator of random numbers (splitmix64): a run is its seed.
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: i64) -> i64 {
        i64::try_from(self.next() % u64::try_from(n).unwrap()).unwrap()
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(i64::try_from(from.len()).unwrap())).unwrap()]
    }
}

/// How the new system behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// All is well.
    Good,
    /// All is well, and switching to it or away from it restarts the executor.
    RestartsExecutor,
    /// The switch fails before the system runs, having stopped units.
    NeverRuns,
    /// The switch hangs before the system runs, until systemd ends it.
    HangsBefore,
    /// The switch hangs when the system runs, until systemd ends it.
    HangsAfter,
    /// Its activation script fails, and it runs all the same, with all its units.
    ScriptFails,
    /// A unit fails.
    UnitFails,
    /// A unit fails, and no switch leads back: only a boot does.
    NoWayBack,
    /// A unit fails so long after the switch.
    UnitFailsAfter(i64),
    /// The control plane cannot be reached from it.
    NoNetwork,
    /// The kernel panics so long after the switch.
    Panics(i64),
    /// The executor does not start on it.
    NoExecutor,
}

pub(crate) const BEHAVIOURS: [Behaviour; 14] = [
    Behaviour::Good,
    Behaviour::RestartsExecutor,
    Behaviour::NeverRuns,
    Behaviour::HangsBefore,
    Behaviour::HangsAfter,
    Behaviour::ScriptFails,
    Behaviour::UnitFails,
    Behaviour::NoWayBack,
    Behaviour::UnitFailsAfter(MINUTE),
    Behaviour::UnitFailsAfter(6 * MINUTE),
    Behaviour::NoNetwork,
    Behaviour::Panics(40 * SECOND),
    Behaviour::Panics(10 * MINUTE),
    Behaviour::NoExecutor,
];

/// Who or what is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Struck {
    /// The executor; systemd starts it again after so long.
    Executor(i64),
    /// The power; it comes back after so long.
    Power(i64),
}

/// When within a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instant {
    /// Before it is on record what is to be done.
    BeforeRecord,
    /// When that is on record, and nothing is done.
    BeforeEffect,
    /// When it is done, and nobody knows.
    AfterEffect,
}

/// What somebody at the shell does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ByHand {
    /// `nixos-rebuild switch` to a third system.
    SwitchOther,
    /// `nixos-rebuild test` of a third system.
    TestOther,
    /// `nixos-rebuild switch` to the new system.
    SwitchNext,
    /// `nixos-rebuild switch` to the system before.
    SwitchBack,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Strike(Struck, Instant),
    /// The command claims success and does nothing.
    NoEffect,
    /// The command does what it should, and is not heard of for minutes.
    Slow,
    /// The command does nothing, and is not heard of for minutes.
    SlowAndNothing,
    /// The look sees nothing at all.
    Blind,
    /// The dead-man's timer elapses now, if it runs.
    DeadManNow,
    /// Nothing reaches the control plane for so long: lost network, or a killed agent.
    NoNetwork(i64),
    /// What boots and the profile cannot be written for so long.
    DiskFull(i64),
    /// Nothing can be written in memory for so long: no decision, and not how a switch ended.
    MemoryFull(i64),
    /// Neither what boots nor the ledger can be written: the executor fails and is started again.
    LedgerFull(i64),
    /// Somebody holds the lock of the switch for so long.
    LockHeld(i64),
    /// The clock is no longer trusted.
    ClockLost,
    /// A shutdown was scheduled.
    ShutdownScheduled,
    ByHand(ByHand),
}

/// All faults, with lengths that matter.
pub(crate) fn faults() -> Vec<Fault> {
    let mut all = vec![
        Fault::NoEffect,
        Fault::Slow,
        Fault::SlowAndNothing,
        Fault::Blind,
        Fault::DeadManNow,
        Fault::NoNetwork(3 * MINUTE),
        Fault::NoNetwork(HOUR),
        Fault::DiskFull(MINUTE),
        Fault::DiskFull(3 * HOUR),
        Fault::LedgerFull(MINUTE),
        Fault::MemoryFull(5 * MINUTE),
        Fault::MemoryFull(3 * HOUR),
        Fault::LockHeld(MINUTE),
        Fault::LockHeld(20 * MINUTE),
        Fault::ClockLost,
        Fault::ShutdownScheduled,
        Fault::ByHand(ByHand::SwitchOther),
        Fault::ByHand(ByHand::TestOther),
        Fault::ByHand(ByHand::SwitchNext),
        Fault::ByHand(ByHand::SwitchBack),
    ];
    let struck = [
        Struck::Executor(SECOND),
        Struck::Executor(4 * MINUTE),
        Struck::Executor(HOUR),
        Struck::Power(SECOND),
        Struck::Power(3 * HOUR),
    ];
    for struck in struck {
        for instant in [Instant::BeforeRecord, Instant::BeforeEffect, Instant::AfterEffect] {
            all.push(Fault::Strike(struck, instant));
        }
    }
    all
}

/// One run.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    /// Whether the new system has to be booted.
    pub(crate) reboot: bool,
    pub(crate) behaviour: Behaviour,
    /// How long the window stays open from the start.
    pub(crate) window: i64,
    /// Which fault strikes at which step, the first being 1.
    pub(crate) faults: Vec<(u32, Fault)>,
    /// How long things take.
    pub(crate) seed: u64,
}

impl Scenario {
    pub(crate) fn plain(reboot: bool, behaviour: Behaviour) -> Self {
        Self { reboot, behaviour, window: 2 * HOUR, faults: Vec::new(), seed: 0 }
    }

    pub(crate) fn with(mut self, step: u32, fault: Fault) -> Self {
        self.faults.push((step, fault));
        self
    }

    /// The scenario that `seed` stands for: up to four faults, mostly near each other.
    pub(crate) fn random(seed: u64, faults: &[Fault]) -> Self {
        let mut rng = Rng::new(seed);
        let reboot = rng.below(4) == 0;
        let behaviour = match rng.below(4) {
            0..2 => Behaviour::Good,
            2 => Behaviour::RestartsExecutor,
            _ => rng.pick(&BEHAVIOURS),
        };
        let window = match rng.below(8) {
            0 => rng.below(50) * MINUTE,
            1 => 42 * MINUTE + rng.below(20 * MINUTE),
            _ => 2 * HOUR,
        };
        let mut scenario = Self { reboot, behaviour, window, faults: Vec::new(), seed: rng.next() };
        let count = rng.below(5);
        let mut step = 1 + rng.below(40);
        for _ in 0..count {
            let fault = match rng.pick(faults) {
                Fault::Strike(Struck::Executor(_), instant) => {
                    let most = rng.pick(&[SECOND, MINUTE, 30 * MINUTE, 3 * HOUR]);
                    Fault::Strike(Struck::Executor(1 + rng.below(most)), instant)
                }
                Fault::LockHeld(most) => Fault::LockHeld(1 + rng.below(most)),
                Fault::DiskFull(most) => Fault::DiskFull(1 + rng.below(most)),
                fault => fault,
            };
            scenario = scenario.with(u32::try_from(step).unwrap(), fault);
            step += rng.below(8);
        }
        scenario
    }
}
