//! The step, and the way forward: from the first question to what the machine boots.

use compliance_protocol::evidence::Outcome;
use compliance_protocol::name::StorePath;
use compliance_protocol::time::Span;

use super::limits::{MARGIN, START_SLACK};
use super::preflight::{self, Readiness};
use super::{
    Action, Activation, Before, Class, DeadMan, Decision, Ended, Ending, Event, Facts, Phase, Plan,
    Proof, Sight, Which, Why,
};

/// How often one thing is tried.
pub(super) const TRIES: u8 = 3;

/// Between two looks at something that takes its time.
pub(super) const POLL: Span = Span::from_secs(5);

/// Making a system what boots must succeed within this time.
pub(super) const PERSIST: Span = Span::from_secs(900);

/// What `event` makes of `activation`, and what is to be done once that is on disk.
pub fn step(activation: &Activation, event: Event, now: Span) -> (Activation, Option<Action>) {
    let mut next = activation.clone();
    let action = next.take(event, now);
    (next, action)
}

impl Activation {
    fn take(&mut self, event: Event, now: Span) -> Option<Action> {
        match event {
            _ if self.phase == Phase::Ended => None,
            Event::Restarted { same_boot } => Some(self.resume(same_boot, now)),
            Event::Head { asked } => {
                self.note_head(asked);
                None
            }
            Event::Held(gate) if self.has_done_nothing() => {
                Some(self.end(preflight::deferred(vec![gate]), now))
            }
            Event::Begin | Event::Done | Event::Held(_) => Some(self.question()),
            Event::Facts(facts) => Some(self.judge_facts(*facts, now)),
            Event::Realised(result) => Some(self.realised(result, now)),
            Event::Planned(plan) => Some(self.planned(plan, now)),
            Event::Decided(decision) => Some(self.decided(decision, now)),
            Event::Seen(sight) => Some(self.seen(&sight, now)),
        }
    }

    /// What has to be known or done for the phase to go on; asking again does no harm.
    pub(super) fn question(&self) -> Action {
        match &self.phase {
            Phase::Preflight | Phase::Ready => Action::Preflight,
            Phase::Realising => Action::Realise,
            Phase::Planning => Action::Plan,
            Phase::Deciding(_) => Action::Decide(Decision::Proven),
            Phase::Undoing(undo) if !undo.decided => Action::Decide(Decision::Undo),
            Phase::Proving(_) | Phase::Undoing(_) => Action::Look { health: true },
            _ => Action::Look { health: false },
        }
    }

    fn judge_facts(&mut self, facts: Facts, now: Span) -> Action {
        match self.phase {
            Phase::Preflight => self.outline.store = facts.store,
            // Only what is in the store tells how much of it is to boot.
            _ => self.outline.boot = facts.boot,
        }
        let ready = match (&self.phase, preflight::judge(self, facts, now)) {
            (_, Readiness::Over(ending)) => return self.end(ending, now),
            (Phase::Preflight, Readiness::Ready(before)) => {
                self.at_first = before.health;
                self.enter(Phase::Realising, now);
                return self.question();
            }
            (_, Readiness::Ready(before)) => *before,
        };
        if self.phase != Phase::Ready {
            return self.question();
        }
        let health = ready.health.with_complaints_of(&self.at_first);
        self.before = Some(Before { health, ..ready });
        let start_by = now.plus(START_SLACK);
        match self.class {
            Class::Live => self.arm(start_by, now),
            Class::Reboot => {
                self.enter(Phase::Staging { tries: 0, start_by }, now);
                self.question()
            }
        }
    }

    fn realised(&mut self, result: Result<StorePath, String>, now: Span) -> Action {
        if self.phase != Phase::Realising {
            return self.question();
        }
        match result {
            Err(why) => {
                let not_here = Ending::new(Outcome::Failed, "not_realised", why);
                let ending = preflight::has_taken_too_long(self, now).unwrap_or(not_here);
                self.end(ending, now)
            }
            Ok(path) if path != self.target.system => {
                let detail = format!("the order names {} and {path} was built", self.target.system);
                self.end(Ending::new(Outcome::Failed, "other_store_path", detail), now)
            }
            Ok(_) => {
                self.enter(Phase::Planning, now);
                self.question()
            }
        }
    }

    fn planned(&mut self, plan: Plan, now: Span) -> Action {
        match plan {
            _ if self.phase != Phase::Planning => self.question(),
            Plan::Busy => self.end(preflight::busy_switching(), now),
            Plan::Cannot { reason, detail } => {
                self.end(Ending::new(Outcome::Failed, reason, detail), now)
            }
            Plan::Can(class, units) => {
                self.class = class;
                self.outline.units = units;
                self.enter(Phase::Ready, now);
                self.question()
            }
        }
    }

    fn seen(&mut self, sight: &Sight, now: Span) -> Action {
        let Some(before) = self.before.clone() else { return self.question() };
        match self.phase.clone() {
            Phase::Arming { tries, start_by } => self.arming(sight, &before, tries, start_by, now),
            Phase::Testing { until } => self.testing(sight, &before, until, now),
            Phase::Proving(proof) => self.proving(sight, &before, proof, now),
            Phase::Disarming { tries } => self.disarming(sight, tries, now),
            Phase::Persisting { tries, until } => {
                self.persisting(sight, &before, tries, until, now)
            }
            Phase::Staging { tries, start_by } => {
                self.staging(sight, &before, tries, start_by, now)
            }
            Phase::Rebooting { until } => self.rebooting(until, now),
            Phase::Returned { was, until } => self.returned(sight, &before, &was, until, now),
            Phase::Unreadable => self.unreadable(sight, &before, now),
            Phase::Undoing(undo) => self.undoing(sight, &before, undo, now),
            Phase::Leaving { ending, tries, until } => {
                self.leaving(sight, ending, tries, until, now)
            }
            _ => self.question(),
        }
    }

    pub(super) fn arm(&mut self, start_by: Span, now: Span) -> Action {
        self.deadman_at = Some(now.plus(self.limits.deadman()));
        self.enter(Phase::Arming { tries: 0, start_by }, now);
        self.question()
    }

    fn arming(
        &mut self,
        sight: &Sight,
        before: &Before,
        tries: u8,
        start_by: Span,
        now: Span,
    ) -> Action {
        let trial = self.class == Class::Reboot;
        match sight.deadman {
            Some(DeadMan::AtWork) => self.undo(Why::DeadMan, now),
            // The new system runs already, by a boot that was tried.
            Some(DeadMan::Armed) if trial => self.prove(now),
            Some(DeadMan::Armed) if now >= start_by => {
                let detail =
                    "it took too long to begin; the window may not be long enough any more";
                self.leave(Ending::new(Outcome::Deferred, "too_late", detail), now)
            }
            Some(DeadMan::Armed) => self.begin_test(sight, before, now),
            Some(DeadMan::Absent) | None if tries < TRIES => {
                self.phase = Phase::Arming { tries: tries + 1, start_by };
                Action::Arm
            }
            Some(DeadMan::Absent) | None if trial => self.undo(Why::NotArmed, now),
            Some(DeadMan::Absent) | None => {
                let detail = "the dead-man could not be armed, so nothing was done";
                self.leave(Ending::new(Outcome::Failed, "deadman_not_armed", detail), now)
            }
        }
    }

    /// The last look before the first effect.
    fn begin_test(&mut self, sight: &Sight, before: &Before, now: Span) -> Action {
        if sight.switching != Some(false) {
            let detail = "somebody began to switch the system";
            return self.leave(Ending::new(Outcome::Deferred, "somebody_switches", detail), now);
        }
        if sight.running.as_ref() != Some(&before.system)
            || sight.profile.as_ref() != Some(&before.profile)
            || sight.default.as_ref() != Some(&before.default)
        {
            return self.superseded(now);
        }
        // systemd ends the switch by then; the slack is for telling us.
        let until = now.plus(self.limits.switch()).plus(MARGIN);
        self.enter(Phase::Testing { until }, now);
        Action::Test(Which::Next)
    }

    fn testing(&mut self, sight: &Sight, before: &Before, until: Span, now: Span) -> Action {
        if sight.is_being_undone() {
            return self.undo(Why::DeadMan, now);
        }
        let over = sight.running.as_ref().filter(|_| sight.switching == Some(false));
        match over {
            None if now >= until => self.undo(Why::SwitchHung, now),
            None => wait(now, POLL),
            Some(running) if *running == self.target.system => match sight.ended {
                Some(Some(Ended::Whole)) => self.prove(now),
                Some(Some(Ended::CutShort)) => self.undo(Why::CutShort, now),
                Some(None) | None if now >= until => self.undo(Why::Unaccounted, now),
                Some(None) | None => wait(now, POLL),
            },
            Some(running) if *running == before.system => self.undo(Why::SwitchFailed, now),
            Some(_) => self.superseded(now),
        }
    }

    fn prove(&mut self, now: Span) -> Action {
        let deadman_at = self.deadman_at.unwrap_or(now);
        let until = Span::from_millis(deadman_at.as_millis() - MARGIN.as_millis());
        let proof = Proof {
            since: now,
            until,
            good: 0,
            bad: 0,
            worse: Vec::new(),
            restarts: None,
            heads: 0,
            undecided: 0,
        };
        self.enter(Phase::Proving(proof), now);
        wait(now, POLL)
    }

    fn note_head(&mut self, asked: Span) {
        if let Phase::Proving(proof) = &mut self.phase
            && asked >= proof.since
        {
            proof.heads = proof.heads.saturating_add(1);
        }
    }

    fn proving(&mut self, sight: &Sight, before: &Before, mut proof: Proof, now: Span) -> Action {
        let limits = self.limits;
        if sight.decision == Some(Some(Decision::Proven)) {
            // Decided just before an interruption.
            self.enter(Phase::Disarming { tries: 0 }, now);
            return self.question();
        }
        if sight.is_being_undone() {
            return self.undo(Why::DeadMan, now);
        }
        let untouched = sight.profile.as_ref() == Some(&before.profile);
        if now >= proof.until {
            return self.undo(unproven(&proof, untouched, limits.looks), now);
        }
        let (Some(false), Some(running), Some(health)) =
            (sight.switching, &sight.running, &sight.health)
        else {
            return wait(now, POLL);
        };
        if *running == before.system && before.system != self.target.system {
            return self.undo(Why::Undone, now);
        }
        if *running != self.target.system {
            return self.superseded(now);
        }
        let mut worse = health.worse_than(&before.health);
        if let Some(then) = proof.restarts.replace(health.restarts().clone()) {
            worse.doubtful.extend(health.restarted_since(&then));
        }
        if worse.certain.is_empty() {
            proof.bad = 0;
        } else if now >= proof.since.plus(limits.settle()) {
            // One look may fall into a moment that passes.
            proof.bad = proof.bad.saturating_add(1);
            if proof.bad > 1 {
                return self.undo(Why::Worse(worse.certain), now);
            }
        }
        // Whoever touched the profile is about to switch: that is waited for.
        let good = worse.is_nothing() && untouched;
        proof.good = if good { proof.good.saturating_add(1) } else { 0 };
        proof.worse = worse.all();
        let soaked = now >= proof.since.plus(limits.soak());
        if soaked && proof.good >= limits.looks && proof.heads >= limits.heads {
            self.enter(Phase::Deciding(proof), now);
            return self.question();
        }
        let until_next =
            Span::from_millis(limits.soak().as_millis() / i64::from(limits.looks.max(1)));
        let until_next = if proof.bad > 0 { POLL } else { until_next };
        self.phase = Phase::Proving(proof);
        wait(now, until_next)
    }

    fn decided(&mut self, decision: Option<Decision>, now: Span) -> Action {
        match (self.phase.clone(), decision) {
            (Phase::Deciding(_), Some(Decision::Proven)) => {
                self.enter(Phase::Disarming { tries: 0 }, now);
                self.question()
            }
            (Phase::Deciding(_), Some(Decision::Undo)) => self.undo(Why::DeadMan, now),
            (Phase::Deciding(proof), None) if proof.undecided < TRIES => {
                // It is looked at again before it is tried again.
                let undecided = proof.undecided + 1;
                self.phase = Phase::Proving(Proof { good: 0, undecided, ..proof });
                wait(now, POLL)
            }
            (Phase::Deciding(_), None) => self.undo(Why::NotDecided, now),
            (Phase::Undoing(mut undo), _) => {
                // Whether it could be written or not: the undo needs no leave of the dead-man.
                undo.decided = true;
                self.phase = Phase::Undoing(undo);
                self.question()
            }
            _ => self.question(),
        }
    }

    fn disarming(&mut self, sight: &Sight, tries: u8, now: Span) -> Action {
        // A dead-man that cannot be called off reads the decision and leaves.
        if sight.deadman == Some(DeadMan::Absent) || tries >= TRIES {
            self.deadman_at = None;
            let until = now.plus(PERSIST);
            self.enter(Phase::Persisting { tries: 0, until }, now);
            return self.question();
        }
        self.phase = Phase::Disarming { tries: tries + 1 };
        Action::Disarm
    }

    fn persisting(
        &mut self,
        sight: &Sight,
        before: &Before,
        tries: u8,
        until: Span,
        now: Span,
    ) -> Action {
        let next = self.target.system.clone();
        let stands = |seen: &Option<StorePath>, was: &StorePath| match seen {
            None => Stands::Unseen,
            Some(path) if *path == next => Stands::AtNext,
            Some(path) if path == was => Stands::AtBefore,
            Some(_) => Stands::Elsewhere,
        };
        let running = stands(&sight.running, &before.system);
        let profile = stands(&sight.profile, &before.profile);
        let default = stands(&sight.default, &before.default);
        let here = running == Stands::AtNext;
        if here && profile == Stands::AtNext && default == Stands::AtNext {
            let detail = format!("{next} runs, has proven itself, and is what boots");
            return self.end(Ending::new(Outcome::Success, "activated", detail), now);
        }
        if now >= until || running == Stands::AtBefore {
            return self.undo(Why::NotPersisted, now);
        }
        if sight.switching != Some(false) || running == Stands::Unseen || profile == Stands::Unseen
        {
            return wait(now, POLL);
        }
        if [running, profile, default].contains(&Stands::Elsewhere) {
            return self.superseded(now);
        }
        if tries >= 2 * TRIES {
            return self.undo(Why::NotPersisted, now);
        }
        self.phase = Phase::Persisting { tries: tries + 1, until };
        match profile {
            Stands::AtNext => Action::InstallBoot(Which::Next),
            _ => Action::SetProfile(Which::Next),
        }
    }
}

/// Why a proof was not complete in time.
fn unproven(proof: &Proof, untouched: bool, looks: u8) -> Why {
    match untouched {
        false => Why::Meddled,
        true if !proof.worse.is_empty() => Why::Worse(proof.worse.clone()),
        true if proof.good >= looks => Why::NoConnection,
        true => Why::NotProven,
    }
}

/// Where a link points.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    AtBefore,
    AtNext,
    Elsewhere,
    Unseen,
}

/// Look again after `span`.
pub(super) fn wait(now: Span, span: Span) -> Action {
    Action::Wait { until: now.plus(span) }
}
