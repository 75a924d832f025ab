//! After a start of the executor: in the same boot it looks and goes on; after a boot it asks which system
//! came up. What a later release recorded, and a rollback gave to this one to read, is gone back from.

use compliance_protocol::evidence::Outcome;
use compliance_protocol::time::Span;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::step::{PERSIST, POLL, wait};
use super::{Action, Activation, Before, Class, Ending, Phase, Proof, Sight, Undo, Why};

/// After a boot, the running system must be seen within this time.
const SEEN: Span = Span::from_secs(600);

impl Activation {
    pub(super) fn resume(&mut self, same_boot: bool, now: Span) -> Action {
        let trial = self.class == Class::Reboot;
        match &self.phase {
            _ if self.has_done_nothing() && same_boot => self.question(),
            _ if self.has_done_nothing() => self.end(interrupted(), now),
            Phase::Unreadable if self.before.is_none() => self.end(interrupted(), now),
            Phase::Unreadable if same_boot => {
                self.enter(Phase::Unreadable, now);
                self.question()
            }
            Phase::Leaving { ending, .. } if !same_boot => {
                let ending = ending.clone();
                self.end(ending, now)
            }
            Phase::Arming { .. } if same_boot && !trial => self.leave(interrupted(), now),
            Phase::Arming { .. } if !trial => self.end(interrupted(), now),
            Phase::Proving(proof) | Phase::Deciding(proof) if same_boot => {
                // What happened meanwhile was not seen: it is looked at again before anything is decided.
                self.phase = Phase::Proving(Proof { good: 0, ..proof.clone() });
                self.question()
            }
            Phase::Persisting { .. } | Phase::Undoing(_) | Phase::Returned { .. } if same_boot => {
                self.give_time(now);
                self.question()
            }
            _ if same_boot => self.question(),
            Phase::Returned { .. } => {
                self.give_time(now);
                self.question()
            }
            was => {
                let was = Box::new(was.clone());
                self.enter(Phase::Returned { was, until: now.plus(SEEN) }, now);
                self.question()
            }
        }
    }

    /// The time that is left is counted from now on: while the executor was not there, it used none.
    fn give_time(&mut self, now: Span) {
        let undone_by = self.undone_by(now);
        match &mut self.phase {
            Phase::Persisting { until, .. } => *until = now.plus(PERSIST),
            Phase::Returned { until, .. } => *until = now.plus(SEEN),
            Phase::Undoing(undo) => undo.until = undone_by,
            _ => {}
        }
    }

    /// The machine has booted since it stood at `was`.
    pub(super) fn returned(
        &mut self,
        sight: &Sight,
        before: &Before,
        was: &Phase,
        until: Span,
        now: Span,
    ) -> Action {
        let Some(running) = &sight.running else {
            if now < until {
                return wait(now, POLL);
            }
            if self.class == Class::Reboot {
                // It may run unproven; a restart brings back what was there before.
                return self.undo(why(was), now);
            }
            let detail = "after a restart of the machine it cannot be seen which system runs";
            return self.end(Ending::new(Outcome::Failed, "interrupted", detail), now);
        };
        if *running == before.system {
            return self.undone_by_boot(why(was), touched(was) || self.class == Class::Reboot, now);
        }
        match was {
            Phase::Unreadable if *running == self.target.system => self.go_back_unread(now),
            // The power may have failed when the boot loader was told, and before that was on record.
            Phase::Staging { .. } | Phase::Rebooting { .. } if *running == self.target.system => {
                self.tried(now)
            }
            // It was to be forgotten, and the power failed before the boot loader had.
            Phase::Undoing(undo) if self.class == Class::Reboot => {
                let undo =
                    Undo { booted: false, decided: true, at: now, put_back: 0, ..undo.clone() };
                self.enter(Phase::Undoing(undo), now);
                self.give_time(now);
                self.question()
            }
            // It was on record that the new system is proven.
            Phase::Disarming { .. } | Phase::Persisting { .. }
                if *running == self.target.system =>
            {
                self.phase = Phase::Disarming { tries: 0 };
                self.question()
            }
            _ => self.superseded(now),
        }
    }

    /// How far it was cannot be read; which system runs can be seen.
    pub(super) fn unreadable(&mut self, sight: &Sight, before: &Before, now: Span) -> Action {
        match &sight.running {
            None if now < self.since.plus(SEEN) => wait(now, POLL),
            None => {
                let detail = "a later release began it, and it cannot be seen which system runs";
                self.end(Ending::new(Outcome::Failed, "interrupted", detail), now)
            }
            Some(running) if *running == before.system && self.class == Class::Reboot => {
                self.undone_by_boot(Why::Interrupted, true, now)
            }
            // Units of the system before may have been stopped half-way: it is switched to also where it runs.
            Some(running) if [&before.system, &self.target.system].contains(&running) => {
                self.go_back_unread(now)
            }
            Some(_) => self.superseded(now),
        }
    }
}

/// Reads a phase that a later release may have recorded.
pub(super) fn readable<'de, D: Deserializer<'de>>(from: D) -> Result<Phase, D::Error> {
    let recorded = Value::deserialize(from)?;
    Ok(serde_json::from_value(recorded).unwrap_or_else(|error| {
        tracing::warn!(%error, "where an activation stands cannot be read: it is gone back from");
        Phase::Unreadable
    }))
}

fn interrupted() -> Ending {
    let detail =
        "it was interrupted before anything was done to the running system; order it again";
    Ending::new(Outcome::Failed, "interrupted", detail)
}

/// Why a machine that has booted what ran before did so.
fn why(was: &Phase) -> Why {
    match was {
        Phase::Undoing(undo) => undo.why.clone(),
        Phase::Rebooting { .. } => Why::TrialFailed,
        Phase::Staging { .. } | Phase::Disarming { .. } | Phase::Persisting { .. } => {
            Why::InterruptedLate
        }
        _ => Why::Interrupted,
    }
}

/// Whether profile or boot loader may have been touched.
fn touched(was: &Phase) -> bool {
    match was {
        Phase::Persisting { .. } | Phase::Unreadable => true,
        Phase::Undoing(Undo { touched, .. }) => *touched,
        _ => false,
    }
}
