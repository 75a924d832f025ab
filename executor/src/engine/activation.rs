//! Activations: the state machine driven by what the ledger, the gates, the host and the rounds say.

use compliance_checks::CheckId;
use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::{Outcome, Rollback};
use compliance_protocol::gate::{Gate, GateName};
use compliance_protocol::name::StorePath;
use compliance_protocol::order::{Order, Refusal, When};
use compliance_protocol::status::ActivationStatus;
use compliance_protocol::time::Span;
use serde_json::{Map, Value, json};

use super::rounds::attempt_key;
use super::{Engine, Job};
use crate::activation::{
    Action, Activation, Class, Ending, Event, Facts, Health, Phase, Quarantine, Sight, Target, step,
};
use crate::authorise;
use crate::config::{Reboots, Source};
use crate::effect::Performed;
use crate::evidence::Moment;
use crate::gates::{self, Attempt};
use crate::ledger::{Fact, Intent, IntentId, IntentTrigger, LedgerError, OrderRow, OrderState};
use crate::observe::Observed;

/// An activation under way.
pub(super) struct Activating {
    intent: IntentId,
    what: Intent,
    started: Moment,
    /// What was seen, and waits for a round to say what is wrong.
    half_seen: Option<Event>,
    /// Nothing is done before then.
    wait_until: Option<Span>,
    /// What was seen last.
    post: Map<String, Value>,
}

/// So many steps at most are in the evidence, the newest.
const MAX_STEPS: usize = 64;

impl Engine {
    /// Begins an activation, if the gates that can be asked without looking at the host are open.
    pub(super) fn start_activation(
        &mut self,
        row: &OrderRow,
        order: &Order,
        target: Target,
        moment: Moment,
    ) -> Result<(), LedgerError> {
        let Some(limits) = self.limits else { return Ok(()) };
        if let Some(sha256) = target.baseline_sha256
            && !self.has_baseline_for(&target.system, sha256)?
        {
            let why =
                format!("baseline {sha256} is not here for that system: update_baseline brings it");
            return self.refuse_order(row, Refusal::BadParameter, why, moment);
        }
        let under_way = self.under_way();
        let overrides_window = order.when == When::Now;
        let mut gates =
            self.activation_gates(&target, limits.needed(), overrides_window, moment)?;
        gates.push(gates::busy(under_way.as_deref()));
        if !gates.iter().all(Gate::is_open) {
            return self.hold(row, gates, moment);
        }
        if self.dry_run {
            let detail = format!("{} would be activated now; this is a dry run", target.system);
            let draft = self.order_draft(row, Outcome::Alert, "dry_run", detail, moment);
            return self.finish_order(row, draft.gates(gates), moment);
        }
        let seen = row.hold.as_deref().is_some_and(|hold| SEEN_BY_LOOK.contains(&hold));
        if seen && row.retry_after.is_some_and(|at| moment.stamp() < at) {
            return Ok(());
        }
        let mut intent = self.intent(IntentTrigger::from(row), None, None, gates, moment);
        intent.subject = target.system.to_string();
        intent.overrides_window = overrides_window;
        let max_runtime = Span::from_secs(order.max_runtime_s.into());
        self.begin_activation(intent, target, Some(row), max_runtime, moment)
    }

    /// Begins an activation without an order: it may take as long as the longest order.
    pub(super) fn heal_by_activation(
        &mut self,
        intent: Intent,
        target: Target,
        moment: Moment,
    ) -> Result<(), LedgerError> {
        self.begin_activation(intent, target, None, Span::from_hours(24), moment)
    }

    /// Puts it on disk, and begins.
    fn begin_activation(
        &mut self,
        mut intent: Intent,
        target: Target,
        order: Option<&OrderRow>,
        max_runtime: Span,
        moment: Moment,
    ) -> Result<(), LedgerError> {
        let Some(limits) = self.limits else { return Ok(()) };
        let id = self.fresh_id(moment);
        let started = moment.reading.boottime;
        let finish_by = Some(started.plus(max_runtime));
        intent.effect = None;
        intent.activation =
            Some(Activation { finish_by, ..Activation::new(id, target, limits, started) });
        let id = self.record(moment, |tx, _| {
            if let Some(row) = order {
                tx.set_order(row.epoch, row.sequence, OrderState::Started)?;
            }
            tx.open_intent(&intent)
        })?;
        self.activating = Some(Activating::new(id, intent, moment));
        self.drive(Event::Begin, moment)
    }

    /// Takes up the activation that was under way when the executor stopped. What nobody can look at any more,
    /// or what was only prepared and is a dry run now, ends here.
    pub(super) fn resume_activation(
        &mut self,
        intent: IntentId,
        what: Intent,
        moment: Moment,
    ) -> Result<(), LedgerError> {
        let same_boot = what.boot_id == self.author.boot_id;
        let untouched = what.activation.as_ref().filter(|it| it.has_done_nothing());
        let is_untouched = untouched.is_some();
        let builds = untouched.is_some_and(|it| it.target.flake.is_some());
        let started = moment.back_at(what.started_at);
        self.activating = Some(Activating::new(intent, what, started));
        let why = match self.limits {
            None => "the configuration has no [activation] any more: look at the machine",
            Some(_) if self.dry_run && is_untouched => {
                "it was interrupted before anything was done, and this is a dry run now"
            }
            Some(_) if self.source == Source::StorePath && builds => {
                "it was interrupted before anything was done, and nothing is built from a flake here any more"
            }
            Some(_) => return self.drive(Event::Restarted { same_boot }, moment),
        };
        self.end_activation(&Ending::new(Outcome::Failed, "interrupted", why), moment)
    }

    /// A step has ended.
    pub(super) fn step_done(
        &mut self,
        performed: Performed,
        moment: Moment,
    ) -> Result<(), LedgerError> {
        let Some(activating) = &mut self.activating else { return Ok(()) };
        let steps = &mut activating.what.steps;
        steps.extend(performed.actions);
        while steps.len() > MAX_STEPS {
            steps.pop_front();
        }
        match performed.event {
            Some(event) if health(&event).is_some() => {
                activating.half_seen = Some(event);
                let intent = activating.intent;
                self.ask_for_round(vec![intent], moment);
                Ok(())
            }
            Some(event) => self.drive(event, moment),
            None => Ok(()),
        }
    }

    /// A round has ended that may have been asked for what is wrong.
    pub(super) fn look_done(
        &mut self,
        asked: &impl Fn(IntentId) -> bool,
        judged_by: Option<Digest>,
        observed: &[Observed],
        moment: Moment,
    ) -> Result<(), LedgerError> {
        let baseline = self.baseline_sha256();
        let Some(activating) = self.activating.as_mut().filter(|it| asked(it.intent)) else {
            return Ok(());
        };
        if judged_by != baseline {
            // Another system runs since it was asked for, and has another baseline.
            let intent = activating.intent;
            self.ask_for_round(vec![intent], moment);
            return Ok(());
        }
        let Some(mut event) = activating.half_seen.take() else { return Ok(()) };
        let reports: Vec<_> = observed.iter().map(Observed::report).collect();
        let checks = Health::of_checks(&reports);
        match &mut event {
            Event::Seen(sight) => add_health(sight, checks),
            Event::Facts(facts) => {
                add_health(&mut facts.sight, checks);
                self.complete(facts, moment)?;
            }
            _ => {}
        }
        self.drive(event, moment)
    }

    /// The time to wait may be over.
    pub(super) fn go_on_waiting(&mut self, moment: Moment) -> Result<(), LedgerError> {
        let now = moment.reading.boottime;
        match &mut self.activating {
            Some(activating) if activating.wait_until.is_some_and(|until| now >= until) => {
                activating.wait_until = None;
                self.drive(Event::Done, moment)
            }
            _ => Ok(()),
        }
    }

    /// When to look again.
    pub(super) fn activation_wakes(&self) -> Option<Span> {
        self.activating.as_ref()?.wait_until
    }

    /// A feed head was verified, for a ticket given then.
    pub(super) fn activation_hears(
        &mut self,
        asked: Span,
        moment: Moment,
    ) -> Result<(), LedgerError> {
        if self.activating.is_none() { Ok(()) } else { self.drive(Event::Head { asked }, moment) }
    }

    /// What keeps an activation that nobody ordered from being tried again at once, after it was deferred.
    pub(super) fn deferral(&self, moment: Moment) -> Option<Gate> {
        let (reason, again) = self.deferred_drift.as_ref()?;
        let wait = again.as_millis() - moment.reading.boottime.as_millis();
        let at = moment.stamp().plus(Span::from_millis(wait));
        let why = format!("it was deferred ({reason}) and is tried again at {at}");
        (wait > 0).then(|| Gate::closed(GateName::Rate, why, Some(at)))
    }

    fn activation(&self) -> Option<&Activation> {
        self.activating.as_ref()?.what.activation.as_ref()
    }

    /// The system that is being activated.
    pub(super) fn activated_system(&self) -> Option<&StorePath> {
        self.activation().map(|activation| &activation.target.system)
    }

    /// What is being activated.
    pub(super) fn activation_title(&self) -> Option<String> {
        self.activated_system().map(|system| format!("activation of {system}"))
    }

    /// Whether it is only prepared so far, which may take hours and is in no heal's way.
    pub(super) fn only_prepares(&self) -> bool {
        self.activation().is_some_and(Activation::only_prepares)
    }

    /// How far it is.
    pub(super) fn activation_status(&self, moment: Moment) -> Option<ActivationStatus> {
        let activation = self.activation()?;
        let boottime = moment.reading.boottime.as_millis();
        let at = |then: Span| moment.stamp().plus(Span::from_millis(then.as_millis() - boottime));
        Some(ActivationStatus {
            system: activation.target.system.clone(),
            phase: activation.phase_name().to_owned(),
            since: at(activation.since),
            waits_for: activation.waits_for(),
            deadman_at: activation.deadman_at.map(at),
        })
    }

    /// Hands an event to the state machine, puts what it says on disk, and asks for what it wants.
    fn drive(&mut self, event: Event, moment: Moment) -> Result<(), LedgerError> {
        let heal = self.heal_title();
        let Some(activating) = &mut self.activating else { return Ok(()) };
        let Some(activation) = &activating.what.activation else { return Ok(()) };
        if let Event::Seen(sight) = &event {
            activating.post = seen(sight);
        }
        let (mut next, mut action) = step(activation, event, moment.reading.boottime);
        if let (Some(Action::Preflight), Phase::Ready, Some(heal)) = (&action, &next.phase, &heal) {
            // Its answer would wait behind what is being healed, for hours perhaps.
            let held = Event::Held(gates::busy(Some(heal)));
            (next, action) = step(&next, held, moment.reading.boottime);
        }
        tracing::info!(phase = next.phase_name(), ?action, "activation");
        if self.reboots == Reboots::Never && next.class == Class::Reboot && next.has_done_nothing()
        {
            let why = "this system has to be booted, and here the machine is never restarted";
            return self.end_activation(&Ending::new(Outcome::Rejected, "policy", why), moment);
        }
        activating.what.activation = Some(next);
        activating.what.boot_id = self.author.boot_id.clone();
        match action {
            None => Ok(()),
            Some(Action::End(ending)) => self.end_activation(&ending, moment),
            Some(Action::Wait { until }) => {
                activating.wait_until = Some(until);
                self.ledger.record_activation(activating.intent, &activating.what).map(drop)
            }
            Some(action) => {
                let on_record =
                    self.ledger.record_activation(activating.intent, &activating.what)?;
                let restarts = action == Action::Reboot;
                let permit = on_record.map(|it| authorise::next_step(&it, action));
                self.jobs.extend(permit.map(Job::Effect));
                if restarts { self.announce_reboot(moment) } else { Ok(()) }
            }
        }
    }

    fn activation_gates(
        &self,
        target: &Target,
        needed: Span,
        overrides_window: bool,
        moment: Moment,
    ) -> Result<Vec<Gate>, LedgerError> {
        let mut gates = vec![gates::clock(moment.now), gates::space(self.disk_full)];
        if !overrides_window {
            gates.push(gates::window_for(&self.windows, moment.now, needed));
        }
        let quarantine: Quarantine = self.ledger.fact(Fact::Quarantine)?.unwrap_or_default();
        gates.push(gates::quarantine(quarantine.until(&target.system, self.limits_now(moment))));
        Ok(gates)
    }

    /// Adds what only the engine knows. While it was only prepared, a heal may have begun, or a pause.
    fn complete(&self, facts: &mut Facts, moment: Moment) -> Result<(), LedgerError> {
        let Some(Activating { what, .. }) = &self.activating else { return Ok(()) };
        let Some(activation) = &what.activation else { return Ok(()) };
        let (target, needed) = (&activation.target, activation.needed());
        facts.gates = self.activation_gates(target, needed, what.overrides_window, moment)?;
        if what.trigger == IntentTrigger::Drift {
            let until = self.ledger.fact(Fact::PauseUntil)?;
            facts.gates.push(gates::pause(until, moment.stamp()));
        }
        facts.gates.push(gates::busy(self.heal_title().as_deref()));
        let boottime = moment.reading.boottime.as_millis();
        let age = |mark: &_| {
            let compliance_protocol::clock::HeadMark { ticket_boottime, .. } = mark;
            Span::from_millis(boottime - ticket_boottime.as_millis())
        };
        facts.last_head = self.head.as_ref().map(age);
        Ok(())
    }

    fn end_activation(&mut self, ending: &Ending, moment: Moment) -> Result<(), LedgerError> {
        let Some(ended) = self.activating.take() else { return Ok(()) };
        let Activating { intent, what, started, post, .. } = ended;
        let Some(activation) = &what.activation else { return Ok(()) };
        let system = activation.target.system.clone();
        let gates = if ending.gates.is_empty() { what.gates.clone() } else { ending.gates.clone() };
        let trigger = what.trigger.evidence();
        let mut draft = self
            .draft(trigger, ending.outcome, &ending.reason, ending.detail.clone(), moment)
            .since(started)
            .pre(pre(activation))
            .rollback(rollback(activation, ending.outcome))
            .actions(what.steps.iter().cloned().collect())
            .gates(gates)
            .post(post);
        let retry_after = ending.retry_after.unwrap_or_else(|| moment.stamp().plus(RETRY));
        if ending.outcome == Outcome::Deferred {
            draft = draft.retry_after(retry_after);
        }
        let quarantine: Quarantine = self.ledger.fact(Fact::Quarantine)?.unwrap_or_default();
        let now = self.limits_now(moment);
        let quarantine = quarantine.with(&system, now);
        let quarantine = serde_json::to_string(&quarantine)
            .map_err(|_| LedgerError::Unreadable("quarantine"))?;
        let persisted = ending.outcome == Outcome::Success;
        let known = self.is_held_for(&what.trigger, ending)?;
        if what.trigger == IntentTrigger::Drift {
            let deferred = ending.outcome == Outcome::Deferred;
            let again = moment.reading.boottime.plus(RETRY);
            self.deferred_drift = deferred.then(|| (ending.reason.clone(), again));
        }
        let proven = self.record(moment, |tx, author| {
            tx.close_intent(intent)?;
            if ending.quarantine {
                tx.set_fact(Fact::Quarantine, &quarantine)?;
            }
            match what.trigger {
                // It was not tried.
                IntentTrigger::Drift if ending.outcome == Outcome::Deferred => {}
                IntentTrigger::Drift => {
                    let attempt = Attempt { at: now, healed: persisted };
                    tx.count_attempt(&attempt_key(CheckId::Patching, &what.subject), attempt)?;
                }
                IntentTrigger::Order { epoch, sequence, .. }
                    if ending.outcome == Outcome::Deferred =>
                {
                    tx.set_order(epoch, sequence, OrderState::Waiting)?;
                    tx.hold_order(epoch, sequence, &ending.reason, retry_after)?;
                }
                IntentTrigger::Order { epoch, sequence, .. } => {
                    tx.set_order(epoch, sequence, OrderState::Done)?;
                }
            }
            if !known {
                tx.append(author, draft)?;
            }
            persisted.then(|| tx.expect_system(&system)).transpose()
        })?;
        if let Some(proven) = proven {
            self.expected_system = Some(system);
            self.proven = proven;
        }
        Ok(())
    }

    /// Whether there is evidence already that it waits for this.
    fn is_held_for(&self, trigger: &IntentTrigger, ending: &Ending) -> Result<bool, LedgerError> {
        let IntentTrigger::Order { sequence, .. } = trigger else {
            let before = self.deferred_drift.as_ref().map(|(reason, _)| reason);
            return Ok(before == Some(&ending.reason) && ending.outcome == Outcome::Deferred);
        };
        let open = self.ledger.open_orders()?;
        let row = open.iter().find(|row| row.sequence == *sequence);
        let held = row.is_some_and(|row| row.hold.as_deref() == Some(ending.reason.as_str()));
        Ok(held && ending.outcome == Outcome::Deferred)
    }
}

/// Why an order waits that a look at the host found.
const SEEN_BY_LOOK: [&str; 5] =
    ["not_connected", "no_space", "shutdown_scheduled", "somebody_switches", "too_late"];

/// What was deferred by what only a look could tell is tried again after this.
const RETRY: Span = Span::from_secs(300);

impl Activating {
    fn new(intent: IntentId, what: Intent, started: Moment) -> Self {
        let post = Map::new();
        Self { intent, what, started, half_seen: None, wait_until: None, post }
    }
}

/// What is wrong, as far as a step has seen; there only if it was asked for.
fn health(event: &Event) -> Option<&Health> {
    match event {
        Event::Seen(sight) => sight.health.as_ref(),
        Event::Facts(facts) => facts.sight.health.as_ref(),
        _ => None,
    }
}

fn add_health(sight: &mut Sight, checks: Health) {
    sight.health = sight.health.take().map(|units| units.and(checks));
}

/// The system before can be gone back to from when it is known.
fn rollback(activation: &Activation, outcome: Outcome) -> Rollback {
    let before = activation.before.as_ref().map(|before| before.system.to_string());
    let performed = outcome == Outcome::Reverted;
    Rollback { available: before.is_some(), performed, to: before.filter(|_| performed) }
}

fn pre(activation: &Activation) -> Map<String, Value> {
    let mut pre = Map::new();
    pre.insert("next".to_owned(), json!(activation.target.system));
    pre.insert("class".to_owned(), json!(activation.class));
    pre.insert("plan".to_owned(), json!(activation.outline));
    if let Some(before) = &activation.before {
        pre.insert("running".to_owned(), json!(before.system));
        pre.insert("profile".to_owned(), json!(before.profile));
        pre.insert("boots".to_owned(), json!(before.default));
        pre.insert("wrong".to_owned(), json!(before.health.complaints()));
    }
    pre
}

fn seen(sight: &Sight) -> Map<String, Value> {
    let mut post = Map::new();
    post.insert("running".to_owned(), json!(sight.running));
    post.insert("profile".to_owned(), json!(sight.profile));
    post.insert("boots".to_owned(), json!(sight.default));
    if let Some(health) = &sight.health {
        post.insert("wrong".to_owned(), json!(health.complaints()));
    }
    post
}
