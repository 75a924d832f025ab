//! After a start of the executor: in the same boot it looks and goes on; after a boot it asks which system
//! came up.

use compliance_protocol::evidence::Outcome;
use compliance_protocol::time::Span;

use super::step::{PERSIST, POLL, wait};
use super::{Action, Activation, Before, Class, Ending, Phase, Proof, Sight, Undo, Why};

/// After a boot, the running system must be seen within this time.
const SEEN: Span = Span::from_secs(600);

impl Activation {
    pub(super) fn resume(&mut self, same_boot: bool, now: Span) -> Action {
        let trial = self.class == Class::Reboot;
        match &self.phase {
            Phase::Preflight | Phase::Realising | Phase::Planning | Phase::Ready => {
                self.end(interrupted(), now)
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
            // The power may have failed when the boot loader was told, and before that was on record.
            Phase::Staging { .. } | Phase::Rebooting { .. } if *running == self.target.system => {
                self.tried(now)
            }
            // It was to be forgotten, and the power failed before the boot loader had.
            Phase::Undoing(undo) if self.class == Class::Reboot => {
                let undo = Undo { booted: false, decided: true, ..undo.clone() };
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
}

fn interrupted() -> Ending {
    let detail = "the executor was interrupted before anything was done; order it again";
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
        Phase::Persisting { .. } => true,
        Phase::Undoing(Undo { touched, .. }) => *touched,
        _ => false,
    }
}
