//! Orders of ours: consuming their sequence, holding them, starting them.

use std::collections::VecDeque;

use compliance_protocol::envelope::Verified;
use compliance_protocol::evidence::{Finding, Outcome, Trigger, TriggerKind};
use compliance_protocol::feed::FeedHead;
use compliance_protocol::gate::Gate;
use compliance_protocol::order::{Order, Refusal};
use compliance_protocol::time::{Span, Timestamp};

use super::doing::Doing;
use super::{Engine, Job, facts_of};
use crate::admit::{self, Identified, Ruling};
use crate::authorise::{self, Decision, Permit, Work};
use crate::effect::Effect;
use crate::evidence::{Draft, Moment};
use crate::gates;
use crate::ledger::{Fact, Intent, IntentTrigger, LedgerError, OrderRow, OrderState};
use crate::remedy;
use compliance_checks::CheckId;

/// When a gate does not say when it opens, it is asked again after this.
const RETRY: Span = Span::from_secs(60);

impl Engine {
    /// Consumes the sequence of an order that just came, on disk, whatever follows.
    pub(super) fn consume(
        &mut self,
        order: &Identified,
        head: &FeedHead,
        moment: Moment,
    ) -> Result<(), LedgerError> {
        let ruling = self.remembering(order, admit::rule(order, head, moment.now))?;
        let (state, accepted, ending) = match ruling {
            Ruling::Accepted(_) => (OrderState::Waiting, true, None),
            Ruling::ClockUnknown => (OrderState::Waiting, false, None),
            Ruling::Refused(refusal, detail) => {
                let outcome = Self::outcome_of(refusal);
                let trigger = trigger_of(order);
                let draft = self.draft(trigger, outcome, refusal.code(), detail, moment);
                (OrderState::Done, false, Some(draft))
            }
        };
        self.record(moment, |tx, author| {
            tx.consume(order.header(), order.payload_sha256(), order.envelope(), state, accepted)?;
            ending.map_or(Ok(()), |draft| tx.append(author, draft))
        })
    }

    /// Looks at each order that waits, in ascending sequence: starts it, ends it, or holds it.
    pub(super) fn consider_orders(&mut self, moment: Moment) -> Result<(), LedgerError> {
        for row in self.ledger.open_orders()?.into_iter().filter(|row| !row.started) {
            self.consider(&row, moment)?;
        }
        Ok(())
    }

    /// Ends the orders that wait and that the newest head no longer lists.
    pub(super) fn withdraw_unlisted(
        &mut self,
        head: &FeedHead,
        moment: Moment,
    ) -> Result<(), LedgerError> {
        for row in self.ledger.open_orders()?.into_iter().filter(|row| !row.started) {
            if !head.open.iter().any(|open| open.payload_sha256 == row.payload_sha256) {
                let detail = "the control plane no longer lists it".to_owned();
                self.end(&row, Outcome::Expired, "withdrawn", detail, moment)?;
            }
        }
        Ok(())
    }

    fn consider(&mut self, row: &OrderRow, moment: Moment) -> Result<(), LedgerError> {
        // Authorised again from its exact bytes, by the keys that are trusted now.
        let order = match admit::identify(&row.envelope, &self.trust) {
            Ok(order) => order,
            Err(rejection) => {
                let code = rejection.refusal.code();
                return self.end(row, Outcome::Rejected, code, rejection.detail, moment);
            }
        };
        let ruling = if row.accepted {
            admit::rule_on_content(&order)
        } else {
            admit::rule_on_time(&order, moment.now)
        };
        let ruling = self.remembering(&order, ruling)?;
        let verified = match ruling {
            Ruling::Accepted(verified) => verified,
            Ruling::ClockUnknown => {
                return self.hold(row, vec![gates::clock(moment.now)], moment);
            }
            Ruling::Refused(refusal, detail) => {
                return self.refuse_order(row, refusal, detail, moment);
            }
        };
        if !row.accepted {
            self.record(moment, |tx, _| tx.set_accepted(row.epoch, row.sequence))?;
        }
        match moment.now.at() {
            None => self.hold(row, vec![gates::clock(moment.now)], moment),
            Some(now) if now >= verified.value().start_by() => {
                let detail = format!("it was to be started by {}", verified.value().start_by());
                self.end(row, Outcome::Expired, "start_before", detail, moment)
            }
            Some(_) => self.start_order(row, &verified, moment),
        }
    }

    fn start_order(
        &mut self,
        row: &OrderRow,
        order: &Verified<Order>,
        moment: Moment,
    ) -> Result<(), LedgerError> {
        let doing = self.doing_title();
        let work = authorise::order(order, &self.circumstances(doing.as_deref(), moment));
        match work {
            Err((refusal, detail)) => self.refuse_order(row, refusal, detail, moment),
            Ok(Work::Act(Decision::Hold(gates))) => self.hold(row, gates, moment),
            Ok(Work::Act(Decision::Would(effect, gates))) => {
                let detail = format!("{} would be done now; this is a dry run", effect.title());
                let draft = self.order_draft(row, Outcome::Alert, "dry_run", detail, moment);
                self.finish_order(row, draft.gates(gates).actions(effect.would()), moment)
            }
            Ok(Work::Act(Decision::Go(permit, gates))) => {
                let check = permit.effect().check();
                if self.rounds.report(check).is_none() {
                    // Whether it helps is judged by how things were before: the first look comes first.
                    return Ok(());
                }
                let Some(gates) = self.with_look_around(row, &permit, gates, moment)? else {
                    return Ok(());
                };
                let effect = Some(permit.effect().clone());
                let trigger = IntentTrigger::from(row);
                let intent = self.intent(trigger, effect, Some(check), gates, moment);
                self.act(permit, intent, Some(row), moment)
            }
            Ok(Work::Activate(target)) => self.start_activation(row, order.value(), target, moment),
            Ok(Work::Look) => {
                let intent = self.intent(IntentTrigger::from(row), None, None, Vec::new(), moment);
                let id = self.record(moment, |tx, _| {
                    tx.set_order(row.epoch, row.sequence, OrderState::Started)?;
                    tx.open_intent(&intent)
                })?;
                self.looking.push((id, intent, moment));
                self.ask_for_round(vec![id], moment);
                Ok(())
            }
            Ok(Work::Pause(until)) => {
                let detail = format!("nothing is healed without an order until {until}");
                let draft = self.order_draft(row, Outcome::Success, "paused", detail, moment);
                self.record(moment, |tx, author| {
                    tx.set_fact(Fact::PauseUntil, &until.to_string())?;
                    tx.set_order(row.epoch, row.sequence, OrderState::Done)?;
                    tx.append(author, draft)
                })
            }
            Ok(Work::TakeBaseline(offered)) => self.take_baseline(row, *offered, moment),
            Ok(Work::TakeTrust(offered)) => self.take_trust(row, *offered, moment),
        }
    }

    /// Puts the intent on disk, and only then asks for the effect.
    pub(super) fn act(
        &mut self,
        permit: Permit,
        intent: Intent,
        order: Option<&OrderRow>,
        moment: Moment,
    ) -> Result<(), LedgerError> {
        if let Effect::Activate(target) = permit.effect() {
            return self.heal_by_activation(intent, target.clone(), moment);
        }
        let id = self.record(moment, |tx, _| {
            if let Some(row) = order {
                tx.set_order(row.epoch, row.sequence, OrderState::Started)?;
            }
            tx.open_intent(&intent)
        })?;
        if permit.effect() == &Effect::Reboot {
            self.announce_reboot(moment)?;
        }
        self.doing = Some(Doing::begun(id, intent, moment));
        self.jobs.push(Job::Effect(permit));
        Ok(())
    }

    pub(super) fn intent(
        &self,
        trigger: IntentTrigger,
        effect: Option<Effect>,
        check: Option<CheckId>,
        gates: Vec<Gate>,
        moment: Moment,
    ) -> Intent {
        let report = check.and_then(|check| self.rounds.report(check));
        let subject = effect.as_ref().map(Effect::subject).unwrap_or_default();
        let about_it = |finding: &&Finding| {
            effect.as_ref().is_some_and(|effect| remedy::concerns(effect, &finding.subject))
        };
        let findings = report.map(|report| report.verdict.findings()).unwrap_or_default();
        Intent {
            findings: findings.iter().filter(about_it).cloned().collect(),
            pre: facts_of(report),
            effect,
            trigger,
            check,
            subject,
            gates,
            started_at: moment.stamp(),
            boot_id: self.author.boot_id.clone(),
            activation: None,
            steps: VecDeque::new(),
            overrides_window: false,
            is_unread: false,
        }
    }

    /// Leaves `deferred` once for each reason to wait.
    pub(super) fn hold(
        &mut self,
        row: &OrderRow,
        asked: Vec<Gate>,
        moment: Moment,
    ) -> Result<(), LedgerError> {
        let closed: Vec<_> = asked.iter().filter(|gate| !gate.is_open()).collect();
        let reason = gates::hold_reason(&asked);
        if row.hold.as_deref() == Some(reason) {
            return Ok(());
        }
        let retry_after = gates::opens(&asked).unwrap_or_else(|| moment.stamp().plus(RETRY));
        let detail = closed.iter().map(|gate| gate.why.as_str()).collect::<Vec<_>>().join("; ");
        let draft = self
            .order_draft(row, Outcome::Deferred, reason, detail, moment)
            .gates(asked)
            .retry_after(retry_after);
        self.record(moment, |tx, author| {
            tx.hold_order(row.epoch, row.sequence, reason, retry_after)?;
            tx.append(author, draft)
        })
    }

    pub(super) fn refuse_order(
        &mut self,
        row: &OrderRow,
        refusal: Refusal,
        detail: String,
        moment: Moment,
    ) -> Result<(), LedgerError> {
        self.end(row, Self::outcome_of(refusal), refusal.code(), detail, moment)
    }

    /// Gives an order that was not started its terminal outcome.
    pub(super) fn end(
        &mut self,
        row: &OrderRow,
        outcome: Outcome,
        reason: &str,
        detail: String,
        moment: Moment,
    ) -> Result<(), LedgerError> {
        let draft = self.order_draft(row, outcome, reason, detail, moment);
        self.finish_order(row, draft, moment)
    }

    pub(super) fn finish_order(
        &mut self,
        row: &OrderRow,
        draft: Draft,
        moment: Moment,
    ) -> Result<(), LedgerError> {
        self.record(moment, |tx, author| {
            tx.set_order(row.epoch, row.sequence, OrderState::Done)?;
            tx.append(author, draft)
        })
    }

    pub(super) fn order_draft(
        &mut self,
        row: &OrderRow,
        outcome: Outcome,
        reason: &str,
        detail: impl Into<String>,
        moment: Moment,
    ) -> Draft {
        self.draft(IntentTrigger::from(row).evidence(), outcome, reason, detail, moment)
    }

    /// A ledger whose past is lost may have forgotten that an order was carried out: what was issued
    /// before it began must be issued anew.
    fn remembering(&self, order: &Identified, ruling: Ruling) -> Result<Ruling, LedgerError> {
        let since: Option<Timestamp> = self.ledger.fact(Fact::OrdersAfter)?;
        Ok(match (ruling, since) {
            (Ruling::Accepted(_), Some(since)) if order.header().issued_at <= since => {
                let detail = format!(
                    "it was issued before {since}, when this ledger lost its past and with it whether \
                     the order was carried out: issue it anew"
                );
                Ruling::Refused(Refusal::Policy, detail)
            }
            (ruling, _) => ruling,
        })
    }
}

impl IntentTrigger {
    /// The trigger as evidence shows it.
    pub fn evidence(&self) -> Trigger {
        match self {
            Self::Order { id, sequence, payload_sha256, .. } => Trigger {
                kind: TriggerKind::Order,
                order_id: Some(*id),
                order_sequence: Some(*sequence),
                order_sha256: Some(*payload_sha256),
            },
            Self::Drift => Trigger::of(TriggerKind::Schedule),
        }
    }
}

impl From<&OrderRow> for IntentTrigger {
    fn from(row: &OrderRow) -> Self {
        Self::Order {
            id: row.id,
            epoch: row.epoch,
            sequence: row.sequence,
            payload_sha256: row.payload_sha256,
        }
    }
}

fn trigger_of(order: &Identified) -> Trigger {
    Trigger {
        kind: TriggerKind::Order,
        order_id: Some(order.header().id),
        order_sequence: Some(order.header().sequence),
        order_sha256: Some(order.payload_sha256()),
    }
}
