//! The report for Prometheus: a text, exposition format 0.0.4, for the node exporter's textfile collector.
//!
//! What nobody knows is left out or is a state of its own, never a zero that reads as good. Where a zero
//! stands for "never", it is a time so long ago that each alert on it fires.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use compliance_daemon::files;
use compliance_protocol::evidence::State;
use compliance_protocol::gate::{Gate, GateName, GateState};
use compliance_protocol::status::Status;
use compliance_protocol::time::{Span, Timestamp};

use crate::report::{Cause, Moment, Report, Seen};

/// What the executor said or saw longer ago than this is not how it is.
const FRESH: Span = Span::from_secs(15 * 60);

/// The states of a check: those of evidence, and one for a result that is too old to be one.
const STATES: [&str; 5] = ["compliant", "drifted", "not_applicable", "stale", "unknown"];

/// Replaces the file at `path`, for everyone to read.
pub fn write(report: &Report, path: &Path) -> std::io::Result<()> {
    files::replace(path, text(report).as_bytes(), 0o644)
}

/// The report as text.
pub fn text(report: &Report) -> String {
    let mut page = Page(String::new());
    write_agent(&mut page, report);
    write_checks(&mut page, report);
    if let Some(seen) = report.executor.as_ref().filter(|seen| is_fresh(seen, report.written)) {
        write_executor(&mut page, &seen.status);
    }
    page.0
}

fn write_agent(page: &mut Page, report: &Report) {
    let polls = &report.polls;
    let mut versions = vec![("agent", &report.version)];
    versions.extend(report.executor.as_ref().map(|seen| ("executor", &seen.status.version)));
    let build = |(component, version): (&str, &String)| {
        (labels(&[("component", component), ("version", version)]), 1)
    };
    page.family(
        "compliance_build_info",
        "Versions of the agent, and of the executor as it said last.",
        versions.into_iter().map(build),
    );
    page.one(
        "compliance_report_timestamp_seconds",
        "When this file was written.",
        Some(seconds(report.written.at)),
    );
    page.one(
        "compliance_poll_last_success_timestamp_seconds",
        "When the control plane last answered with a head that the executor verified; 0 for never since the agent started.",
        Some(polls.last_success.map_or(0, |moment| seconds(moment.at))),
    );
    let last = polls.last_failure.as_ref().map(|failure| failure.cause);
    let failures = |cause: Cause| {
        let count = if last == Some(cause) { polls.failures } else { 0 };
        (labels(&[("cause", cause.name())]), i64::from(count))
    };
    page.family(
        "compliance_poll_consecutive_failures",
        "Polls in a row that have failed, under the cause of the last of them.",
        Cause::ALL.into_iter().map(failures),
    );
    page.one(
        "compliance_executor_reachable",
        "Whether the executor answered all that it was asked at the last poll.",
        Some(i64::from(report.executor_answers)),
    );
}

fn write_checks(page: &mut Page, report: &Report) {
    let checks = report.executor.as_ref().map_or(&[][..], |seen| &seen.status.checks);
    page.one(
        "compliance_checks_oldest_look_timestamp_seconds",
        "When the check that looked longest ago did so; 0 for none that looked since the agent started.",
        Some(checks.iter().map(|check| seconds(check.at)).min().unwrap_or(0)),
    );
    let mut states = BTreeMap::new();
    if let Some(seen) = &report.executor {
        for check in checks {
            let fresh = is_fresh(seen, report.written) && is_near(seen.status.at.since(check.at));
            states.insert(&check.check, if fresh { state_name(check.state) } else { "stale" });
        }
    }
    let of_all = states.iter().flat_map(|(check, is)| {
        STATES.map(|state| (labels(&[("check", check), ("state", state)]), i64::from(state == *is)))
    });
    page.family(
        "compliance_check_state",
        "1 for the state that a check is in, 0 for the others.",
        of_all,
    );
}

fn write_executor(page: &mut Page, status: &Status) {
    page.one(
        "compliance_evidence_pending_bundles",
        "Evidence without a receipt of the control plane's.",
        i64::try_from(status.pending_bundles).ok(),
    );
    page.one(
        "compliance_healing_paused_until_timestamp_seconds",
        "When the pause of healing ends; 0 where it is not paused.",
        gate(status, GateName::Pause).and_then(paused_until),
    );
    page.one(
        "compliance_activation_under_way",
        "Whether a system is being activated.",
        Some(i64::from(status.activation.is_some())),
    );
    page.one(
        "compliance_ledger_disk_full",
        "Whether the disk with the ledger has no room.",
        gate(status, GateName::Space).and_then(closed),
    );
}

/// Whether what the executor said holds at `now`.
fn is_fresh(seen: &Seen, now: Moment) -> bool {
    is_near(seen.when.until(now))
}

/// Near on either side: a clock that stepped back makes the past the future.
fn is_near(age: Span) -> bool {
    age.as_millis().unsigned_abs() <= FRESH.as_millis().unsigned_abs()
}

fn gate(status: &Status, name: GateName) -> Option<&Gate> {
    status.gates.iter().find(|gate| gate.gate == name)
}

fn paused_until(gate: &Gate) -> Option<i64> {
    if gate.is_open() { Some(0) } else { gate.until.map(seconds) }
}

fn closed(gate: &Gate) -> Option<i64> {
    match gate.state {
        GateState::Closed => Some(1),
        GateState::Open => Some(0),
        GateState::Unknown => None,
    }
}

fn state_name(state: State) -> &'static str {
    match state {
        State::Compliant => "compliant",
        State::Drifted => "drifted",
        State::NotApplicable => "not_applicable",
        State::Unknown => "unknown",
    }
}

fn seconds(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(1000)
}

/// The text as it grows.
struct Page(String);

impl Page {
    /// A gauge without labels, if its value is known.
    fn one(&mut self, name: &str, help: &str, value: Option<i64>) {
        self.family(name, help, value.map(|value| (String::new(), value)));
    }

    /// A gauge with a value for each set of labels; nothing where there are none.
    fn family(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = (String, i64)>) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in samples {
            let _ = writeln!(self.0, "{name}{labels} {value}");
        }
    }
}

fn labels(pairs: &[(&str, &str)]) -> String {
    let pair = |(name, value): &(&str, &str)| format!("{name}=\"{}\"", escaped(value));
    format!("{{{}}}", pairs.iter().map(pair).collect::<Vec<_>>().join(","))
}

/// As the format writes a label's value.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
