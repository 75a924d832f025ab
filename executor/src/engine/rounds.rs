//! Rounds of checks: what changed goes into evidence, what drifted may be healed.

use std::sync::Arc;

use compliance_checks::{CheckId, Report, Verdict};
use compliance_protocol::evidence::{Outcome, Trigger, TriggerKind};
use compliance_protocol::gate::{Gate, GateName};
use compliance_protocol::status::CheckStatus;
use compliance_protocol::time::{Span, Timestamp};
use compliance_protocol::window::{WindowState, Windows};
use serde_json::{Map, Value, json};

use super::Engine;
use crate::authorise::{self, Circumstances, Decision, MAX_PAUSE, Permit};
use crate::effect::Effect;
use crate::evidence::{Draft, Moment};
use crate::gates;
use crate::ledger::{Fact, Intent, IntentTrigger, LedgerError};
use crate::observe::Observed;
use crate::remedy;

/// A summary is left this often, even when nothing changes.
const SUMMARY: Span = Span::from_hours(1);

/// Rounds since the last summary, and the newest reports.
#[derive(Debug, Default)]
pub(super) struct Summary {
    reports: Vec<Report>,
    count: u64,
    first: Option<(Timestamp, Span)>,
    last: Option<(Timestamp, Span)>,
    max_gap_ms: i64,
}

impl Summary {
    /// What `check` found last.
    pub(super) fn report(&self, check: CheckId) -> Option<&Report> {
        self.reports.iter().find(|report| report.check == check)
    }

    /// The newest reports were made by a baseline that is no longer in force.
    pub(super) fn forget(&mut self) {
        self.reports.clear();
    }

    fn add(&mut self, observed: &[Observed], moment: Moment) {
        let at = (moment.stamp(), moment.reading.boottime);
        if let Some((_, before)) = self.last {
            self.max_gap_ms = self.max_gap_ms.max(at.1.as_millis() - before.as_millis());
        }
        self.first.get_or_insert(at);
        self.last = Some(at);
        self.count += 1;
        self.reports = observed.iter().map(|observed| observed.report().clone()).collect();
    }

    fn is_due(&self, moment: Moment) -> bool {
        let age = |(_, first): (_, Span)| moment.reading.boottime.as_millis() - first.as_millis();
        self.first.map(age).is_some_and(|age| age >= SUMMARY.as_millis())
    }

    fn take(&mut self) -> Map<String, Value> {
        let states: Map<_, _> = self
            .reports
            .iter()
            .map(|report| (report.check.name().to_owned(), json!(report.verdict.state())))
            .collect();
        let summary = json!({
            "rounds": self.count,
            "first": self.first.map(|(at, _)| at),
            "last": self.last.map(|(at, _)| at),
            "max_gap_ms": self.max_gap_ms,
            "states": states,
        });
        (self.count, self.first, self.max_gap_ms) = (0, self.last, 0);
        summary.as_object().cloned().unwrap_or_default()
    }
}

/// When the maintenance window closes, if it is open, else when it opens; nothing while nobody knows the time.
fn window(windows: &Windows, moment: Moment) -> Value {
    match moment.now.at().map(|now| windows.state(now)) {
        Some(WindowState::Open { until }) => json!({ "closes": until }),
        Some(WindowState::Closed { next }) => json!({ "opens": next }),
        None => Value::Null,
    }
}

/// What a round comes to for one check.
struct Turn {
    heal: Option<(Permit, Intent)>,
    /// What goes into evidence, with the fingerprint to remember.
    change: Option<(String, Draft)>,
}

enum Wish {
    Heal(Permit, Box<Intent>),
    /// It would be healed now if this were no dry run.
    Would(Effect, Vec<Gate>),
    Wait(Vec<Gate>),
}

impl Engine {
    /// Takes the results of a round: evidence of what changed, and at most one heal.
    pub(super) fn take_round(
        &mut self,
        observed: &[Observed],
        moment: Moment,
    ) -> Result<(), LedgerError> {
        self.bound_pause(moment)?;
        self.rounds.add(observed, moment);
        let mut changes = Vec::new();
        let mut heal = None;
        for observed in observed {
            let turn = self.turn(observed, heal.is_some(), moment)?;
            if let Some((fingerprint, draft)) = turn.change {
                changes.push((observed.report().check, fingerprint, draft));
            }
            heal = heal.or(turn.heal);
            self.post_to_board(observed.report(), moment)?;
            self.note_ruleset(observed.report(), moment)?;
        }
        let summary = (!changes.is_empty() || self.rounds.is_due(moment)).then(|| {
            let mut post = self.rounds.take();
            post.insert("window".to_owned(), window(&self.windows, moment));
            let trigger = Trigger::of(TriggerKind::Schedule);
            self.draft(trigger, Outcome::Success, "round", "the checks ran", moment).post(post)
        });
        if summary.is_some() {
            let stamp = moment.stamp();
            self.record(moment, |tx, author| {
                for (check, fingerprint, draft) in changes {
                    tx.set_state(check, &fingerprint, stamp)?;
                    tx.append(author, draft)?;
                }
                summary.into_iter().try_for_each(|draft| tx.append(author, draft))
            })?;
        }
        match heal {
            Some((permit, intent)) => self.act(permit, intent, None, moment),
            None => Ok(()),
        }
    }

    /// What time it is for limits: the trusted one; else the machine's, but not before the latest that was
    /// ever trusted, or a clock that starts in 1970 would make the limits forget what came after that.
    pub(super) fn limits_now(&self, moment: Moment) -> Timestamp {
        let wall = moment.reading.wall;
        moment.now.at().unwrap_or_else(|| self.high_water.map_or(wall, |mark| mark.max(wall)))
    }

    /// A pause that was set by a clock far ahead of this one lasts no longer than any other.
    fn bound_pause(&mut self, moment: Moment) -> Result<(), LedgerError> {
        let latest = self.limits_now(moment).plus(MAX_PAUSE);
        match self.ledger.fact::<Timestamp>(Fact::PauseUntil)? {
            Some(until) if until > latest => {
                self.record(moment, |tx, _| tx.set_fact(Fact::PauseUntil, &latest.to_string()))
            }
            _ => Ok(()),
        }
    }

    fn turn(
        &mut self,
        observed: &Observed,
        taken: bool,
        moment: Moment,
    ) -> Result<Turn, LedgerError> {
        let report = observed.report();
        let (would, held) = match self.wish_to_heal(observed, taken, moment)? {
            // Its evidence comes when it has ended.
            Wish::Heal(permit, intent) => {
                return Ok(Turn { heal: Some((permit, *intent)), change: None });
            }
            Wish::Would(effect, gates) => (Some(effect), gates),
            Wish::Wait(held) => (None, held),
        };
        let mut fingerprint = fingerprint(report, &held);
        if would.is_some() {
            fingerprint.push_str("|dry run");
        }
        let being_healed = self.doing.as_ref().is_some_and(|d| d.what.check == Some(report.check));
        let known = self.ledger.state(report.check)?;
        let changed = !being_healed && known.is_none_or(|(print, _)| print != fingerprint);
        let change = changed.then(|| match would {
            Some(effect) => (fingerprint, self.would_draft(report, &effect, held, moment)),
            None => (fingerprint, self.change_draft(report, held, moment)),
        });
        Ok(Turn { heal: None, change })
    }

    /// The first finding that may be healed now; else the gates that hold the first one up, none if there
    /// is no remedy.
    fn wish_to_heal(
        &mut self,
        observed: &Observed,
        taken: bool,
        moment: Moment,
    ) -> Result<Wish, LedgerError> {
        let report = observed.report();
        let doing = if taken { Some("a heal".to_owned()) } else { self.doing_title() };
        let paused = self.ledger.fact(Fact::PauseUntil)?;
        let mut held = Vec::new();
        if report.check == CheckId::Patching && report.verdict.findings().is_empty() {
            self.deferred_drift = None;
        }
        let mut subjects: Vec<_> =
            report.verdict.findings().iter().map(|f| f.subject.as_str()).collect();
        subjects.dedup();
        for subject in subjects {
            let held_baseline = self.baseline.as_ref().ok().map(|held| Arc::clone(&held.baseline));
            let Some(remedy) = held_baseline.and_then(|b| remedy::remedy(report, subject, &b))
            else {
                continue;
            };
            let deferral = self.deferral(moment);
            if let (Effect::Activate(_), Some(gate)) = (&remedy.effect, deferral) {
                held = vec![gate];
                continue;
            }
            let key = attempt_key(report.check, &remedy.effect.subject());
            let wall = self.limits_now(moment);
            let attempts = self.ledger.attempts(&key, wall)?;
            let about = Circumstances { wall, ..self.circumstances(doing.as_deref(), moment) };
            match authorise::heal(observed, subject, paused, &attempts, &about) {
                Some(Decision::Go(permit, gates)) => {
                    let effect = Some(permit.effect().clone());
                    let check = Some(report.check);
                    let intent = self.intent(IntentTrigger::Drift, effect, check, gates, moment);
                    return Ok(Wish::Heal(permit, Box::new(intent)));
                }
                Some(Decision::Would(effect, gates)) => return Ok(Wish::Would(effect, gates)),
                Some(Decision::Hold(gates)) if held.is_empty() => held = gates,
                Some(Decision::Hold(_)) | None => {}
            }
        }
        Ok(Wish::Wait(held))
    }

    fn would_draft(
        &mut self,
        report: &Report,
        effect: &Effect,
        gates: Vec<Gate>,
        moment: Moment,
    ) -> Draft {
        let detail = format!("{} would be done now; this is a dry run", effect.title());
        let trigger = Trigger::of(TriggerKind::Schedule);
        let baseline = self.baseline_sha256();
        self.draft(trigger, Outcome::Alert, "dry_run", detail, moment)
            .about(report, baseline)
            .gates(gates)
            .actions(effect.would())
    }

    fn change_draft(&mut self, report: &Report, held: Vec<Gate>, moment: Moment) -> Draft {
        let retry_after = gates::opens(&held);
        let waits = held.iter().find(|gate| !gate.is_open());
        let (outcome, reason, detail) = match (&report.verdict, waits) {
            (Verdict::Compliant, _) => {
                (Outcome::Success, "compliant", "as the baseline says".to_owned())
            }
            (Verdict::NotApplicable(why), _) => (Outcome::Success, "not_applicable", why.clone()),
            (Verdict::Unknown(why), _) => (Outcome::Alert, "unknown", why.clone()),
            (Verdict::Drifted(_), None) => (
                Outcome::Alert,
                "drift",
                "not as the baseline says; there is no remedy here".to_owned(),
            ),
            (Verdict::Drifted(_), Some(gate)) if gate.gate == GateName::Policy => {
                (Outcome::Alert, "drift", gate.why.clone())
            }
            (Verdict::Drifted(_), Some(gate)) if gates::is_breaker(gate) => {
                (Outcome::Alert, "breaker_open", gate.why.clone())
            }
            (Verdict::Drifted(_), Some(gate)) => (Outcome::Deferred, "drift", gate.why.clone()),
        };
        let trigger = Trigger::of(TriggerKind::Schedule);
        let baseline = self.baseline_sha256();
        let mut draft = self
            .draft(trigger, outcome, reason, detail, moment)
            .about(report, baseline)
            .gates(held);
        if outcome == Outcome::Deferred {
            draft = draft.retry_after(
                retry_after.unwrap_or_else(|| moment.stamp().plus(self.round_interval)),
            );
        }
        draft
    }

    fn post_to_board(&mut self, report: &Report, moment: Moment) -> Result<(), LedgerError> {
        let state = report.verdict.state();
        let at = moment.stamp();
        let before = self.board.iter().find(|entry| entry.check == report.check.name());
        let since = match before {
            Some(before) if before.state == state => before.since,
            Some(_) => at,
            None => self.ledger.state(report.check)?.map_or(at, |(_, since)| since),
        };
        self.board.retain(|entry| entry.check != report.check.name());
        self.board.push(CheckStatus {
            check: report.check.name().to_owned(),
            state,
            at,
            since,
            findings: report.verdict.findings().to_vec(),
            why: report.verdict.why().to_owned(),
        });
        Ok(())
    }
}

/// What rate limits count by.
pub(super) fn attempt_key(check: CheckId, subject: &str) -> String {
    format!("{check}:{subject}")
}

/// What makes two results the same for evidence: the state, what is expected of what, which ruleset has
/// drifted, and whether the breaker is open; not how old or how large something is by now.
pub(super) fn fingerprint(report: &Report, held: &[Gate]) -> String {
    let mut print = format!("{:?}", report.verdict.state());
    for finding in report.verdict.findings() {
        print.extend(["|", &finding.subject, "=", &finding.expected]);
    }
    // One finding tells of any change of its chain. No traffic changes the digest.
    if let (Verdict::Drifted(_), CheckId::Firewall) = (&report.verdict, report.check) {
        let digest = report.facts.get("sha256").and_then(Value::as_str).unwrap_or_default();
        print.extend(["|", digest]);
    }
    if held.iter().any(gates::is_breaker) {
        print.push_str("|breaker");
    }
    print
}
