//! What is being done: one effect at a time, from its intent to the look that judges it.
//!
//! A restart must hold for a while before it counts. A ruleset that never proved itself must be followed by
//! a verified feed head, else it is taken back, once: it may have locked the appliance out.

use compliance_checks::firewall::FirewallBaseline;
use compliance_checks::{CheckId, Report, Verdict};
use compliance_protocol::digest::Digest;
use compliance_protocol::time::Span;

use super::{Engine, Job, after};
use crate::authorise;
use crate::effect::{Effect, Performed};
use crate::evidence::Moment;
use crate::ledger::{Fact, Intent, IntentId, LedgerError};
use crate::remedy;
use compliance_protocol::clock::ClockReading;

/// How long a ruleset that was just loaded has for letting a poll through.
const PROOF_TIME: Span = Span::from_secs(600);

/// An effect that was begun and has no outcome yet.
pub(super) struct Doing {
    pub(super) intent: IntentId,
    pub(super) what: Intent,
    pub(super) started: Moment,
    /// `None` while it is under way, and after a crash, when nobody saw how it ended.
    pub(super) performed: Option<Performed>,
    /// What taking it back did.
    pub(super) undone: Option<Performed>,
    pub(super) after_crash: bool,
    phase: Phase,
}

/// What it waits for. Times are of `CLOCK_BOOTTIME`.
enum Phase {
    /// The effect, or the look that judges it.
    Running,
    /// It has to hold until then.
    Settling(Span),
    /// A verified feed head, until then.
    Proving(Span),
}

impl Doing {
    /// An effect that was just permitted.
    pub(super) fn begun(intent: IntentId, what: Intent, started: Moment) -> Self {
        let (performed, undone, after_crash) = (None, None, false);
        Self { intent, what, started, performed, undone, after_crash, phase: Phase::Running }
    }

    /// An effect that a crash interrupted.
    pub(super) fn interrupted(intent: IntentId, what: Intent, found: Moment) -> Self {
        Self { after_crash: true, ..Self::begun(intent, what, found) }
    }

    /// The ruleset that it loads.
    fn ruleset(&self) -> Option<&FirewallBaseline> {
        match &self.what.effect {
            Some(Effect::LoadFirewall(expected)) => Some(expected),
            _ => None,
        }
    }
}

impl Engine {
    /// An effect has ended: whether it helped is for a round to say.
    pub fn effect_done(
        &mut self,
        performed: Performed,
        reading: ClockReading,
    ) -> Result<(), LedgerError> {
        let moment = self.moment(reading);
        if performed.event.is_some() {
            return self.step_done(performed, moment);
        }
        let settle = Span::from_secs(self.heal.settle_s.into());
        let Some(doing) = &mut self.doing else { return Ok(()) };
        let going_down = super::reboot::is_under_way(&doing.what, &performed);
        let settles = doing.what.effect.as_ref().is_some_and(Effect::settles);
        let done = performed.failure.is_none();
        if doing.performed.is_some() || doing.after_crash {
            doing.undone = Some(performed);
        } else {
            doing.performed = Some(performed);
            if done && settles && settle > Span::ZERO {
                doing.phase = Phase::Settling(after(reading.boottime, settle));
                return Ok(());
            }
        }
        if going_down {
            return Ok(());
        }
        let intent = doing.intent;
        self.ask_for_round(vec![intent], moment);
        Ok(())
    }

    /// Goes on with what waited for its time. When the next such time is.
    pub(super) fn go_on(&mut self, moment: Moment) -> Result<Option<Span>, LedgerError> {
        let now = moment.reading.boottime;
        let Some(doing) = &mut self.doing else { return Ok(None) };
        match doing.phase {
            Phase::Settling(until) if now >= until => {
                doing.phase = Phase::Running;
                let intent = doing.intent;
                self.ask_for_round(vec![intent], moment);
                Ok(None)
            }
            Phase::Proving(until) if now >= until => {
                doing.phase = Phase::Running;
                self.take_back(moment)?;
                Ok(None)
            }
            Phase::Settling(until) | Phase::Proving(until) => Ok(Some(until)),
            Phase::Running => Ok(None),
        }
    }

    /// Whether what was just judged well must still prove itself, and then begins to wait for that.
    pub(super) fn must_prove(
        &self,
        doing: &mut Doing,
        moment: Moment,
    ) -> Result<bool, LedgerError> {
        let Some(expected) = doing.ruleset().filter(|_| doing.undone.is_none()) else {
            return Ok(false);
        };
        let settled = [Fact::FirewallProven, Fact::FirewallUndone];
        for fact in settled {
            if self.ledger.fact::<Digest>(fact)? == Some(expected.sha256) {
                return Ok(false);
            }
        }
        doing.phase = Phase::Proving(after(moment.reading.boottime, PROOF_TIME));
        Ok(true)
    }

    /// Remembers since when the baseline's ruleset is in force.
    pub(super) fn note_ruleset(&mut self, report: &Report, moment: Moment) {
        if report.check != CheckId::Firewall {
            return;
        }
        let Some(expected) = self.expected_ruleset() else { return };
        let in_force = is_in_force(report, expected);
        let since = self.ruleset_since.unwrap_or(moment.reading.boottime);
        self.ruleset_since = in_force.then_some(since);
    }

    /// A feed head has just been verified: the ruleset that was in force when its ticket was given let the
    /// poll through.
    pub(super) fn prove_ruleset(&mut self, moment: Moment) -> Result<(), LedgerError> {
        let given = self.head.map(|head| head.ticket_boottime);
        let (Some(since), Some(given)) = (self.ruleset_since, given) else { return Ok(()) };
        let Some(sha256) = self.expected_ruleset().map(|expected| expected.sha256) else {
            return Ok(());
        };
        if given < since || self.ledger.fact(Fact::FirewallProven)? == Some(sha256) {
            return Ok(());
        }
        self.record(moment, |tx, _| tx.set_fact(Fact::FirewallProven, &sha256.to_string()))?;
        if let Some(doing) = &mut self.doing
            && matches!(doing.phase, Phase::Proving(_))
        {
            doing.phase = Phase::Running;
            let intent = doing.intent;
            self.ask_for_round(vec![intent], moment);
        }
        Ok(())
    }

    /// No feed head came after the ruleset was loaded: puts back the one of before.
    fn take_back(&mut self, moment: Moment) -> Result<(), LedgerError> {
        let Some(doing) = &self.doing else { return Ok(()) };
        let Some(expected) = doing.ruleset() else { return Ok(()) };
        let sha256 = expected.sha256.to_string();
        let permit = doing.what.effect.as_ref().and_then(authorise::undo);
        self.record(moment, |tx, _| tx.set_fact(Fact::FirewallUndone, &sha256))?;
        self.jobs.extend(permit.map(Job::Effect));
        Ok(())
    }

    fn expected_ruleset(&self) -> Option<&FirewallBaseline> {
        self.baseline.as_ref().ok()?.baseline.firewall.expected()
    }
}

/// Whether loading the ruleset would change nothing.
fn is_in_force(report: &Report, expected: &FirewallBaseline) -> bool {
    let load = Effect::LoadFirewall(Box::new(expected.clone()));
    match &report.verdict {
        Verdict::Compliant => true,
        Verdict::Drifted(findings) => {
            !findings.iter().any(|finding| remedy::concerns(&load, &finding.subject))
        }
        Verdict::Unknown(_) | Verdict::NotApplicable(_) => false,
    }
}
