//! What the demonstration tells: a line a step, a table of what was checked, and a document for machines.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use compliance_protocol::time::Span;
use serde::Serialize;

use crate::output::{Output, Paint, Table, Tone};
use crate::verify::Head;
use crate::{Error, Verdict};

/// The whole story.
#[derive(Debug)]
pub(super) struct Story {
    output: Output,
    began: Span,
    told: Told,
}

/// The document.
#[derive(Debug, Serialize)]
struct Told {
    verdict: Verdict,
    duration_ms: i64,
    directory: PathBuf,
    steps: Vec<Step>,
    proof: Option<Proof>,
}

/// One step.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    number: u8,
    title: &'static str,
    duration_ms: i64,
    notes: Vec<String>,
    checks: Vec<Row>,
    #[serde(skip)]
    began: Span,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    check: String,
    expected: String,
    actual: String,
    verdict: String,
    holds: bool,
    #[serde(skip)]
    tone: Tone,
}

/// What the user takes away.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Proof {
    /// The exported evidence.
    pub(super) evidence: PathBuf,
    /// The newest bundle of each chain that the control plane held, which `verify --head` demands.
    pub(super) heads: Vec<Head>,
    /// How many bundles it has.
    pub(super) bundles: u64,
    /// How many receipts were verified.
    pub(super) receipts: u64,
    /// The command with which anybody checks a bundle.
    pub(super) openssl: String,
    /// What it said here; none where there is no openssl.
    pub(super) openssl_said: Option<String>,
    /// The one-time link.
    pub(super) console: String,
    /// How the operator's tool reaches the control plane while it runs.
    pub(super) config: PathBuf,
}

impl Row {
    /// An expectation: it holds if `actual` is `expected`.
    pub(super) fn claim(
        check: &str,
        expected: impl Into<String>,
        actual: impl Into<String>,
    ) -> Self {
        let (expected, actual) = (expected.into(), actual.into());
        let holds = expected == actual;
        let (verdict, tone) = if holds { ("holds", Tone::Good) } else { ("FAILS", Tone::Bad) };
        Self { check: check.to_owned(), expected, actual, verdict: verdict.to_owned(), holds, tone }
    }

    /// What a drift check found: whatever it is, it is an answer.
    pub(super) fn finding(
        check: &str,
        expected: impl Into<String>,
        actual: impl Into<String>,
        (tone, verdict): (Tone, String),
    ) -> Self {
        let (expected, actual) = (expected.into(), actual.into());
        Self { check: check.to_owned(), expected, actual, verdict, holds: true, tone }
    }
}

impl Step {
    /// Adds something that was looked at.
    pub(super) fn row(&mut self, row: Row) {
        self.checks.push(row);
    }

    /// Adds a sentence.
    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    fn holds(&self) -> bool {
        self.checks.iter().all(|row| row.holds)
    }
}

impl Story {
    pub(super) fn new(output: Output, directory: &Path) -> Self {
        let told = Told {
            verdict: Verdict::Unchecked,
            duration_ms: 0,
            directory: directory.to_owned(),
            steps: Vec::new(),
            proof: None,
        };
        Self { output, began: compliance_clock::boottime(), told }
    }

    /// The first lines.
    pub(super) fn begin(&self) -> Result<(), Error> {
        let paint = self.output.paint();
        let title = "A compliance appliance and its control plane, on this machine";
        self.output.say(&format!(
            "{}\n{}\n",
            paint.tone(Tone::Strong, title),
            paint.tone(
                Tone::Quiet,
                &format!(
                    "real processes, real mutual TLS, throwaway keys; all in {}",
                    self.told.directory.display()
                )
            )
        ))
    }

    /// Begins a step.
    pub(super) fn step(&self, number: u8, title: &'static str) -> Result<Step, Error> {
        if self.has_cursor() {
            write!(io::stdout(), "  {number}  {title} …")
                .and_then(|()| io::stdout().flush())
                .map_err(Error::Print)?;
        }
        let (notes, checks) = (Vec::new(), Vec::new());
        Ok(Step {
            number,
            title,
            duration_ms: 0,
            notes,
            checks,
            began: compliance_clock::boottime(),
        })
    }

    /// Ends a step, and shows it.
    pub(super) fn done(&mut self, mut step: Step) -> Result<(), Error> {
        step.duration_ms = since(step.began);
        if self.has_cursor() {
            write!(io::stdout(), "\r\x1b[2K").map_err(Error::Print)?;
        }
        self.output.say(&describe(&step, self.output.paint()))?;
        self.told.steps.push(step);
        Ok(())
    }

    /// Leaves the line of a step that did not end.
    pub(super) fn break_off(&self) -> Result<(), Error> {
        if self.has_cursor() { self.output.say("") } else { Ok(()) }
    }

    /// What the user takes away.
    pub(super) fn prove(&mut self, proof: Proof) {
        self.told.proof = Some(proof);
    }

    /// The last lines, or the document.
    pub(super) fn end(&mut self, keep: bool) -> Result<(), Error> {
        self.told.verdict = self.verdict();
        self.told.duration_ms = since(self.began);
        self.output.show(&self.told, |told, paint| last_lines(told, keep, paint))
    }

    /// Whether everything held so far.
    pub(super) fn verdict(&self) -> Verdict {
        let all = !self.told.steps.is_empty() && self.told.steps.iter().all(Step::holds);
        if all { Verdict::Holds } else { Verdict::Fails }
    }

    /// Whether a line can be written over.
    fn has_cursor(&self) -> bool {
        !self.output.is_json() && io::stdout().is_terminal()
    }
}

fn since(began: Span) -> i64 {
    compliance_clock::boottime().as_millis().saturating_sub(began.as_millis())
}

fn describe(step: &Step, paint: Paint) -> String {
    let (mark, tone) = if step.holds() { ("✓", Tone::Good) } else { ("✗", Tone::Bad) };
    let (mark, seconds) =
        (paint.tone(tone, mark), paint.tone(Tone::Quiet, &seconds(step.duration_ms)));
    let mut text = format!("{mark} {}  {:<76} {seconds}", step.number, step.title);
    for note in &step.notes {
        text.extend(["\n     ", &paint.tone(Tone::Quiet, note)]);
    }
    if !step.checks.is_empty() {
        let table = table(&step.checks).render(paint);
        text.push_str("\n\n");
        text.extend(table.lines().map(|line| format!("   {line}\n")));
    }
    text
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["check", "expected", "actual", "verdict"]).folding(2);
    for row in rows {
        table.row(vec![
            (Tone::Strong, row.check.clone()),
            (Tone::Plain, row.expected.clone()),
            (Tone::Plain, row.actual.clone()),
            (row.tone, row.verdict.clone()),
        ]);
    }
    table
}

fn seconds(ms: i64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

fn last_lines(told: &Told, keep: bool, paint: Paint) -> String {
    let rows = told.steps.iter().flat_map(|step| &step.checks);
    let failed = rows.clone().filter(|row| !row.holds).count();
    let (tone, verdict) = if failed == 0 {
        (Tone::Good, format!("Everything held: {} checks", rows.count()))
    } else {
        (Tone::Bad, format!("{failed} of {} checks did not hold", rows.count()))
    };
    let mut text = format!("{}, in {}\n", paint.tone(tone, &verdict), seconds(told.duration_ms));
    if let Some(proof) = &told.proof {
        text.push_str(&take_away(proof, &told.directory, keep, paint));
    }
    text
}

fn take_away(proof: &Proof, directory: &Path, keep: bool, paint: Paint) -> String {
    let strong = |text: &str| paint.tone(Tone::Strong, text);
    let said = proof.openssl_said.as_deref().unwrap_or("there is no openssl here to try it with");
    let end = if keep {
        format!(
            "It all keeps running until Ctrl-C. The console's link is good for one visit.\nLook around: compliancectl --config {} fleet",
            proof.config.display()
        )
    } else {
        "The processes stop now, and the link with them: `cargo demo --keep` keeps them running."
            .to_owned()
    };
    format!(
        "\n{}\n  {}\n  {}\n\n{}  {}\n{}  {}\n{}  {}\n\n{end}\n",
        strong("Check the newest success yourself, without us:"),
        proof.openssl,
        paint.tone(Tone::Quiet, said),
        strong("Evidence  "),
        proof.evidence.display(),
        strong("Console   "),
        proof.console,
        strong("Everything"),
        directory.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story() -> Story {
        Story::new(Output::new(true), Path::new("/tmp/x"))
    }

    #[test]
    fn a_story_without_a_step_does_not_hold() {
        assert_eq!(story().verdict(), Verdict::Fails);
    }

    #[test]
    fn one_claim_that_fails_fails_the_story_and_is_shown_as_such() {
        let mut story = story();
        let mut step = story.step(4, "orders").unwrap();
        step.row(Row::claim("forged", "rejected: bad_signature", "rejected: bad_signature"));
        step.row(Row::claim("replayed", "rejected: replayed", "success: done"));
        let text = describe(&step, Output::new(true).paint());
        assert!(text.starts_with("✗ 4") && text.contains("FAILS"), "{text}");
        story.told.steps.push(step);
        assert_eq!(story.verdict(), Verdict::Fails);
    }

    #[test]
    fn what_a_check_found_is_an_answer_whatever_it_is() {
        let mut story = story();
        let mut step = story.step(2, "checks").unwrap();
        step.row(Row::finding(
            "logging",
            "x",
            "there is no journal",
            (Tone::Open, "unknown".to_owned()),
        ));
        story.told.steps.push(step);
        assert_eq!(story.verdict(), Verdict::Holds);
    }
}
