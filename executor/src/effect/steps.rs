//! Steps: each runs one program, and is judged and recorded; after one that failed none follows.

use compliance_checks::Host;
use compliance_checks::command::{Command, Output};
use compliance_checks::host::HostError;
use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::{ActionRecord, StepResult};
use compliance_protocol::time::Span;

use super::Performed;

/// At most this much of what a step prints is taken, to be digested.
pub(super) const OUTPUT_CAP: usize = 16 * 1024 * 1024;

/// An effect under way.
pub(super) struct Run<'a> {
    host: &'a dyn Host,
    uptime: &'a dyn Fn() -> Span,
    actions: Vec<ActionRecord>,
}

impl<'a> Run<'a> {
    pub(super) fn new(host: &'a dyn Host, uptime: &'a dyn Fn() -> Span) -> Self {
        Self { host, uptime, actions: Vec::new() }
    }

    /// The host, for finding tools.
    pub(super) fn host(&self) -> &'a dyn Host {
        self.host
    }

    /// The time by `CLOCK_BOOTTIME`.
    pub(super) fn now(&self) -> Span {
        (self.uptime)()
    }

    /// Takes the step that `command` is, about `target`: what it printed on stdout, or why it failed.
    pub(super) fn step(
        &mut self,
        name: &str,
        target: &str,
        command: Result<Command, String>,
    ) -> Result<Vec<u8>, String> {
        self.try_step(name, target, command)
            .map(|output| output.stdout)
            .map_err(|failed| failed.why)
    }

    /// As [`Run::step`], with all that it printed, or the exit code of what failed.
    pub(super) fn try_step(
        &mut self,
        name: &str,
        target: &str,
        command: Result<Command, String>,
    ) -> Result<Output, Failed> {
        let started = (self.uptime)();
        let ended = command.map(|command| self.host.run(&command));
        let lasted = (self.uptime)().as_millis() - started.as_millis();
        let (result, output, taken) = judge(name, target, ended);
        self.actions.push(ActionRecord {
            name: name.to_owned(),
            target: target.to_owned(),
            duration_ms: u64::try_from(lasted).unwrap_or(0),
            result,
            output_sha256: Digest::of(&output),
            output_bytes: output.len() as u64,
        });
        taken
    }

    /// What was done, and why it ended if it failed.
    pub(super) fn into_performed(self, ended: Result<(), String>) -> Performed {
        Performed { actions: self.actions, failure: ended.err(), event: None }
    }
}

/// How a step failed.
#[derive(Debug)]
pub(super) struct Failed {
    /// Why, in one sentence.
    pub(super) why: String,
    /// The program's exit code, if it ended by itself.
    pub(super) code: Option<i32>,
}

type Ended = Result<Result<Output, HostError>, String>;

fn judge(name: &str, target: &str, ended: Ended) -> (StepResult, Vec<u8>, Result<Output, Failed>) {
    let unended = |result, why: String| (result, Vec::new(), Err(Failed { why, code: None }));
    match ended {
        Ok(Ok(output)) => {
            let text = [output.stdout.as_slice(), &output.stderr].concat();
            match output.code {
                Some(0) => (StepResult::Done, text, Ok(output)),
                Some(code) => {
                    let why = format!("{name} of {target} ended with code {code}");
                    (StepResult::Failed, text, Err(Failed { why, code: Some(code) }))
                }
                None => {
                    let why = format!("{name} of {target} was ended by a signal");
                    (StepResult::Failed, text, Err(Failed { why, code: None }))
                }
            }
        }
        Ok(Err(error @ HostError::TimedOut { .. })) => {
            unended(StepResult::TimedOut, error.about(target).to_string())
        }
        Ok(Err(error)) => unended(StepResult::Failed, error.about(target).to_string()),
        Err(why) => unended(StepResult::Failed, why),
    }
}
