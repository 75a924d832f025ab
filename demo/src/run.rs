//! Scenarios that play or have played: what was done, and what the site made of it. They live in memory only.

mod play;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use compliance_mcp::app::App;
use compliance_mcp::problem::Problem;
use compliance_mcp::store::EvidenceRow;
use compliance_protocol::evidence::Bundle;
use compliance_protocol::status::Status;
use compliance_protocol::time::Timestamp;

use crate::operator::Operator;
use crate::scenario::Scenario;

/// As many runs are kept.
const MOST: usize = 100;

/// All runs, and what they need.
#[derive(Debug, Clone)]
pub(crate) struct Runs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    app: Arc<App>,
    operator: Arc<Operator>,
    sites: PathBuf,
    runs: Mutex<Vec<Run>>,
}

/// A scenario that plays or has played.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// Counts them, from 1.
    pub(crate) number: usize,
    /// Which one.
    pub(crate) scenario: &'static Scenario,
    /// How it stands.
    pub(crate) state: State,
    /// What happened, in order.
    pub(crate) steps: Vec<Step>,
    /// What the site last said of itself.
    pub(crate) site: Option<Box<Status>>,
}

/// How a run stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// It plays.
    Playing,
    /// All that was expected came.
    AsExpected,
    /// Something else came, or nothing; why, in one sentence.
    Otherwise(String),
}

/// Something that happened.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Something was done, here or at the site.
    Done {
        /// When.
        at: Timestamp,
        /// What.
        what: String,
        /// The script that did it, if one did.
        script: Option<&'static str>,
    },
    /// Evidence came.
    Evidence {
        /// How the store lists it.
        row: Box<EvidenceRow>,
        /// What was signed.
        bundle: Box<Bundle>,
    },
}

impl Runs {
    /// None yet.
    pub(crate) fn new(app: Arc<App>, operator: Arc<Operator>, sites: PathBuf) -> Self {
        Self(Arc::new(Inner { app, operator, sites, runs: Mutex::default() }))
    }

    /// Starts a scenario and gives its number; one at a time, so that what comes is its own.
    pub(crate) fn start(
        &self,
        scenario: &'static Scenario,
        seconds: u32,
    ) -> Result<usize, Problem> {
        let mut runs = self.runs();
        if let Some(playing) = runs.iter().find(|run| run.state == State::Playing) {
            let detail = format!(
                "“{}” is playing; start another one when it has ended.",
                playing.scenario.title
            );
            return Err(Problem::conflict("playing", detail));
        }
        let number = runs.last().map_or(1, |last| last.number + 1);
        let kept = runs.len().saturating_sub(MOST - 1);
        runs.drain(..kept);
        let (state, steps) = (State::Playing, Vec::new());
        runs.push(Run { number, scenario, state, steps, site: None });
        drop(runs);
        tokio::spawn(play::play(self.clone(), number, scenario, seconds));
        Ok(number)
    }

    /// The run of that number.
    pub(crate) fn get(&self, number: usize) -> Option<Run> {
        self.runs().iter().find(|run| run.number == number).cloned()
    }

    /// The newest run of a scenario.
    pub(crate) fn newest_of(&self, scenario: &Scenario) -> Option<Run> {
        self.runs().iter().rev().find(|run| run.scenario.id == scenario.id).cloned()
    }

    fn change(&self, number: usize, change: impl FnOnce(&mut Run)) {
        if let Some(run) = self.runs().iter_mut().find(|run| run.number == number) {
            change(run);
        }
    }

    fn runs(&self) -> MutexGuard<'_, Vec<Run>> {
        self.0.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
