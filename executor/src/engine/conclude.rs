//! How what was begun ended: judged by what a round sees afterwards, never by an exit code alone.

use compliance_checks::{CheckId, Report, Verdict};
use compliance_protocol::evidence::{Finding, Outcome, Rollback};
use compliance_protocol::name::UnitName;
use compliance_protocol::time::{Span, Timestamp};
use serde_json::{Map, Value, json};

use super::doing::Doing;
use super::rounds::{attempt_key, fingerprint};
use super::{Engine, RoundJob};
use crate::effect::{Effect, Performed};
use crate::evidence::{Draft, Moment};
use crate::gates::Attempt;
use crate::ledger::{Fact, Intent, IntentId, IntentTrigger, LedgerError, OrderState, Tx};
use crate::observe::Observed;
use crate::remedy;

impl Engine {
    /// Takes up the intents that a crash left: each is concluded by a round, and none is begun again.
    pub(super) fn take_up_intents(&mut self, moment: Moment) -> Result<(), LedgerError> {
        let mut concludes = Vec::new();
        for (intent, what) in self.ledger.open_intents()? {
            tracing::warn!(
                subject = what.subject,
                "a crash interrupted this; it is judged by a look"
            );
            if what.activation.is_some() {
                self.resume_activation(intent, what, moment)?;
                continue;
            }
            if what.is_unread {
                self.end_unread(intent, &what, moment)?;
                continue;
            }
            if what.effect == Some(Effect::Reboot) {
                if self.take_up_reboot(intent, what, moment) {
                    concludes.push(intent);
                }
                continue;
            }
            concludes.push(intent);
            if what.effect.is_none() {
                self.looking.push((intent, what, moment));
            } else {
                self.doing = Some(Doing::interrupted(intent, what, moment));
            }
        }
        if !concludes.is_empty() {
            self.ask_for_round(concludes, moment);
        }
        Ok(())
    }

    /// A later release began it, and this one cannot tell what it was: nothing is done about it.
    fn end_unread(
        &mut self,
        intent: IntentId,
        what: &Intent,
        moment: Moment,
    ) -> Result<(), LedgerError> {
        let subject = if what.subject.is_empty() { "it" } else { &what.subject };
        let detail = format!(
            "a later release began this about {subject}, and this one cannot tell how far it came: look at the machine"
        );
        let trigger = what.trigger.evidence();
        let draft = self
            .draft(trigger, Outcome::Failed, "interrupted", detail, moment)
            .since(moment.back_at(what.started_at));
        self.record(moment, |tx, author| {
            finish(tx, intent, what)?;
            tx.append(author, draft)
        })
    }

    /// Concludes the intents that this round was asked for.
    pub(super) fn conclude(
        &mut self,
        round: &RoundJob,
        observed: &[Observed],
        moment: Moment,
    ) -> Result<(), LedgerError> {
        let asked = |intent: IntentId| round.concludes.contains(&intent);
        if let Some(mut doing) = self.doing.take_if(|doing| asked(doing.intent)) {
            let timeless = round.about.now.at().is_none();
            let too_early = doing.after_crash && timeless && is_soon_after(doing.started, moment);
            if too_early || self.is_unseen(&doing, moment) {
                self.unjudged = Some(doing.intent);
                self.doing = Some(doing);
            } else {
                let report = report_for(&doing.what, observed);
                if self.is_over(&mut doing, report, moment)? {
                    self.conclude_effect(&doing, round, observed, moment)?;
                } else {
                    self.doing = Some(doing);
                }
            }
        }
        self.look_done(&asked, round.sha256, observed, moment)?;
        let looking = std::mem::take(&mut self.looking);
        let (seen, still) = looking.into_iter().partition(|(intent, ..)| asked(*intent));
        self.looking = still;
        for (intent, what, started) in seen {
            self.conclude_look(intent, &what, started, observed, moment)?;
        }
        Ok(())
    }

    fn conclude_effect(
        &mut self,
        doing: &Doing,
        round: &RoundJob,
        observed: &[Observed],
        moment: Moment,
    ) -> Result<(), LedgerError> {
        let what = &doing.what;
        let report = report_for(what, observed);
        let (outcome, reason, detail) = match &doing.undone {
            _ if doing.superseded => {
                let why = "the ruleset was changed again before it had proven itself: left alone";
                (Outcome::Failed, "superseded", why.to_owned())
            }
            Some(undone) => judge_undo(what, undone, report),
            None if self.has_rebooted(what) => self.judge_reboot(),
            None => judge(what, doing.performed.as_ref(), doing.after_crash, report),
        };
        let mut draft = self
            .draft(what.trigger.evidence(), outcome, reason, detail, moment)
            .since(doing.started);
        if let Some(report) = report {
            draft = draft.about(report, round.sha256);
        }
        if self.has_rebooted(what) {
            draft = draft.post(self.after_reboot(states(observed)));
        }
        let performed = doing.performed.iter().chain(&doing.undone);
        let actions = performed.flat_map(|performed| performed.actions.clone()).collect();
        let draft = draft
            .findings(what.findings.clone())
            .pre(what.pre.clone())
            .gates(what.gates.clone())
            .actions(actions)
            .rollback(rollback(doing, outcome));
        let attempt = Attempt { at: self.limits_now(moment), healed: outcome == Outcome::Success };
        self.record(moment, |tx, author| {
            if let (IntentTrigger::Drift, Some(check)) = (&what.trigger, what.check) {
                tx.count_attempt(&attempt_key(check, &what.subject), attempt)?;
            }
            if let Some(report) = report.filter(|report| says_nothing_else(what, report)) {
                tx.set_state(report.check, &fingerprint(report, &[]), moment.stamp())?;
            }
            if let (Some(Effect::LoadFirewall(expected)), Some(_)) = (&what.effect, &doing.undone) {
                tx.set_fact(Fact::FirewallUndone, &expected.sha256.to_string())?;
            }
            finish(tx, doing.intent, what)?;
            tx.append(author, draft)
        })
    }

    fn conclude_look(
        &mut self,
        intent: IntentId,
        what: &Intent,
        started: Moment,
        observed: &[Observed],
        moment: Moment,
    ) -> Result<(), LedgerError> {
        let recovered = what.boot_id != self.author.boot_id || what.started_at != started.stamp();
        let reason = if recovered { "recovered" } else { "checked" };
        let draft: Draft = self
            .draft(what.trigger.evidence(), Outcome::Success, reason, "the checks ran", moment)
            .since(started)
            .post(Map::from_iter([("states".to_owned(), states(observed))]));
        self.record(moment, |tx, author| {
            finish(tx, intent, what)?;
            tx.append(author, draft)
        })
    }
}

/// The state of each check.
fn states(observed: &[Observed]) -> Value {
    let reports = observed.iter().map(Observed::report);
    let states =
        reports.map(|report| (report.check.name().to_owned(), json!(report.verdict.state())));
    Value::Object(states.collect())
}

/// A machine that has just booted does not know the time yet, and without it a look says little. What a
/// crash interrupted is judged by a later one, but not for ever.
pub(super) fn is_soon_after(started: Moment, moment: Moment) -> bool {
    let waited = moment.reading.boottime.as_millis() - started.reading.boottime.as_millis();
    waited < PATIENCE.as_millis()
}

const PATIENCE: Span = Span::from_secs(600);

pub(super) fn finish(tx: &Tx<'_>, intent: IntentId, what: &Intent) -> Result<(), LedgerError> {
    tx.close_intent(intent)?;
    match &what.trigger {
        IntentTrigger::Order { epoch, sequence, .. } => {
            tx.set_order(*epoch, *sequence, OrderState::Done)
        }
        IntentTrigger::Drift => Ok(()),
    }
}

fn report_for<'a>(what: &Intent, observed: &'a [Observed]) -> Option<&'a Report> {
    observed.iter().map(Observed::report).find(|report| what.check == Some(report.check))
}

fn rollback(doing: &Doing, outcome: Outcome) -> Rollback {
    let loads = matches!(doing.what.effect, Some(Effect::LoadFirewall(_)));
    let available = loads && doing.performed.as_ref().is_some_and(|p| p.failure.is_none());
    let performed = outcome == Outcome::Reverted;
    Rollback { available, performed, to: performed.then(|| "the ruleset of before".to_owned()) }
}

/// The outcome of what was taken back: verified where the facts are those of before.
fn judge_undo(
    what: &Intent,
    undone: &Performed,
    report: Option<&Report>,
) -> (Outcome, &'static str, String) {
    let title = what.effect.as_ref().map(Effect::title).unwrap_or_default();
    if let Some(failure) = &undone.failure {
        return (Outcome::Failed, "undo_failed", failure.clone());
    }
    let before = what.pre.get("sha256");
    let is_back = report.is_some_and(|r| before.is_some() && r.facts.get("sha256") == before);
    if is_back {
        let detail = format!("{title}: no poll got through after it, so it was taken back");
        (Outcome::Reverted, "no_poll_through", detail)
    } else {
        let detail = format!("{title}: taken back, but things are not as they were before");
        (Outcome::Failed, "undo_failed", detail)
    }
}

/// The outcome of an effect by what was seen before and after it.
fn judge(
    what: &Intent,
    performed: Option<&Performed>,
    after_crash: bool,
    report: Option<&Report>,
) -> (Outcome, &'static str, String) {
    let title = what.effect.as_ref().map(Effect::title).unwrap_or_default();
    if let Some(failure) = performed.and_then(|performed| performed.failure.as_ref()) {
        return (Outcome::Failed, "action_failed", failure.clone());
    }
    let seen = report.map_or(Err("no check looked"), |report| healed(what, report, after_crash));
    match (seen, after_crash) {
        (Ok(()), false) => {
            (Outcome::Success, "done", format!("{title}: done, and seen to be well"))
        }
        (Ok(()), true) => (
            Outcome::Success,
            "recovered",
            format!("{title}: interrupted, and seen to have ended well"),
        ),
        (Err(why), true) => {
            (Outcome::Failed, "interrupted", format!("{title}: interrupted; {why}"))
        }
        (Err(why), false) => (Outcome::Failed, "not_healed", format!("{title}: ran, but {why}")),
    }
}

/// Whether this bundle tells all that `report` has to say, so that none follows about the same state.
fn says_nothing_else(what: &Intent, report: &Report) -> bool {
    match &report.verdict {
        Verdict::Compliant | Verdict::NotApplicable(_) => true,
        Verdict::Drifted(findings) => findings.iter().all(|finding| is_about(what, finding)),
        Verdict::Unknown(_) => false,
    }
}

/// Whether the services check saw the unit up: active, or a oneshot that has ended; `None` if not seen.
fn is_up(report: &Report, unit: &UnitName) -> Option<bool> {
    let seen = report.facts.get("units")?.get(unit.as_str())?.get("active")?.as_str()?;
    let well = matches!(report.verdict, Verdict::Compliant | Verdict::Drifted(_));
    Some(seen == "active" || (seen == "inactive" && well))
}

fn is_about(what: &Intent, finding: &Finding) -> bool {
    what.effect.as_ref().is_some_and(|effect| remedy::concerns(effect, &finding.subject))
}

/// Whether `report`, made after the effect, shows that it did what it was for.
fn healed(what: &Intent, report: &Report, after_crash: bool) -> Result<(), &'static str> {
    let subject = what.subject.as_str();
    let drifted = report.verdict.findings().iter().any(|finding| is_about(what, finding));
    let doubt =
        |facts: &Value| facts.as_object().is_some_and(|f| f.keys().any(|k| k.ends_with("_error")));
    let unseen = matches!(report.verdict, Verdict::Unknown(_))
        || report.facts.get(subject).is_some_and(doubt);
    match &what.effect {
        Some(Effect::RestartUnit { check: CheckId::Services, unit, .. }) => {
            return match is_up(report, unit) {
                _ if drifted => Err("the unit is not well"),
                Some(true) => Ok(()),
                // The last step asked systemd itself; after a crash nobody knows of it.
                None if !after_crash && matches!(report.verdict, Verdict::NotApplicable(_)) => {
                    Ok(())
                }
                Some(false) => Err("the unit did not stay up"),
                None => Err("whether it helped cannot be seen"),
            };
        }
        Some(Effect::RunBackup(_)) => {}
        _ if unseen => return Err("whether it helped cannot be seen"),
        _ if drifted => return Err("the drift is still there"),
        _ => return Ok(()),
    }
    let newest = |facts: &Map<String, Value>| -> Option<Timestamp> {
        serde_json::from_value(facts.get(subject)?.get("finished_at")?.clone()).ok()
    };
    match () {
        () if unseen => Err("whether it helped cannot be seen"),
        () if drifted => Err("the drift is still there"),
        () if newest(&report.facts) <= newest(&what.pre) => Err("no newer backup is recorded"),
        () => Ok(()),
    }
}
