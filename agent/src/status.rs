//! `compliance-agent status`: the report, for people and for machines.

use std::fmt::Write as _;

use compliance_protocol::clock::{ClockEvidence, ClockSource};
use compliance_protocol::evidence::{Mode, State};
use compliance_protocol::gate::{Gate, GateName, GateState};
use compliance_protocol::status::{ActivationStatus, CheckStatus, Status, WaitingOrder};
use compliance_protocol::time::Span;
use serde::Serialize;

use crate::report::{Moment, Report, Seen};

/// The report as one JSON document. `age` is the report's, if it is of this boot.
pub fn document(report: &Report, age: Option<Span>) -> Result<String, serde_json::Error> {
    #[derive(Serialize)]
    struct Document<'a> {
        age_ms: Option<Span>,
        #[serde(flatten)]
        report: &'a Report,
    }
    Ok(serde_json::to_string_pretty(&Document { age_ms: age, report })? + "\n")
}

/// The report as text. `age` is the report's, if it is of this boot.
pub fn text(report: &Report, age: Option<Span>) -> String {
    let mut text = String::new();
    let now = age.map(|age| report.written.plus(age));
    // Writing to a string does not fail.
    let _ = write_agent(&mut text, report, now);
    let _ = match &report.executor {
        Some(seen) => write_executor(&mut text, seen, now),
        None => writeln!(
            text,
            "\nThe executor has not said anything yet: nothing is known of the checks."
        ),
    };
    text
}

fn write_agent(text: &mut String, report: &Report, now: Option<Moment>) -> std::fmt::Result {
    let polls = &report.polls;
    match now {
        Some(now) => writeln!(
            text,
            "agent          {}, said {} ago",
            report.version,
            report.written.until(now)
        )?,
        None => writeln!(
            text,
            "agent          {}, has not run since the boot: all below is from {}",
            report.version, report.written.at
        )?,
    }
    writeln!(text, "control plane  {}", String::from(report.mcp_url.clone()))?;
    writeln!(text, "last poll      {}", ago(polls.last, now))?;
    writeln!(text, "last success   {}", ago(polls.last_success, now))?;
    match (polls.next, now) {
        (Some(next), Some(now)) if now.until(next) > Span::ZERO => {
            writeln!(text, "next poll      in {}", now.until(next))?;
        }
        (Some(next), _) => writeln!(text, "next poll      was due at {}", next.at)?,
        (None, _) => writeln!(text, "next poll      none: the agent was stopped")?,
    }
    if let Some(failure) = &polls.last_failure {
        writeln!(text, "failing        {} in a row: {}", polls.failures, failure.detail)?;
    }
    Ok(())
}

fn write_executor(text: &mut String, seen: &Seen, now: Option<Moment>) -> std::fmt::Result {
    let Seen { when, status } = seen;
    let mode = match status.mode {
        Mode::Direct => "direct",
        Mode::Reseller => "reseller",
    };
    writeln!(
        text,
        "\nsite           {}/{}, epoch {}, {mode}",
        status.tenant, status.site, status.epoch
    )?;
    writeln!(text, "executor       {}, asked {}", status.version, ago(Some(*when), now))?;
    writeln!(text, "clock          {}", clock(&status.clock))?;
    writeln!(text, "queue          {} bundles without a receipt", status.pending_bundles)?;
    writeln!(text, "doing          {}", status.doing.as_deref().unwrap_or("nothing"))?;
    if let Some(activation) = &status.activation {
        let ActivationStatus { phase, since, waits_for, deadman_at, .. } = activation;
        writeln!(text, "phase          {phase} since {since}, waits for {waits_for}")?;
        if let Some(at) = deadman_at {
            writeln!(text, "dead-man       acts at {at}, unless the new system is proven by then")?;
        }
    }
    write_checks(text, status)?;
    section(text, "GATES, for a disruptive action", &status.gates, gate)?;
    section(text, "WAITING ORDERS", &status.waiting, waiting)?;
    section(text, "WHY NOT NOW", &status.why_not_now, Clone::clone)
}

fn write_checks(text: &mut String, status: &Status) -> std::fmt::Result {
    writeln!(text, "\n{:<12} {:<15} {:<24}  LOOKED", "CHECK", "STATE", "SINCE")?;
    if status.checks.is_empty() {
        writeln!(text, "no round of checks has ended yet")?;
    }
    for CheckStatus { check, state, at, since, findings, why } in &status.checks {
        writeln!(text, "{check:<12} {:<15} {since}  {at}", state_name(*state))?;
        for finding in findings {
            let (subject, expected, actual) =
                (&finding.subject, &finding.expected, &finding.actual);
            writeln!(text, "  {subject}: expected {expected}, actual {actual}")?;
        }
        if !why.is_empty() {
            writeln!(text, "  {why}")?;
        }
    }
    Ok(())
}

fn section<T>(
    text: &mut String,
    title: &str,
    items: &[T],
    line: impl Fn(&T) -> String,
) -> std::fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    writeln!(text, "\n{title}")?;
    items.iter().try_for_each(|item| writeln!(text, "  {}", line(item)))
}

fn gate(gate: &Gate) -> String {
    let state = match gate.state {
        GateState::Closed => "closed",
        GateState::Open => "open",
        GateState::Unknown => "unknown",
    };
    let until = gate.until.map(|at| format!("until {at}: ")).unwrap_or_default();
    format!("{:<8} {state:<8} {until}{}", gate_name(gate.gate), gate.why)
}

fn gate_name(gate: GateName) -> &'static str {
    match gate {
        GateName::Busy => "busy",
        GateName::Clock => "clock",
        GateName::Head => "control plane",
        GateName::Pause => "pause",
        GateName::Policy => "policy",
        GateName::Quarantine => "quarantine",
        GateName::Rate => "rate",
        GateName::Shutdown => "shutdown",
        GateName::Space => "space",
        GateName::Switch => "switch",
        GateName::Window => "window",
    }
}

fn waiting(order: &WaitingOrder) -> String {
    let retry = order.retry_after.map(|at| format!(", again at {at}")).unwrap_or_default();
    format!("#{} {}: {}{retry}  ({})", order.sequence, order.action, order.reason, order.id)
}

fn clock(clock: &ClockEvidence) -> String {
    match clock.source {
        ClockSource::Kernel => format!("synchronised, within {} ms", clock.max_error_ms),
        ClockSource::Feed => "not synchronised; the time is the control plane's".to_owned(),
        ClockSource::None => {
            "not synchronised, and no control plane to ask: nothing disruptive starts".to_owned()
        }
    }
}

fn state_name(state: State) -> &'static str {
    match state {
        State::Compliant => "compliant",
        State::Drifted => "drifted",
        State::NotApplicable => "not applicable",
        State::Unknown => "unknown",
    }
}

fn ago(moment: Option<Moment>, now: Option<Moment>) -> String {
    match (moment, now) {
        (Some(moment), Some(now)) => format!("{} ago, at {}", moment.until(now), moment.at),
        (Some(moment), None) => format!("at {}", moment.at),
        (None, _) => "never".to_owned(),
    }
}
