//! Bugs that are planted on purpose: each must be caught, or the simulation proves nothing.

use compliance_executor::activation::{Action, Activation, Ending, Limits, Phase, Which};
use compliance_protocol::evidence::Outcome;

/// One planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// What boots changes first, as `nixos-rebuild switch` does it.
    BootsFirst,
    /// Nothing is on record but the end.
    NothingOnRecord,
    /// The second to decide overrides the first.
    DecidedTwice,
    /// The dead-man does not ask what is decided.
    DeadManDoesNotAsk,
    /// The dead-man gives up where no switch leads back.
    DeadManGivesUp,
    /// No dead-man is armed.
    NoDeadMan,
    /// The switch ended, so the new system is taken to run, and to be well.
    BelievesExitCode,
    /// How the activation script ended is not asked.
    NoScript,
    /// A switch that left no word of how it ended is taken to have ended well.
    SilenceIsGood,
    /// Nothing guards a trial boot but the executor.
    NoGuard,
    /// One look is enough.
    NoSoak,
    /// The proof does not ask for the control plane.
    NoHeads,
    /// What fails is left as it is.
    NoUndo,
    /// Nobody looks whether the undo worked.
    UndoUnseen,
    /// A boot is taken for a restart of the executor.
    AnyBootIsThisBoot,
    /// After a start of the executor everything is begun again.
    StartsAgain,
    /// The clock and the window are not asked.
    NoWindow,
    /// The profile is set and the boot loader forgotten.
    ForgetsBootLoader,
    /// The outcome is on record before what boots has changed.
    EndsEarly,
}

pub(crate) const BUGS: [Bug; 19] = [
    Bug::BootsFirst,
    Bug::NothingOnRecord,
    Bug::DecidedTwice,
    Bug::DeadManDoesNotAsk,
    Bug::DeadManGivesUp,
    Bug::NoDeadMan,
    Bug::BelievesExitCode,
    Bug::NoScript,
    Bug::SilenceIsGood,
    Bug::NoGuard,
    Bug::NoSoak,
    Bug::NoHeads,
    Bug::NoUndo,
    Bug::UndoUnseen,
    Bug::AnyBootIsThisBoot,
    Bug::StartsAgain,
    Bug::NoWindow,
    Bug::ForgetsBootLoader,
    Bug::EndsEarly,
];

impl Bug {
    /// The limits that it sets.
    pub(crate) fn limits(self, limits: Limits) -> Limits {
        match self {
            Self::NoSoak => Limits { soak_s: 0, looks: 1, ..limits },
            Self::NoHeads => Limits { heads: 0, ..limits },
            _ => limits,
        }
    }

    /// What is done in place of `action`. Bugs that are not here are in how the run does it.
    pub(crate) fn bite(self, activation: &Activation, action: Action) -> Action {
        match (self, &activation.phase, &action) {
            (Self::BootsFirst, _, Action::Test(Which::Next)) => Action::InstallBoot(Which::Next),
            (Self::NoUndo, Phase::Undoing(_), _) => ended(Outcome::Failed),
            (Self::UndoUnseen, Phase::Undoing(undo), Action::Look { .. }) if undo.switched > 0 => {
                ended(Outcome::Reverted)
            }
            (Self::ForgetsBootLoader, _, Action::InstallBoot(Which::Next))
            | (Self::EndsEarly, _, Action::SetProfile(Which::Next)) => ended(Outcome::Success),
            _ => action,
        }
    }
}

fn ended(outcome: Outcome) -> Action {
    Action::End(Ending {
        outcome,
        reason: "planted".to_owned(),
        detail: String::new(),
        quarantine: false,
        gates: Vec::new(),
        retry_after: None,
    })
}
