//! The way back, and the ways out.

use compliance_protocol::evidence::Outcome;
use compliance_protocol::name::StorePath;
use compliance_protocol::time::Span;
use serde::{Deserialize, Serialize};

use super::deadman::patience;
use super::step::{POLL, TRIES, wait};
use super::trial::GOES_DOWN;
use super::{Action, Activation, Before, Class, DeadMan, Ending, Phase, Sight, Which};

/// Somebody else's switch is waited for so long, beyond what our own take.
const PATIENCE: Span = Span::from_secs(1800);

/// Between two attempts to go back.
const AGAIN: Span = Span::from_secs(30);

/// How far an undo is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undo {
    /// Why.
    pub why: Why,
    /// It is decided, where the dead-man looks.
    pub decided: bool,
    /// The system before runs, and nothing was switched since it booted.
    pub booted: bool,
    /// Profile or boot loader may have been touched.
    pub touched: bool,
    /// How often the system before was switched to.
    pub switched: u8,
    /// When that was begun last.
    pub at: Span,
    /// Since when it runs again.
    pub back_since: Option<Span>,
    /// The boot loader was told to try nothing, and the guard of a trial boot is off the disk.
    #[serde(default)]
    pub forgotten: bool,
    /// How often profile or boot loader were put back.
    pub put_back: u8,
    /// Given up then.
    pub until: Span,
}

/// Why something is undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    /// The switch ended, and the system before still runs.
    SwitchFailed,
    /// The switch did not end.
    SwitchHung,
    /// The new system runs, and its activation script failed.
    CutShort,
    /// The new system runs, and the switch to it has left no word of how it ended.
    Unaccounted,
    /// This is worse than before.
    Worse(Vec<String>),
    /// The proof was not complete in time.
    NotProven,
    /// All was well but the connection.
    NoConnection,
    /// The dead-man acted first.
    DeadMan,
    /// The dead-man could not be armed.
    NotArmed,
    /// Whether it stays could not be decided.
    NotDecided,
    /// Somebody else went back to the system before.
    Undone,
    /// Somebody else changed the system profile.
    Meddled,
    /// What boots could not be changed, or somebody went back meanwhile.
    NotPersisted,
    /// The boot loader could not be told to try it once.
    NotStaged,
    /// The machine did not go down.
    NotRebooted,
    /// The machine came up with the system before.
    TrialFailed,
    /// The machine went down before the new system had proven itself.
    Interrupted,
    /// The machine went down when it had, and before it was what boots.
    InterruptedLate,
}

impl Why {
    /// For machines.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::SwitchFailed => "switch_failed",
            Self::SwitchHung => "switch_hung",
            Self::CutShort => "switch_cut_short",
            Self::Unaccounted => "switch_unaccounted",
            Self::Worse(_) => "worse_than_before",
            Self::NotProven => "not_proven",
            Self::NoConnection => "no_connection",
            Self::DeadMan => "deadman",
            Self::NotArmed => "deadman_not_armed",
            Self::NotDecided => "not_decided",
            Self::Undone => "undone_by_hand",
            Self::Meddled => "profile_changed_by_hand",
            Self::NotPersisted => "not_persisted",
            Self::NotStaged => "not_staged",
            Self::NotRebooted => "not_rebooted",
            Self::TrialFailed => "trial_boot_failed",
            Self::Interrupted | Self::InterruptedLate => "interrupted",
        }
    }

    /// For people.
    fn detail(&self) -> String {
        match self {
            Self::SwitchFailed => "the switch ended without the new system running".to_owned(),
            Self::SwitchHung => "the switch to the new system did not end in time".to_owned(),
            Self::CutShort => "the switch to the new system did not do all of it".to_owned(),
            Self::Unaccounted => {
                "the new system runs, and how the switch to it ended is not known".to_owned()
            }
            Self::Worse(what) => {
                let few = what.iter().take(8).map(String::as_str).collect::<Vec<_>>().join(", ");
                format!("with the new system {} got worse: {few}", what.len())
            }
            Self::NotProven => "the new system did not prove itself in time".to_owned(),
            Self::NoConnection => {
                "with the new system the control plane could not be reached".to_owned()
            }
            Self::DeadMan => {
                "the dead-man acted before the new system had proven itself".to_owned()
            }
            Self::NotArmed => "the dead-man could not be armed".to_owned(),
            Self::NotDecided => "the decision could not be written".to_owned(),
            Self::Undone => "somebody went back to the system before".to_owned(),
            Self::Meddled => "somebody changed the system profile during the proof".to_owned(),
            Self::NotPersisted => "the new system could not be made what boots".to_owned(),
            Self::NotStaged => {
                "the boot loader could not be told to try the new system once".to_owned()
            }
            Self::NotRebooted => "the machine did not go down".to_owned(),
            Self::TrialFailed => "the machine did not come up with the new system".to_owned(),
            Self::Interrupted => {
                "the machine went down before the new system had proven itself".to_owned()
            }
            Self::InterruptedLate => {
                "the machine went down before the proven system was what boots".to_owned()
            }
        }
    }

    /// Whether the new system may be to blame, so that it is not tried again soon.
    fn quarantines(&self) -> bool {
        match self {
            Self::SwitchFailed
            | Self::SwitchHung
            | Self::CutShort
            | Self::Unaccounted
            | Self::Worse(_)
            | Self::NotProven
            | Self::DeadMan
            | Self::TrialFailed
            | Self::Interrupted => true,
            Self::NoConnection
            | Self::NotArmed
            | Self::NotDecided
            | Self::Undone
            | Self::Meddled
            | Self::NotPersisted
            | Self::NotStaged
            | Self::NotRebooted
            | Self::InterruptedLate => false,
        }
    }
}

impl Activation {
    /// Goes back.
    pub(super) fn undo(&mut self, why: Why, now: Span) -> Action {
        // Once the new system was decided to stay, the dead-man is out of it.
        let persisting = matches!(self.phase, Phase::Persisting { .. });
        let booted = matches!(self.phase, Phase::Staging { .. } | Phase::Rebooting { .. });
        let touched = persisting || self.class == Class::Reboot;
        self.begin_undo(why, (persisting || booted, booted, touched), now)
    }

    /// The machine has booted what ran before.
    pub(super) fn undone_by_boot(&mut self, why: Why, touched: bool, now: Span) -> Action {
        self.begin_undo(why, (true, true, touched), now)
    }

    /// Goes back from where nobody knows: profile and boot loader may have been touched, and what is decided
    /// about it was for another release to say.
    pub(super) fn go_back_unread(&mut self, now: Span) -> Action {
        self.begin_undo(Why::Interrupted, (true, false, true), now)
    }

    fn begin_undo(
        &mut self,
        why: Why,
        (decided, booted, touched): (bool, bool, bool),
        now: Span,
    ) -> Action {
        let until = self.undone_by(now);
        let undo = Undo {
            why,
            decided,
            booted,
            touched,
            switched: 0,
            at: now,
            back_since: None,
            forgotten: false,
            put_back: 0,
            until,
        };
        self.enter(Phase::Undoing(undo), now);
        self.question()
    }

    /// When an undo that begins or goes on now is given up.
    pub(super) fn undone_by(&self, now: Span) -> Span {
        let both = self.limits.switch().plus(self.limits.switch());
        now.plus(both).plus(self.limits.settle()).plus(PATIENCE)
    }

    pub(super) fn undoing(
        &mut self,
        sight: &Sight,
        before: &Before,
        mut undo: Undo,
        now: Span,
    ) -> Action {
        if now >= undo.until {
            return self.give_up(&undo, now);
        }
        if sight.switching != Some(false) || sight.deadman == Some(DeadMan::AtWork) {
            return wait(now, POLL);
        }
        let Some(running) = &sight.running else { return wait(now, POLL) };
        let ours = *running == self.target.system && !undo.booted;
        if *running != before.system && !ours {
            // But what it would be tried as is ours to take away.
            return match sight.once {
                Some(None) if undo.forgotten || self.class == Class::Live => self.superseded(now),
                _ if !undo.touched => self.superseded(now),
                _ => self.put_back_with(Action::ForgetOnce, undo, now),
            };
        }
        if undo.booted {
            return self.put_back(sight, before, undo, now);
        }
        if undo.switched == 0 {
            return self.go_back(sight, before, undo, now);
        }
        if *running != before.system {
            return self.go_back_again(sight, before, undo, now);
        }
        let worse = sight.health.as_ref().map(|health| health.worse_than(&before.health));
        let settled = now >= undo.back_since.get_or_insert(now).plus(self.limits.settle());
        match worse {
            Some(worse) if worse.is_nothing() || (settled && worse.certain.is_empty()) => {
                self.put_back(sight, before, undo, now)
            }
            _ if settled => self.go_back_again(sight, before, undo, now),
            // Units may need a moment.
            _ => {
                self.phase = Phase::Undoing(undo);
                wait(now, POLL)
            }
        }
    }

    fn go_back_again(&mut self, sight: &Sight, before: &Before, undo: Undo, now: Span) -> Action {
        match () {
            () if undo.switched >= TRIES => self.give_up(&undo, now),
            () if now < undo.at.plus(self.between_attempts()) => wait(now, POLL),
            () => self.go_back(sight, before, undo, now),
        }
    }

    /// A machine that was told to restart is given the time for it.
    fn between_attempts(&self) -> Span {
        match self.class {
            Class::Live => AGAIN,
            Class::Reboot => GOES_DOWN,
        }
    }

    fn go_back(&mut self, sight: &Sight, before: &Before, mut undo: Undo, now: Span) -> Action {
        let boots = self.class == Class::Reboot && before.system != self.target.system;
        let first = self.to_put_back(sight, before, &undo).filter(|_| boots);
        if let Some(action) = first.filter(|action| *action != Action::SetProfile(Which::Before)) {
            // Or else it would boot what is to go.
            return self.put_back_with(action, undo, now);
        }
        undo.switched += 1;
        undo.at = now;
        undo.back_since = None;
        self.phase = Phase::Undoing(undo);
        if boots { Action::Reboot } else { Action::Test(Which::Before) }
    }

    /// The system before runs: profile and boot loader follow.
    fn put_back(&mut self, sight: &Sight, before: &Before, undo: Undo, now: Span) -> Action {
        match self.to_put_back(sight, before, &undo) {
            Some(action) => self.put_back_with(action, undo, now),
            None => self.reverted(&undo.why, now),
        }
    }

    /// What of profile and boot loader has to be put back, what boots first. What somebody else put there is
    /// theirs.
    fn to_put_back(&self, sight: &Sight, before: &Before, undo: &Undo) -> Option<Action> {
        let next = Some(&self.target.system);
        let is_back = |seen: Option<&StorePath>, was: &StorePath| {
            !undo.touched || seen == Some(was) || (seen.is_some() && seen != next)
        };
        match () {
            () if !is_back(sight.default.as_ref(), &before.default) => {
                Some(Action::InstallBoot(Which::Before))
            }
            () if self.class == Class::Reboot && (!undo.forgotten || sight.once != Some(None)) => {
                Some(Action::ForgetOnce)
            }
            () if !is_back(sight.profile.as_ref(), &before.profile) => {
                Some(Action::SetProfile(Which::Before))
            }
            () => None,
        }
    }

    fn put_back_with(&mut self, action: Action, mut undo: Undo, now: Span) -> Action {
        if undo.put_back > 0 && now < undo.at.plus(AGAIN) {
            return wait(now, POLL);
        }
        undo.put_back = undo.put_back.saturating_add(1);
        undo.forgotten |= action == Action::ForgetOnce;
        undo.at = now;
        self.phase = Phase::Undoing(undo);
        action
    }

    fn reverted(&mut self, why: &Why, now: Span) -> Action {
        let ending = Ending {
            quarantine: why.quarantines(),
            ..Ending::new(Outcome::Reverted, why.reason(), why.detail())
        };
        self.leave(ending, now)
    }

    /// The dead-man is left alone: it may still succeed, and what boots is what was there before.
    fn give_up(&mut self, undo: &Undo, now: Span) -> Action {
        let detail = format!(
            "{}; going back could not be verified: look at the machine, a restart boots what was there before",
            undo.why.detail()
        );
        let ending =
            Ending { quarantine: true, ..Ending::new(Outcome::Failed, "undo_failed", detail) };
        self.end(ending, now)
    }

    /// Somebody switched to a third system: theirs stays.
    pub(super) fn superseded(&mut self, now: Span) -> Action {
        let detail = "somebody switched to another system meanwhile; it was left as it is";
        self.leave(Ending::new(Outcome::Failed, "superseded", detail), now)
    }

    /// Calls off the dead-man, and ends.
    pub(super) fn leave(&mut self, ending: Ending, now: Span) -> Action {
        // A dead-man that cannot be called off acts first, and for as long as it has patience.
        let until = now.plus(self.limits.deadman()).plus(patience(self.limits.switch()));
        self.enter(Phase::Leaving { ending, tries: 0, until }, now);
        self.question()
    }

    pub(super) fn leaving(
        &mut self,
        sight: &Sight,
        ending: Ending,
        tries: u8,
        until: Span,
        now: Span,
    ) -> Action {
        match sight.deadman {
            Some(DeadMan::Absent) => self.end(ending, now),
            _ if now >= until => self.end(ending, now),
            Some(DeadMan::Armed) | None if tries < TRIES => {
                self.phase = Phase::Leaving { ending, tries: tries + 1, until };
                Action::Disarm
            }
            // What cannot be called off fires in its time, finds all as it is to be, and is gone.
            _ => wait(now, POLL),
        }
    }

    pub(super) fn end(&mut self, ending: Ending, now: Span) -> Action {
        self.enter(Phase::Ended, now);
        Action::End(ending)
    }
}
