//! What is being done: one effect at a time, from its intent to the look that judges it.
//!
//! A restart must hold for a while before it counts. A ruleset that never let a poll through must do so now,
//! else it is taken back, once: it may have locked the appliance out. Nobody takes back what somebody else
//! has put in its place meanwhile.

use compliance_checks::firewall::FirewallBaseline;
use compliance_checks::{CheckId, Report};
use compliance_protocol::clock::ClockReading;
use compliance_protocol::digest::Digest;
use compliance_protocol::feed::TICKET_LIFE;
use compliance_protocol::time::Span;

use super::{Engine, Job, after, reboot};
use crate::authorise;
use crate::effect::{Effect, Performed};
use crate::evidence::Moment;
use crate::ledger::{Fact, Intent, IntentId, LedgerError};

/// How long a ruleset that was just loaded has for letting a poll through, if one was tried.
const PROOF_TIME: Span = Span::from_secs(600);

/// How long it has if none was tried: longer than any pause that the agent makes between two.
const SILENCE: Span = Span::from_secs(75 * 60);

/// After a look that saw nothing, or an undo that failed, the next is this much later.
const AGAIN: Span = Span::from_secs(60);

/// An undo that failed is tried so often.
const UNDO_TRIES: u8 = 3;

/// An effect that was begun and has no outcome yet.
pub(super) struct Doing {
    pub(super) intent: IntentId,
    pub(super) what: Intent,
    pub(super) started: Moment,
    /// `None` while it is under way, and after a crash, when nobody saw how it ended.
    pub(super) performed: Option<Performed>,
    /// What taking it back did.
    pub(super) undone: Option<Performed>,
    /// Somebody else put something in its place meanwhile, which is left alone.
    pub(super) superseded: bool,
    pub(super) after_crash: bool,
    phase: Phase,
}

/// What it waits for. Times are of `CLOCK_BOOTTIME`.
enum Phase {
    /// The effect, or the look that judges it.
    Running,
    /// It has to hold until then.
    Settling(Span),
    /// A poll that the ruleset lets through.
    Proving(Proof),
}

/// The proof of a ruleset.
#[derive(Clone, Copy)]
struct Proof {
    /// Since when it may be in force.
    since: Span,
    /// What the ruleset was when it was first seen after that.
    found: Option<Digest>,
    /// When a ticket was first given since.
    tried: Option<Span>,
    /// A head answered one.
    heard: bool,
    /// A look was asked for, which decides; or the undo is under way.
    looking: bool,
    /// No look before then.
    not_before: Span,
    undo_tries: u8,
}

impl Doing {
    /// An effect that was just permitted.
    pub(super) fn begun(intent: IntentId, what: Intent, started: Moment) -> Self {
        Self {
            intent,
            what,
            started,
            performed: None,
            undone: None,
            superseded: false,
            after_crash: false,
            phase: Phase::Running,
        }
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

    /// Whether the ruleset may have been changed: its loading was begun, however it ended.
    fn may_have_loaded(&self) -> bool {
        let begun = |p: &Performed| p.actions.iter().any(|action| action.name == "load_ruleset");
        self.performed.as_ref().map_or(self.after_crash, begun)
    }
}

impl Engine {
    /// What is being done to the host, and holds up whatever else would be: a heal, or an activation from when
    /// all is ready for it.
    pub(super) fn doing_title(&self) -> Option<String> {
        let activation = self.activation_title().filter(|_| !self.only_prepares());
        activation.or_else(|| self.heal_title())
    }

    /// What is being done, an activation that is only prepared included.
    pub(super) fn under_way(&self) -> Option<String> {
        self.doing_title().or_else(|| self.activation_title())
    }

    pub(super) fn heal_title(&self) -> Option<String> {
        let effect = self.doing.as_ref()?.what.effect.as_ref();
        Some(effect.map_or_else(|| "a look".to_owned(), Effect::title))
    }

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
        if let Phase::Proving(proof) = &mut doing.phase {
            if performed.failure.is_some() && proof.undo_tries < UNDO_TRIES {
                proof.look_again(reading.boottime);
                return Ok(());
            }
            doing.undone = Some(performed);
            doing.phase = Phase::Running;
            let intent = doing.intent;
            self.ask_for_round(vec![intent], moment);
            return Ok(());
        }
        let going_down = reboot::is_under_way(&doing.what, &performed);
        let settles = doing.what.effect.as_ref().is_some_and(Effect::settles);
        let done = performed.failure.is_none();
        doing.performed = Some(performed);
        if done && settles && settle > Span::ZERO {
            doing.phase = Phase::Settling(after(reading.boottime, settle));
        } else if !going_down {
            let intent = doing.intent;
            self.ask_for_round(vec![intent], moment);
        }
        Ok(())
    }

    /// Goes on with what waited for its time. When the next such time is.
    pub(super) fn wait_on(&mut self, moment: Moment) -> Option<Span> {
        let now = moment.reading.boottime;
        let doing = self.doing.as_mut()?;
        let intent = doing.intent;
        match &mut doing.phase {
            Phase::Settling(until) if now >= *until => doing.phase = Phase::Running,
            Phase::Settling(until) => return Some(*until),
            Phase::Proving(proof) if proof.looking => return None,
            Phase::Proving(proof) if now >= proof.next() => proof.looking = true,
            Phase::Proving(proof) => return Some(proof.next()),
            Phase::Running => return None,
        }
        self.ask_for_round(vec![intent], moment);
        None
    }

    /// Whether what was done is over with this look; otherwise it waits, or is being taken back.
    pub(super) fn is_over(
        &mut self,
        doing: &mut Doing,
        report: Option<&Report>,
        moment: Moment,
    ) -> Result<bool, LedgerError> {
        let Some(sha256) = doing.ruleset().map(|expected| expected.sha256) else {
            return Ok(true);
        };
        if doing.undone.is_some() {
            return Ok(true);
        }
        let seen = report.and_then(seen_ruleset);
        let Phase::Proving(proof) = &mut doing.phase else {
            return self.begin_proof(doing, sha256, seen, moment);
        };
        match (seen, proof.found) {
            // Nobody can say whether it is in force: neither proven nor taken back.
            (None, _) => {
                proof.look_again(moment.reading.boottime);
                Ok(false)
            }
            (Some(seen), Some(found)) if seen != found => {
                doing.superseded = true;
                Ok(true)
            }
            // After a crash nobody knows that it was loaded, nor that what was kept is of this time: only
            // where it is seen in force was it.
            (Some(seen), None) if doing.after_crash && seen != sha256 => Ok(true),
            (Some(seen), _) => {
                proof.found = Some(seen);
                if proof.heard {
                    return self.prove(sha256, moment).map(|()| true);
                }
                proof.undo_tries += 1;
                self.ruleset_since = None;
                let permit = doing.what.effect.as_ref().and_then(authorise::undo);
                self.jobs.extend(permit.map(Job::Effect));
                Ok(false)
            }
        }
    }

    /// Whether what was just loaded must prove itself: not if it did before, not if it was taken back
    /// before, and not if things are as they were.
    fn begin_proof(
        &self,
        doing: &mut Doing,
        sha256: Digest,
        seen: Option<Digest>,
        moment: Moment,
    ) -> Result<bool, LedgerError> {
        for fact in [Fact::FirewallProven, Fact::FirewallUndone] {
            if self.ledger.fact::<Digest>(fact)? == Some(sha256) {
                return Ok(true);
            }
        }
        let before = doing.what.pre.get("sha256").and_then(|sha256| sha256.as_str()?.parse().ok());
        let is_elsewhere = doing.after_crash && seen.is_some_and(|seen| seen != sha256);
        if !doing.may_have_loaded() || is_elsewhere || (seen.is_some() && seen == before) {
            return Ok(true);
        }
        doing.phase = Phase::Proving(Proof {
            since: moment.reading.boottime,
            found: seen,
            tried: None,
            heard: false,
            looking: false,
            not_before: Span::ZERO,
            undo_tries: 0,
        });
        Ok(false)
    }

    /// Remembers since when the baseline's ruleset is in force; and that it is proven, if a head has
    /// answered a ticket since and it still is.
    pub(super) fn note_ruleset(
        &mut self,
        report: &Report,
        moment: Moment,
    ) -> Result<(), LedgerError> {
        if report.check != CheckId::Firewall {
            return Ok(());
        }
        let expected = self.expected_ruleset();
        let Some(sha256) = expected.filter(|sha256| seen_ruleset(report) == Some(*sha256)) else {
            self.ruleset_since = None;
            return Ok(());
        };
        let now = moment.reading.boottime;
        let since = *self.ruleset_since.get_or_insert(now);
        let asked = self.head.map(|head| head.ticket_boottime);
        if asked.is_some_and(|asked| asked >= since) { self.prove(sha256, moment) } else { Ok(()) }
    }

    /// A ticket was given: the agent is about to poll.
    pub(super) fn note_ticket(&mut self, moment: Moment) {
        if let Some(Doing { phase: Phase::Proving(proof), .. }) = &mut self.doing {
            proof.tried.get_or_insert(moment.reading.boottime);
        }
    }

    /// A head was verified, for a ticket given then.
    pub(super) fn note_head(&mut self, asked: Span) {
        if let Some(Doing { phase: Phase::Proving(proof), .. }) = &mut self.doing {
            proof.heard |= asked >= proof.since;
        }
    }

    fn prove(&mut self, sha256: Digest, moment: Moment) -> Result<(), LedgerError> {
        if self.ledger.fact(Fact::FirewallProven)? == Some(sha256) {
            return Ok(());
        }
        self.record(moment, |tx, _| tx.set_fact(Fact::FirewallProven, &sha256.to_string()))
    }

    fn expected_ruleset(&self) -> Option<Digest> {
        Some(self.baseline.as_ref().ok()?.baseline.firewall.expected()?.sha256)
    }
}

impl Proof {
    /// When a look is to decide: once a head was heard, or it had its time. A poll was tried by then and
    /// got no answer, or none was even tried.
    fn next(&self) -> Span {
        let silent = after(self.since, SILENCE);
        let tried = self.tried.map(|at| after(at, TICKET_LIFE).max(after(self.since, PROOF_TIME)));
        let overdue = tried.map_or(silent, |tried| tried.min(silent));
        self.not_before.max(if self.heard { self.since } else { overdue })
    }

    /// The last look, or undo, came to nothing.
    fn look_again(&mut self, now: Span) {
        self.looking = false;
        self.not_before = after(now, AGAIN);
    }
}

/// The digest of the ruleset that a report of the firewall check saw.
fn seen_ruleset(report: &Report) -> Option<Digest> {
    report.facts.get("sha256")?.as_str()?.parse().ok()
}
