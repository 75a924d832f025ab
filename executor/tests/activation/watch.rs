//! What must hold in every run, at every instant and at the end.

use compliance_executor::activation::{Decision, Ended, Ending, Limits};
use compliance_protocol::evidence::Outcome;

use super::machine::{By, DeadManState, Sys};
use super::run::{Ran, Run, Violation};
use super::scenario::{Behaviour, Fault, HOUR, MINUTE, SECOND};

impl Run<'_> {
    /// What is decided to stay must have proven itself.
    pub(crate) fn check_proof(&mut self) -> Result<(), Violation> {
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
        if machine.note != Some(Ended::Whole) && !self.scenario.reboot {
            return Err(self.violation("proven, and the switch is not known to have done it all"));
        }
        if !soaked || self.heads < limits.heads {
            return Err(self.violation("proven without soak and heads"));
        }
        self.proven = true;
        Ok(())
    }

    pub(crate) fn check_window(&self, what: &str) -> Result<(), Violation> {
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

    pub(crate) fn is_touched_by_hand(&self) -> bool {
        self.machine.by_hand.contains(&true)
    }

    /// A dead-man must not be left about to act.
    pub(crate) fn check_deadman(&mut self, ending: &Ending) {
        let about = self.machine.deadman != DeadManState::Absent;
        let acts = self.machine.decision != Some(Decision::Proven);
        self.left_deadman |= about && acts && ending.reason != "undo_failed";
    }

    /// What must hold at every instant.
    pub(crate) fn watch(&self) -> Result<(), Violation> {
        let machine = &self.machine;
        if !self.may_be(machine.default) {
            return Err(self.violation("the boot default is not proven"));
        }
        if self.left_deadman {
            return Err(self.violation("it ends and leaves a dead-man that would act"));
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
    pub(crate) fn judge(self) -> Result<Ran, Violation> {
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
        // Then a boot has to have brought the old system back, for all that.
        let gave_up = gave_up && self.scenario.behaviour != Behaviour::NoWayBack;
        let expected = if ending.outcome == Outcome::Success { Sys::Next } else { Sys::Old };
        let settled = all.iter().all(|system| *system == expected)
            && machine.whole == Some(expected)
            && machine.once.is_none();
        if !self.is_touched_by_hand() && !gave_up && !settled {
            return Err(self.violation("it does not end as the outcome says"));
        }
        Ok(Ran { steps: self.steps, ending: ending.clone(), running: machine.running })
    }

    pub(crate) fn violation(&self, what: &str) -> Violation {
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
