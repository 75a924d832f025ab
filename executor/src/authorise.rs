//! Permits: the one place where permission to change the host is made. Pure.
//!
//! A [`Permit`] comes from an order whose exact signed bytes were verified, or from the local policy for a
//! drift that the executor itself has just observed; from nothing else. What was permitted may be taken back.

use compliance_checks::CheckId;
use compliance_checks::backups::BackupJob;
use compliance_checks::baseline::Baseline;
use compliance_checks::firewall::FirewallBaseline;
use compliance_checks::services::CriticalUnit;
use compliance_protocol::clock::TrustedNow;
use compliance_protocol::digest::Digest;
use compliance_protocol::envelope::{Envelope, Verified};
use compliance_protocol::gate::Gate;
use compliance_protocol::name::{JobName, StorePath, UnitName};
use compliance_protocol::order::{Action, Order, Refusal, When, inner_envelope};
use compliance_protocol::time::{Span, Timestamp};
use compliance_protocol::trust::{Trust, TrustError};
use compliance_protocol::window::Windows;
use serde_json::Value;

use crate::activation::{Action as Step, Limits, Proven, Target};
use crate::config::{Heal, HealMode, Reboots, Source};
use crate::documents::{Machine, Offered, open_for_site};
use crate::effect::Effect;
use crate::gates::{self, Attempt};
use crate::ledger::OnRecord;
use crate::observe::Observed;
use crate::remedy::{self, Remedy};

/// Permission to do one thing to the host, once.
#[derive(Debug, PartialEq, Eq)]
pub struct Permit {
    effect: Effect,
}

impl Permit {
    /// What is permitted.
    pub fn effect(&self) -> &Effect {
        &self.effect
    }

    /// Uses the permit up.
    pub fn into_effect(self) -> Effect {
        self.effect
    }
}

/// The answer to a wish to act.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// Do it, with the gates that were open.
    Go(Permit, Vec<Gate>),
    /// It would be done now if this were no dry run.
    Would(Effect, Vec<Gate>),
    /// Not now.
    Hold(Vec<Gate>),
}

/// What an order comes to.
#[derive(Debug, PartialEq, Eq)]
pub enum Work {
    /// Change the host.
    Act(Decision),
    /// Activate a system; its own gates are asked once it has begun.
    Activate(Target),
    /// Run the checks.
    Look,
    /// Heal nothing until then.
    Pause(Timestamp),
    /// Take this baseline.
    TakeBaseline(Box<Offered<Baseline>>),
    /// Take this trust file.
    TakeTrust(Box<Offered<Trust>>),
}

/// What the executor knows when it decides.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// The trust file in force.
    pub trust: &'a Trust,
    /// The baseline in force, and the digest of its signed form.
    pub baseline: Option<(&'a Baseline, Digest)>,
    /// What identifies this machine.
    pub machine: &'a Machine,
    /// The healing policy.
    pub heal: &'a Heal,
    /// How long the parts of an activation may take; `None` where systems are not activated.
    pub limits: Option<Limits>,
    /// Where systems come from.
    pub source: Source,
    /// Whether the machine is restarted.
    pub reboots: Reboots,
    /// Nothing is changed; what would be is recorded.
    pub dry_run: bool,
    /// The maintenance windows.
    pub windows: &'a Windows,
    /// There is no room on the disk.
    pub disk_full: bool,
    /// What is being done to the host, if anything.
    pub doing: Option<&'a str>,
    /// The system that is being activated, even if it is only fetched so far.
    pub activating: Option<&'a StorePath>,
    /// The systems that can be gone back to.
    pub proven: &'a Proven,
    /// The trusted time.
    pub now: TrustedNow,
    /// The machine's clock.
    pub wall: Timestamp,
}

impl Circumstances<'_> {
    /// The trusted time, else the machine's.
    fn stamp(&self) -> Timestamp {
        self.now.at().unwrap_or(self.wall)
    }

    fn baseline(&self) -> Result<&Baseline, (Refusal, String)> {
        let none =
            || (Refusal::Policy, "no baseline is in force, so nothing may be changed".to_owned());
        self.baseline.map(|(baseline, _)| baseline).ok_or_else(none)
    }
}

/// The longest pause that can be ordered.
pub const MAX_PAUSE: Span = Span::from_hours(7 * 24);

/// Decides on a verified order whose time was ruled on: first by its parameters, then by the site's
/// policy.
pub fn order(
    order: &Verified<Order>,
    about: &Circumstances<'_>,
) -> Result<Work, (Refusal, String)> {
    let task = task(order.value(), about)?;
    let needed = about.trust.roles.orders.threshold_now;
    if order.value().when == When::Now && order.signers() < needed {
        let signers = order.signers();
        let detail = format!("to override the window {needed} keys must sign, {signers} did");
        return Err((Refusal::Policy, detail));
    }
    Ok(match task {
        Task::Other(work) => work,
        Task::Change { effect, .. } if about.heal.mode(effect.check()) == HealMode::Never => {
            let detail = format!("here {} is never healed, not by order either", effect.check());
            return Err((Refusal::Policy, detail));
        }
        Task::Change { effect, disruptive } => {
            let mut asked = vec![gates::clock(about.now), gates::space(about.disk_full)];
            if disruptive && order.value().when == When::Window {
                asked.push(gates::window(about.windows, about.now));
            }
            // Last: it opens by itself within the hour, so it is never the reason beside another.
            asked.push(busy(&effect, about));
            Work::Act(decide(effect, asked, about.dry_run))
        }
    })
}

enum Task {
    Change { effect: Effect, disruptive: bool },
    Other(Work),
}

/// What `order` asks for, if its parameters hold here.
fn task(order: &Order, about: &Circumstances<'_>) -> Result<Task, (Refusal, String)> {
    Ok(match &order.action {
        Action::RunBackup { job } => {
            let mut job = listed_job(about.baseline()?, job)?.clone();
            job.max_runtime_s = job.max_runtime_s.min(order.max_runtime_s);
            Task::Change { effect: Effect::RunBackup(job), disruptive: false }
        }
        Action::RestartService { unit } => {
            let disruptive = listed_unit(about.baseline()?, unit)?.disruptive;
            let (unit, max_runtime_s) = (unit.clone(), order.max_runtime_s);
            let effect = Effect::RestartUnit { unit, max_runtime_s, check: CheckId::Services };
            Task::Change { effect, disruptive }
        }
        Action::RestoreFirewall { baseline_sha256 } => {
            let expected = listed_ruleset(about, baseline_sha256)?;
            Task::Change { effect: Effect::LoadFirewall(Box::new(expected)), disruptive: false }
        }
        Action::RunChecks {} => Task::Other(Work::Look),
        Action::PauseHealing { until } if *until > about.stamp().plus(MAX_PAUSE) => {
            let detail = format!("healing can be paused for {MAX_PAUSE} at most");
            return Err((Refusal::BadParameter, detail));
        }
        Action::PauseHealing { until } => Task::Other(Work::Pause(*until)),
        Action::UpdateBaseline { envelope } => {
            Task::Other(Work::TakeBaseline(Box::new(offered_baseline(envelope, about)?)))
        }
        Action::UpdateTrust { envelope } => {
            Task::Other(Work::TakeTrust(Box::new(offered_trust(envelope, about)?)))
        }
        Action::ActivateSystem { store_path, nar_hash, baseline_sha256, flake } => {
            activation(order, about)?;
            if flake.is_some() && about.source == Source::StorePath {
                let detail = "here no system is built from a flake (`activation.source`): build it elsewhere, sign it, and order it without --flake".to_owned();
                return Err((Refusal::Policy, detail));
            }
            Task::Other(Work::Activate(Target {
                system: store_path.clone(),
                nar_hash: Some(nar_hash.clone()),
                flake: flake.clone(),
                baseline_sha256: Some(*baseline_sha256),
            }))
        }
        Action::RollbackSystem { store_path } => {
            activation(order, about)?;
            if !about.proven.contains(store_path) {
                let detail = format!(
                    "{store_path} was never activated and proven here, so it is not gone back to: order activate_system"
                );
                return Err((Refusal::Policy, detail));
            }
            let system = store_path.clone();
            let (nar_hash, flake, baseline_sha256) = (None, None, None);
            Task::Other(Work::Activate(Target { system, nar_hash, flake, baseline_sha256 }))
        }
        Action::Reboot {} if about.reboots == Reboots::Never => {
            let detail = "here the machine is never restarted, not by order either".to_owned();
            return Err((Refusal::Policy, detail));
        }
        Action::Reboot {} => Task::Change { effect: Effect::Reboot, disruptive: true },
    })
}

/// Whether systems are activated here at all, and the order leaves time for the worst case.
fn activation(order: &Order, about: &Circumstances<'_>) -> Result<(), (Refusal, String)> {
    if about.heal.mode(CheckId::Patching) == HealMode::Never {
        let detail = "here patching is never healed, not by order either".to_owned();
        return Err((Refusal::Policy, detail));
    }
    let Some(limits) = about.limits else {
        let detail = "this appliance's configuration has no [activation]".to_owned();
        return Err((Refusal::Policy, detail));
    };
    limits.fit(order.max_runtime_s).map_err(|error| (Refusal::BadParameter, error.to_string()))
}

/// Permission for the next step of an activation that was begun by an order, and is on disk as it is.
pub fn next_step(on_record: &OnRecord<'_>, action: Step) -> Permit {
    let activation = on_record.activation().clone();
    Permit { effect: Effect::Activation(Box::new((action, activation))) }
}

fn offered_baseline(
    envelope: &Value,
    about: &Circumstances<'_>,
) -> Result<Offered<Baseline>, (Refusal, String)> {
    let (envelope, bytes) = inner(envelope)?;
    let verified =
        open_for_site(&envelope, about.trust).map_err(|why| (Refusal::BadParameter, why))?;
    if !about.machine.may_become(&verified.value().bound_to) {
        let why = "the baseline belongs to another machine".to_owned();
        return Err((Refusal::BadParameter, why));
    }
    Ok(Offered { bytes, verified })
}

fn offered_trust(
    envelope: &Value,
    about: &Circumstances<'_>,
) -> Result<Offered<Trust>, (Refusal, String)> {
    let (_, bytes) = inner(envelope)?;
    let verified = about.trust.next(&bytes).map_err(|error| {
        let refusal = match error {
            TrustError::Version { .. } => Refusal::Policy,
            _ => Refusal::BadParameter,
        };
        (refusal, error.to_string())
    })?;
    Ok(Offered { bytes, verified })
}

/// The envelope inside an order, and its bytes as they are kept.
fn inner(envelope: &Value) -> Result<(Envelope, Vec<u8>), (Refusal, String)> {
    let none = || (Refusal::BadParameter, "it holds no envelope".to_owned());
    let envelope = inner_envelope(envelope).map_err(|_| none())?;
    let bytes = envelope.to_json().map_err(|_| none())?;
    Ok((envelope, bytes))
}

/// Decides whether a drift that was just observed is healed; `None` when there is no remedy for it.
pub fn heal(
    observed: &Observed,
    subject: &str,
    paused_until: Option<Timestamp>,
    attempts: &[Attempt],
    about: &Circumstances<'_>,
) -> Option<Decision> {
    let Remedy { effect, disruptive } =
        remedy::remedy(observed.report(), subject, about.baseline().ok()?)?;
    let check = observed.report().check;
    let mut asked = vec![
        gates::policy(about.heal, check),
        gates::pause(paused_until, about.stamp()),
        gates::rate(attempts, about.heal.limit(check), about.wall),
    ];
    if let Effect::Activate(_) = effect {
        asked.push(gates::window_for(about.windows, about.now, about.limits?.needed()));
    } else if disruptive {
        asked.push(gates::window(about.windows, about.now));
    }
    asked.extend([gates::space(about.disk_full), busy(&effect, about)]);
    Some(decide(effect, asked, about.dry_run))
}

/// Whether something else is being done. A system that is only fetched is in the way of another one, and of a
/// restart, which would end it; and of nothing else.
fn busy(effect: &Effect, about: &Circumstances<'_>) -> Gate {
    let is_in_the_way = matches!(effect, Effect::Reboot | Effect::Activate(_));
    let fetched = about.activating.filter(|_| is_in_the_way);
    let fetched = fetched.map(|system| format!("activation of {system}"));
    gates::busy(about.doing.or(fetched.as_deref()))
}

/// Permission to take back what was permitted and done, and did not prove itself.
pub fn undo(done: &Effect) -> Option<Permit> {
    match done {
        Effect::LoadFirewall(expected) => {
            Some(Permit { effect: Effect::UndoFirewall(expected.clone()) })
        }
        _ => None,
    }
}

fn decide(effect: Effect, asked: Vec<Gate>, dry_run: bool) -> Decision {
    match (asked.iter().all(Gate::is_open), dry_run) {
        (true, false) => Decision::Go(Permit { effect }, asked),
        (true, true) => Decision::Would(effect, asked),
        (false, _) => Decision::Hold(asked),
    }
}

fn listed_job<'a>(
    baseline: &'a Baseline,
    name: &JobName,
) -> Result<&'a BackupJob, (Refusal, String)> {
    let job = baseline.backup_jobs().iter().find(|job| job.name == *name);
    job.ok_or_else(|| (Refusal::BadParameter, format!("the baseline lists no backup job {name}")))
}

fn listed_unit<'a>(
    baseline: &'a Baseline,
    unit: &UnitName,
) -> Result<&'a CriticalUnit, (Refusal, String)> {
    let listed = baseline.unit(unit);
    listed.ok_or_else(|| (Refusal::BadParameter, format!("the baseline does not list {unit}")))
}

fn listed_ruleset(
    about: &Circumstances<'_>,
    wanted: &Digest,
) -> Result<FirewallBaseline, (Refusal, String)> {
    let expected = about.baseline()?.firewall.expected();
    let expected = expected
        .ok_or_else(|| (Refusal::BadParameter, "the baseline has no ruleset".to_owned()))?;
    match about.baseline {
        Some((_, ours)) if ours == *wanted => Ok(expected.clone()),
        _ => Err((Refusal::BadParameter, format!("{wanted} is not the baseline in force"))),
    }
}
