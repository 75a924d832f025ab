//! Scenarios that play or have played: what was done, and what the site made of it. They live in memory only.

mod play;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use compliance_mcp::app::App;
use compliance_mcp::store::EvidenceRow;
use compliance_protocol::evidence::Bundle;
use compliance_protocol::status::Status;
use compliance_protocol::time::Timestamp;
use tokio::sync::Notify;

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
    /// For how many seconds something is broken, if that was to be chosen.
    pub(crate) seconds: Option<u32>,
    /// How it stands.
    pub(crate) state: State,
    /// What happened, in order.
    pub(crate) steps: Vec<Step>,
    /// What the site last said of itself.
    pub(crate) site: Option<Box<Status>>,
    /// Has it end before its time, if that is possible and was not asked yet.
    pub(crate) stop: Option<Arc<Notify>>,
}

/// The run that plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Playing {
    /// Its number.
    pub(crate) number: usize,
    /// Its scenario's title.
    pub(crate) title: &'static str,
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
    /// The viewer did not wait for its end.
    Stopped,
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

    /// Starts a scenario and gives its number; one at a time, so that what comes is its own. What lasts takes
    /// `seconds`, and can be stopped.
    pub(crate) fn start(
        &self,
        scenario: &'static Scenario,
        seconds: Option<u32>,
    ) -> Result<usize, Playing> {
        let mut runs = self.runs();
        if let Some(playing) = playing(&runs) {
            return Err(playing);
        }
        let number = runs.last().map_or(1, |last| last.number + 1);
        let kept = runs.len().saturating_sub(MOST - 1);
        runs.drain(..kept);
        let stop = Arc::new(Notify::new());
        runs.push(Run {
            number,
            scenario,
            seconds,
            state: State::Playing,
            steps: Vec::new(),
            site: None,
            stop: seconds.map(|_| Arc::clone(&stop)),
        });
        drop(runs);
        tokio::spawn(play::play(self.clone(), number, scenario, seconds, stop));
        Ok(number)
    }

    /// Has the run of that number end before its time, if it can; gives false if there is none.
    pub(crate) fn stop(&self, number: usize) -> bool {
        let mut runs = self.runs();
        let Some(run) = runs.iter_mut().find(|run| run.number == number) else { return false };
        if let Some(stop) = run.stop.take() {
            stop.notify_one();
        }
        true
    }

    /// The run that plays.
    pub(crate) fn playing(&self) -> Option<Playing> {
        playing(&self.runs())
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

fn playing(runs: &[Run]) -> Option<Playing> {
    let run = runs.iter().find(|run| run.state == State::Playing)?;
    Some(Playing { number: run.number, title: run.scenario.title })
}
