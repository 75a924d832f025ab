//! After a start of the executor: in the same boot it looks and goes on; after a boot it asks which system
//! came up.

use compliance_protocol::evidence::Outcome;
use compliance_protocol::time::Span;

use super::step::{POLL, wait};
use super::{Action, Activation, Before, Class, Ending, Phase, Proof, Sight, Undo, Why};

/// After a boot, the running system must be seen within this time.
const SEEN: Span = Span::from_secs(600);

impl Activation {
    pub(super) fn resume(&mut self, same_boot: bool, now: Span) -> Option<Action> {
        let trial = self.class == Class::Reboot;
        let action = match &self.phase {
            Phase::Preflight | Phase::Realising | Phase::Planning | Phase::Ready => {
                self.end(interrupted(), now)
            }
            Phase::Leaving { ending, .. } if !same_boot => {
                let ending = ending.clone();
                self.end(ending, now)
            }
            Phase::Arming { .. } if same_boot && !trial => self.leave(interrupted(), now),
            Phase::Arming { .. } if !trial => self.end(interrupted(), now),
            Phase::Proving(proof) | Phase::Deciding { proof, .. } if same_boot => {
                // What happened meanwhile was not seen: it is looked at again before anything is decided.
                self.phase = Phase::Proving(Proof { good: 0, ..proof.clone() });
                self.question()
            }
            _ if same_boot => self.question(),
            was => {
                let was = Box::new(was.clone());
                self.enter(Phase::Returned { was, until: now.plus(SEEN) }, now);
                self.question()
            }
        };
        Some(action)
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
            let detail = "after a restart of the machine it cannot be seen which system runs";
            return self.end(Ending::new(Outcome::Failed, "interrupted", detail), now);
        };
        if *running == before.system {
            return self.undone_by_boot(why(was), touched(was) || self.class == Class::Reboot, now);
        }
        match was {
            Phase::Rebooting { .. } if *running == self.target.system => self.tried(now),
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
        Phase::Returned { was, .. } => why(was),
        _ => Why::Interrupted,
    }
}

/// Whether profile or boot loader may have been touched.
fn touched(was: &Phase) -> bool {
    match was {
        Phase::Persisting { .. } => true,
        Phase::Undoing(Undo { touched, .. }) => *touched,
        Phase::Returned { was, .. } => self::touched(was),
        _ => false,
    }
}
