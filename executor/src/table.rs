//! What a round found, as a table for people and as JSON for machines.

use compliance_checks::{Report, Verdict};
use serde_json::{Value, json};

use crate::observe::Observed;

/// The round as a table: check, state, expected, actual.
pub fn text(observed: &[Observed]) -> String {
    let mut rows = vec![["CHECK", "STATE", "EXPECTED", "ACTUAL"].map(str::to_owned).to_vec()];
    rows.extend(observed.iter().flat_map(|observed| rows_of(observed.report())));
    let widths: Vec<usize> = (0..3)
        .map(|column| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|c| c.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(widths.iter().chain([&0]));
        let line: Vec<_> = cells.map(|(cell, width)| format!("{cell:<width$}")).collect();
        line.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// The round as JSON.
pub fn json(observed: &[Observed]) -> Value {
    let checks = observed.iter().map(Observed::report).map(|report| {
        json!({
            "check": report.check,
            "state": report.verdict.state(),
            "findings": report.verdict.findings(),
            "why": report.verdict.why(),
            "facts": report.facts,
        })
    });
    json!({ "checks": checks.collect::<Vec<_>>() })
}

fn rows_of(report: &Report) -> Vec<Vec<String>> {
    let state = match report.verdict {
        Verdict::Compliant => "compliant",
        Verdict::Drifted(_) => "DRIFTED",
        Verdict::Unknown(_) => "UNKNOWN",
        Verdict::NotApplicable(_) => "not applicable",
    };
    let row = |expected: String, actual: String| {
        vec![report.check.to_string(), state.to_owned(), expected, actual]
    };
    match &report.verdict {
        Verdict::Drifted(findings) => findings
            .iter()
            .map(|f| row(f.expected.clone(), format!("{}: {}", f.subject, f.actual)))
            .collect(),
        verdict => vec![row(String::new(), verdict.why().to_owned())],
    }
}
