//! Remedies: what is done about which finding. Pure; whether and when it is done is for
//! [`authorise`](crate::authorise) to say.

use compliance_checks::baseline::Baseline;
use compliance_checks::firewall::{self, FirewallBaseline, TableName};
use compliance_checks::{CheckId, Report, Verdict, logging, patching, services};
use compliance_protocol::evidence::Finding;
use compliance_protocol::name::UnitName;
use serde_json::Value;

use crate::activation::Target;
use crate::effect::Effect;

/// What is done about a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remedy {
    /// What.
    pub effect: Effect,
    /// It interrupts people, so it waits for the maintenance window.
    pub disruptive: bool,
}

/// How long a restart that no order asked for may take, in seconds.
const RESTART_LIMIT_S: u32 = 120;

/// The remedy for what a check found about `subject`, if there is one.
pub fn remedy(report: &Report, subject: &str, baseline: &Baseline) -> Option<Remedy> {
    let Verdict::Drifted(findings) = &report.verdict else { return None };
    let about: Vec<_> = findings.iter().filter(|finding| finding.subject == subject).collect();
    about.first()?;
    let may_restart = || about.iter().any(|finding| services::restart_may_help(finding));
    let undisruptive = |effect| Some(Remedy { effect, disruptive: false });
    match report.check {
        CheckId::Services if may_restart() => {
            let unit = baseline.unit(&subject.parse().ok()?)?;
            let effect = restart(&unit.unit, report.check);
            Some(Remedy { effect, disruptive: unit.disruptive })
        }
        CheckId::Backups => {
            let job = baseline.backup_jobs().iter().find(|job| job.name.as_str() == subject)?;
            undisruptive(Effect::RunBackup(job.clone()))
        }
        CheckId::Firewall => {
            let expected = baseline.firewall.expected()?;
            // What nft did not print when it was captured, its text may lack too.
            let whole = report.facts.get("unseen").and_then(Value::as_u64) == Some(0);
            let can = whole && (is_ours(subject, expected) || expected.exclusive);
            can.then(|| Effect::LoadFirewall(Box::new(expected.clone()))).and_then(undisruptive)
        }
        CheckId::Logging if may_restart() => {
            let expected = baseline.logging.expected()?;
            let unit = match expected.forwarders.iter().find(|unit| unit.as_str() == subject) {
                Some(forwarder) => forwarder.clone(),
                None if subject == logging::JOURNAL => JOURNALD.parse().ok()?,
                None => return None,
            };
            let disruptive = baseline.unit(&unit).is_some_and(|listed| listed.disruptive);
            Some(Remedy { effect: restart(&unit, report.check), disruptive })
        }
        CheckId::Patching => {
            // Another system than the last that was proven runs; how old that one is, is no fault of what runs.
            let other = |finding: &&Finding| finding.subject == patching::RUNNING;
            let expected = findings.iter().filter(other).find_map(|f| f.expected.parse().ok());
            let (nar_hash, flake, baseline_sha256) = (None, None, None);
            let target = Target { system: expected?, nar_hash, flake, baseline_sha256 };
            let can = subject == patching::RUNNING;
            can.then_some(Remedy { effect: Effect::Activate(target), disruptive: true })
        }
        // A disk is encrypted, and a unit mended, by a person.
        CheckId::Encryption | CheckId::Services | CheckId::Logging => None,
    }
}

/// Whether `effect` is done about what findings call `subject`.
pub fn concerns(effect: &Effect, subject: &str) -> bool {
    match effect {
        Effect::LoadFirewall(expected) | Effect::UndoFirewall(expected) => {
            expected.exclusive || is_ours(subject, expected)
        }
        Effect::RestartUnit { unit, check: CheckId::Logging, .. } if unit.as_str() == JOURNALD => {
            subject == logging::JOURNAL
        }
        effect => effect.subject() == subject,
    }
}

const JOURNALD: &str = "systemd-journald.service";

fn restart(unit: &UnitName, check: CheckId) -> Effect {
    Effect::RestartUnit { unit: unit.clone(), max_runtime_s: RESTART_LIMIT_S, check }
}

/// Whether a finding about `subject` is about a table that the baseline names; another's is removed only
/// where the baseline is exclusive.
fn is_ours(subject: &str, expected: &FirewallBaseline) -> bool {
    let within = |table: &TableName| {
        let rest = subject.strip_prefix(table.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ' ']))
    };
    subject == firewall::RULESET || expected.tables.keys().any(within)
}
