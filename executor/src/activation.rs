//! Activating a system, as a pure state machine: what is known so far, and what is to be done next.
//!
//! An [`Activation`] takes [`Event`]s and answers with the one [`Action`] that is to follow. Whoever drives it
//! puts the new value on disk first, performs the action then, and hands back what came of it. No event says
//! how a command ended: after each effect the machine looks, and goes by what it sees. So a start after a crash
//! needs nothing of its own: it looks, too. That the activation script failed is seen as well: the switch left
//! a note.
//!
//! What the boot loader starts by default changes last, when the new system has proven itself.

mod deadman;
mod health;
mod limits;
mod outline;
mod preflight;
mod proven;
mod quarantine;
mod resume;
mod sight;
mod step;
mod trial;
mod undo;

pub use deadman::{
    Verdict as DeadManVerdict, patience as deadman_patience, verdict as deadman_verdict,
};
pub use health::{Health, Wanted, Worse};
pub use limits::{Limits, LimitsError};
pub use outline::{Changes, Outline};
pub use preflight::{Facts, Loader, Plan, Room};
pub(crate) use preflight::{nobody_switches, shutdown};
pub use proven::Proven;
pub use quarantine::{QUARANTINE, Quarantine, Quarantined};
pub use sight::{DeadMan, Decision, Ended, Sight};
pub use step::step;
pub use undo::{Undo, Why};

use std::collections::BTreeMap;

use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::Outcome;
use compliance_protocol::gate::Gate;
use compliance_protocol::name::{FlakeRef, Id, NarHash, StorePath};
use compliance_protocol::time::{Span, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// One activation. All times in it are `CLOCK_BOOTTIME` of the boot in which its phase began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    /// Names its dead-man and its decision.
    pub id: Id,
    /// What is to be activated.
    pub target: Target,
    /// How long each part may take.
    #[serde(deserialize_with = "limits::stored")]
    pub limits: Limits,
    /// To be over by then, an undo included: whoever wants it allows it so long, from its start.
    #[serde(default)]
    pub finish_by: Option<Span>,
    /// Whether it can be switched to while running; set by the plan.
    pub class: Class,
    /// What it is about to do; filled in on the way there.
    #[serde(default, deserialize_with = "or_default")]
    pub outline: Outline,
    /// What was wrong when it began; fetching lies between that and [`Activation::before`].
    #[serde(default, deserialize_with = "or_default")]
    pub at_first: Health,
    /// How things were before; set when everything was ready.
    pub before: Option<Before>,
    /// When the dead-man acts at the earliest, from when it is about to be armed.
    pub deadman_at: Option<Span>,
    /// Where it stands.
    #[serde(deserialize_with = "resume::readable")]
    pub phase: Phase,
    /// Since when.
    pub since: Span,
}

/// What is to be activated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The system's closure.
    pub system: StorePath,
    /// Its NAR hash, if the order names it.
    pub nar_hash: Option<NarHash>,
    /// Where to build it; `None`: it is here, or comes from a substituter.
    pub flake: Option<FlakeRef>,
    /// The baseline that belongs to it, if another one than now.
    pub baseline_sha256: Option<Digest>,
}

/// How a system is changed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// While running.
    Live,
    /// By a boot that is tried once.
    Reboot,
}

/// Reads what is for evidence, or helps only, as far as a later release has left it readable.
fn or_default<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(
    from: D,
) -> Result<T, D::Error> {
    let recorded = Value::deserialize(from)?;
    Ok(serde_json::from_value(recorded).unwrap_or_default())
}

impl Class {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Reboot => "reboot",
        }
    }

    /// What the word stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Live, Self::Reboot].into_iter().find(|class| class.word() == word)
    }
}

/// How things were before anything was done, and are to be again when it does not work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// The running system.
    pub system: StorePath,
    /// What the system profile named.
    pub profile: StorePath,
    /// What the boot loader started by default.
    pub default: StorePath,
    /// What was wrong already.
    pub health: Health,
}

/// Where an activation stands. Each is on disk before what it stands for is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Asking whether to begin at all.
    Preflight,
    /// Fetching or building.
    Realising,
    /// Letting the new system say what it would do.
    Planning,
    /// Asking again, since fetching may have taken hours.
    Ready,
    /// Having the first process of the machine promise to undo.
    Arming {
        /// How often that was tried.
        tries: u8,
        /// Not to be begun later.
        start_by: Span,
    },
    /// The new system is being switched to.
    Testing {
        /// It is hung, if it has not ended by then.
        until: Span,
    },
    /// The new system runs, and is watched.
    Proving(Proof),
    /// It has proven itself; that is being put where the dead-man looks.
    Deciding(Proof),
    /// Decided: the dead-man is called off.
    Disarming {
        /// How often that was tried.
        tries: u8,
    },
    /// Making it what the machine boots.
    Persisting {
        /// How often that was tried.
        tries: u8,
        /// Undone, if it has not succeeded by then.
        until: Span,
    },
    /// Giving the boot loader the new system to start once.
    Staging {
        /// How often that was tried.
        tries: u8,
        /// Not to be begun later.
        start_by: Span,
    },
    /// The machine is to go down and to come up with the new system.
    Rebooting {
        /// Something is wrong, if it has not gone down by then.
        until: Span,
    },
    /// The machine has booted since.
    Returned {
        /// Where it stood before.
        was: Box<Self>,
        /// It was not seen which system runs, if not by then.
        until: Span,
    },
    /// Putting everything back.
    Undoing(Undo),
    /// Over, but for the dead-man.
    Leaving {
        /// How it ended.
        ending: Ending,
        /// How often the dead-man was called off.
        tries: u8,
        /// Not to be waited for longer.
        until: Span,
    },
    /// Over.
    Ended,
    /// A later release has recorded where it stands, and this one cannot read that.
    Unreadable,
}

/// How far the proof is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// Since when the new system runs.
    pub since: Span,
    /// To be complete by then, so that the dead-man does not act amid the decision.
    pub until: Span,
    /// How many looks in a row found nothing worse than before.
    pub good: u8,
    /// How many looks in a row found something worse, when it had had its time to settle.
    #[serde(default)]
    pub bad: u8,
    /// What the last look found worse, or perhaps worse.
    #[serde(default)]
    pub worse: Vec<String>,
    /// How often units had been started again by themselves at the last look; none before the first.
    #[serde(default)]
    pub restarts: Option<BTreeMap<String, u32>>,
    /// How many verified feed heads answered a ticket that was given since.
    pub heads: u8,
    /// How often it could not be decided.
    pub undecided: u8,
}

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It is to begin.
    Begin,
    /// The executor has started again.
    Restarted {
        /// In the boot in which the phase began.
        same_boot: bool,
    },
    /// Answers [`Action::Preflight`].
    Facts(Box<Facts>),
    /// Answers [`Action::Realise`]: which closure there is now, or why none.
    Realised(Result<StorePath, String>),
    /// Answers [`Action::Plan`].
    Planned(Plan),
    /// Something else holds it up.
    Held(Gate),
    /// An effect has ended, however; or the time to wait is over.
    Done,
    /// Answers [`Action::Look`].
    Seen(Box<Sight>),
    /// Answers [`Action::Decide`]: what is decided, whoever did; `None` if that can be neither written nor read.
    Decided(Option<Decision>),
    /// A feed head was verified, for a ticket given at this time.
    Head {
        /// When the ticket was given.
        asked: Span,
    },
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ask the gates and gather the facts.
    Preflight,
    /// Fetch or build the target, and keep it from being collected.
    Realise,
    /// Run the target's `check` and `dry-activate`, and see of which class it is.
    Plan,
    /// Arm the dead-man: after [`Limits::deadman`], it undoes.
    Arm,
    /// Switch to that system while running, in the transient unit.
    Test(Which),
    /// See how things are.
    Look {
        /// With all six checks.
        health: bool,
    },
    /// Decide, unless it is decided.
    Decide(Decision),
    /// Call the dead-man off.
    Disarm,
    /// Let the system profile name that system.
    SetProfile(Which),
    /// Let the boot loader start that system by default.
    InstallBoot(Which),
    /// Let the boot loader start the target once, leaving its default alone.
    TryOnce,
    /// Have the boot loader forget what it was to try.
    ForgetOnce,
    /// Restart the machine.
    Reboot,
    /// Hand in [`Event::Done`] then.
    Wait {
        /// When.
        until: Span,
    },
    /// It is over: put this on record, and the intent off it, in one transaction.
    End(Ending),
}

/// One of the two systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// What was there before.
    Before,
    /// What is to be activated.
    Next,
}

/// How an activation ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// As what.
    pub outcome: Outcome,
    /// Why, for machines.
    pub reason: String,
    /// Why, for people.
    pub detail: String,
    /// The target is not to be tried again for [`QUARANTINE`].
    pub quarantine: bool,
    /// What held it up, if it was deferred.
    pub gates: Vec<Gate>,
    /// When to try again, if it was deferred and that is known.
    pub retry_after: Option<Timestamp>,
}

impl Ending {
    pub(crate) fn new(outcome: Outcome, reason: &str, detail: impl Into<String>) -> Self {
        Self {
            outcome,
            reason: reason.to_owned(),
            detail: detail.into(),
            quarantine: false,
            gates: Vec::new(),
            retry_after: None,
        }
    }
}

impl Activation {
    /// One that has not begun.
    pub fn new(id: Id, target: Target, limits: Limits, now: Span) -> Self {
        let (class, phase) = (Class::Live, Phase::Preflight);
        let (finish_by, before, deadman_at) = (None, None, None);
        let outline = Outline::default();
        Self {
            id,
            target,
            limits,
            finish_by,
            class,
            outline,
            at_first: Health::default(),
            before,
            deadman_at,
            phase,
            since: now,
        }
    }

    /// Whether it prepares only, and changes nothing on the host: that may take hours, and holds nothing up.
    pub fn only_prepares(&self) -> bool {
        matches!(self.phase, Phase::Realising | Phase::Planning)
    }

    /// From the last question to the end of an undo: so long the window must stay open.
    pub fn needed(&self) -> Span {
        self.limits.needed_for(self.class)
    }

    /// How long it may still be prepared, so that enough time is left for all the rest and an undo.
    pub fn left_to_prepare(&self, now: Span) -> Option<Span> {
        let until = self.finish_by?.as_millis() - self.needed().as_millis();
        Some(Span::from_millis(until - now.as_millis()))
    }

    /// Whether nothing was done to the host so far.
    pub fn has_done_nothing(&self) -> bool {
        self.only_prepares() || matches!(self.phase, Phase::Preflight | Phase::Ready)
    }

    /// The phase's name, for people and machines.
    pub fn phase_name(&self) -> &'static str {
        match &self.phase {
            Phase::Preflight | Phase::Ready => "preflight",
            Phase::Realising => "realising",
            Phase::Planning => "planning",
            Phase::Arming { .. } => "arming",
            Phase::Testing { .. } => "testing",
            Phase::Proving(_) => "proving",
            Phase::Deciding(_) | Phase::Disarming { .. } => "deciding",
            Phase::Persisting { .. } => "persisting",
            Phase::Staging { .. } => "staging",
            Phase::Rebooting { .. } | Phase::Returned { .. } => "rebooting",
            Phase::Unreadable => "unreadable",
            Phase::Undoing(_) => "undoing",
            Phase::Leaving { .. } | Phase::Ended => "ending",
        }
    }

    /// What it waits for, for people.
    pub fn waits_for(&self) -> String {
        match &self.phase {
            Phase::Preflight | Phase::Ready => "a look at the machine and its gates".to_owned(),
            Phase::Realising => "the closure".to_owned(),
            Phase::Planning => "what the new system would do".to_owned(),
            Phase::Arming { .. } => "the dead-man to be armed".to_owned(),
            Phase::Testing { .. } => "the switch to end".to_owned(),
            Phase::Proving(proof) => format!(
                "{} of {} looks without anything worse and {} of {} feed heads, over {}",
                proof.good.min(self.limits.looks),
                self.limits.looks,
                proof.heads.min(self.limits.heads),
                self.limits.heads,
                self.limits.soak()
            ),
            Phase::Deciding(_) | Phase::Disarming { .. } => "the decision".to_owned(),
            Phase::Persisting { .. } => "profile and boot loader".to_owned(),
            Phase::Staging { .. } => "the boot loader to be told".to_owned(),
            Phase::Rebooting { .. } | Phase::Returned { .. } => "the machine to boot".to_owned(),
            Phase::Unreadable => "a look at which system runs".to_owned(),
            Phase::Undoing(_) => "the system before to run again".to_owned(),
            Phase::Leaving { .. } | Phase::Ended => "the dead-man to be gone".to_owned(),
        }
    }

    fn enter(&mut self, phase: Phase, now: Span) {
        self.phase = phase;
        self.since = now;
    }
}
