//! What can be seen of the machine at one moment.

use compliance_protocol::name::StorePath;
use serde::{Deserialize, Serialize};

use super::Health;

/// The machine at one moment. `None` is what could not be seen, and is never taken for anything else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sight {
    /// The running system.
    pub running: Option<StorePath>,
    /// What the system profile names.
    pub profile: Option<StorePath>,
    /// What the boot loader starts by default.
    pub default: Option<StorePath>,
    /// What the boot loader starts once, if anything.
    pub once: Option<Option<StorePath>>,
    /// Whether a switch is under way, anybody's.
    pub switching: Option<bool>,
    /// The dead-man of this activation.
    pub deadman: Option<DeadMan>,
    /// How the switch to the new system ended, if it has left word of that.
    pub ended: Option<Option<Ended>>,
    /// What is decided about this activation, if anything.
    pub decision: Option<Option<Decision>>,
    /// What is wrong; seen only when asked for.
    pub health: Option<Health>,
}

/// How a switch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It did all that it was to do.
    Whole,
    /// Its activation script failed, or it was killed half-way. The system may run all the same, without what
    /// was not done.
    CutShort,
}

/// How the dead-man stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadMan {
    /// There is none, or no longer.
    Absent,
    /// It waits.
    Armed,
    /// It has fired, and is at work.
    AtWork,
}

/// What is decided about an activation, once, by whoever acts first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The new system stays.
    Proven,
    /// It goes.
    Undo,
}

impl Decision {
    /// The word in the file that holds it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Undo => "undo",
        }
    }

    /// The decision that the word stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Proven, Self::Undo].into_iter().find(|decision| decision.word() == word)
    }
}

impl Sight {
    /// The dead-man has decided or acts.
    pub(super) fn is_being_undone(&self) -> bool {
        self.decision == Some(Some(Decision::Undo)) || self.deadman == Some(DeadMan::AtWork)
    }
}
