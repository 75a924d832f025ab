//! Permits: the one place where permission to change the host is made. Pure.
//!
//! A [`Permit`] comes from an order whose exact signed bytes were verified, or from the local policy for a
//! drift that the executor itself has just observed; from nothing else.

use compliance_checks::backups::BackupJob;
use compliance_checks::baseline::Baseline;
use compliance_checks::{CheckId, Report, Verdict};
use compliance_protocol::clock::TrustedNow;
use compliance_protocol::envelope::Verified;
use compliance_protocol::gate::Gate;
use compliance_protocol::name::{JobName, UnitName};
use compliance_protocol::order::{Action, Order, Refusal, When};
use compliance_protocol::time::{Span, Timestamp};
use compliance_protocol::window::Windows;

use crate::config::Heal;
use crate::effect::Effect;
use crate::gates::{self, Attempt};
use crate::observe::Observed;

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
    /// Not now.
    Hold(Vec<Gate>),
}

/// What an order comes to.
#[derive(Debug, PartialEq, Eq)]
pub enum Work {
    /// Change the host.
    Act(Decision),
    /// Run the checks.
    Look,
    /// Heal nothing until then.
    Pause(Timestamp),
    /// Take the signed document in the envelope, after verifying it.
    TakeBaseline(serde_json::Value),
    /// Take the trust file in the envelope, after verifying it.
    TakeTrust(serde_json::Value),
}

/// What the executor knows when it decides.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// The baseline in force.
    pub baseline: Option<&'a Baseline>,
    /// The maintenance windows.
    pub windows: &'a Windows,
    /// What is being done, if anything.
    pub doing: Option<&'a str>,
    /// The trusted time.
    pub now: TrustedNow,
    /// The machine's clock.
    pub wall: Timestamp,
}

/// The longest pause that can be ordered.
pub const MAX_PAUSE: Span = Span::from_hours(7 * 24);

/// Decides on a verified order whose time was ruled on.
pub fn order(
    order: &Verified<Order>,
    about: &Circumstances<'_>,
) -> Result<Work, (Refusal, String)> {
    let order = order.value();
    let (effect, disruptive) = match &order.action {
        Action::RunChecks {} => return Ok(Work::Look),
        Action::UpdateBaseline { envelope } => return Ok(Work::TakeBaseline(envelope.clone())),
        Action::UpdateTrust { envelope } => return Ok(Work::TakeTrust(envelope.clone())),
        Action::PauseHealing { until } if *until > about.wall.plus(MAX_PAUSE) => {
            let detail = format!("healing can be paused for {MAX_PAUSE} at most");
            return Err((Refusal::BadParameter, detail));
        }
        Action::PauseHealing { until } => return Ok(Work::Pause(*until)),
        Action::RunBackup { job } => {
            let mut job = listed_job(about.baseline, job)?.clone();
            job.max_runtime_s = job.max_runtime_s.min(order.max_runtime_s);
            (Effect::RunBackup(job), false)
        }
        Action::RestartService { unit } => {
            let disruptive = listed_unit(about.baseline, unit)?;
            let max_runtime_s = order.max_runtime_s;
            (Effect::RestartUnit { unit: unit.clone(), max_runtime_s }, disruptive)
        }
        action @ (Action::ActivateSystem { .. }
        | Action::Reboot {}
        | Action::RestoreFirewall { .. }
        | Action::RollbackSystem { .. }) => {
            let detail = format!("this release does not carry out {}", action.name());
            return Err((Refusal::Policy, detail));
        }
    };
    let mut asked = vec![gates::clock(about.now), gates::busy(about.doing)];
    if disruptive && order.when == When::Window {
        asked.push(gates::window(about.windows, about.now));
    }
    Ok(Work::Act(decide(effect, asked)))
}

/// Decides whether a drift that was just observed is healed; `None` when there is no remedy for it.
pub fn heal(
    observed: &Observed,
    subject: &str,
    heal: &Heal,
    paused_until: Option<Timestamp>,
    attempts: &[Attempt],
    about: &Circumstances<'_>,
) -> Option<Decision> {
    let effect = remedy(observed.report(), subject, about.baseline?)?;
    let min_interval = Span::from_secs(heal.min_interval_s.into());
    let asked = vec![
        gates::policy(heal, observed.report().check),
        gates::pause(paused_until, about.wall),
        gates::rate(attempts, min_interval, about.wall),
        gates::busy(about.doing),
    ];
    Some(decide(effect, asked))
}

/// The remedy for what a check found about `subject`.
fn remedy(report: &Report, subject: &str, baseline: &Baseline) -> Option<Effect> {
    let Verdict::Drifted(findings) = &report.verdict else { return None };
    findings.iter().find(|finding| finding.subject == subject)?;
    match report.check {
        CheckId::Backups => {
            let job = baseline.backup_jobs().iter().find(|job| job.name.as_str() == subject)?;
            Some(Effect::RunBackup(job.clone()))
        }
        _ => None,
    }
}

fn decide(effect: Effect, asked: Vec<Gate>) -> Decision {
    if asked.iter().all(Gate::is_open) {
        Decision::Go(Permit { effect }, asked)
    } else {
        Decision::Hold(asked)
    }
}

fn listed_job<'a>(
    baseline: Option<&'a Baseline>,
    name: &JobName,
) -> Result<&'a BackupJob, (Refusal, String)> {
    let baseline = baseline.ok_or_else(no_baseline)?;
    let job = baseline.backup_jobs().iter().find(|job| job.name == *name);
    job.ok_or_else(|| (Refusal::BadParameter, format!("the baseline lists no backup job {name}")))
}

fn listed_unit(baseline: Option<&Baseline>, unit: &UnitName) -> Result<bool, (Refusal, String)> {
    let listed = baseline.ok_or_else(no_baseline)?.unit(unit);
    let listed = listed
        .ok_or_else(|| (Refusal::BadParameter, format!("the baseline does not list {unit}")))?;
    Ok(listed.disruptive)
}

fn no_baseline() -> (Refusal, String) {
    (Refusal::Policy, "no baseline is in force, so nothing may be changed".to_owned())
}
