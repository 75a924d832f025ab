//! Plays one scenario: does it, and watches the evidence until all that is expected has come and has its receipt.

use std::sync::Arc;
use std::time::Duration;

use compliance_mcp::problem::Problem;
use compliance_mcp::store::{EvidenceRow, StoreError};
use compliance_protocol::evidence::Bundle;
use compliance_protocol::name::{NarHash, NotAName, Site, StorePath};
use compliance_protocol::order::{Action, When};
use compliance_protocol::status::Status;
use serde::Deserialize;
use tokio::sync::Notify;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use super::{Runs, State, Step};
use crate::hand::{self, HandError};
use crate::hostile::{self, HostileError};
use crate::operator::OperatorError;
use crate::scenario::{Deed, Expected, SITE, Scenario};

/// How often is looked for evidence, and for what the site says of itself.
const LOOK: Duration = Duration::from_millis(500);

/// What is read of the evidence at one look.
const PAGE: u32 = 100;

/// The summary of rounds, which is about nothing in particular.
const ROUND: &str = "round";

/// Why a scenario could not be played.
#[derive(Debug, thiserror::Error)]
enum PlayError {
    #[error(transparent)]
    Hand(#[from] HandError),
    #[error(transparent)]
    Operator(#[from] OperatorError),
    #[error(transparent)]
    Hostile(#[from] HostileError),
    #[error(transparent)]
    Name(#[from] NotAName),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{}", .0.detail())]
    Problem(Problem),
    #[error("{SITE} is not enrolled yet: wait until it stands on the board")]
    NotEnrolled,
    #[error("{SITE} has no system {0} to activate")]
    NoSystem(String),
    #[error("a stored bundle cannot be read")]
    Unreadable,
}

/// Plays it to its end, or until it is to `stop`, and notes that.
pub(super) async fn play(
    runs: Runs,
    number: usize,
    scenario: &'static Scenario,
    seconds: Option<u32>,
    stop: Arc<Notify>,
) {
    let longest = scenario.limit_s + u64::from(seconds.unwrap_or(0));
    let limit = Duration::from_secs(longest);
    let state = match Player::new(runs.clone(), number).await {
        Ok(mut player) => {
            let ended = timeout(limit, player.play(scenario, seconds, &stop)).await;
            // Also when it did not go well: an order that is left would be in the way of the next scenario.
            player.tidy_up().await;
            match ended {
                Ok(Ok(state)) => state,
                Ok(Err(error)) => State::Otherwise(error.to_string()),
                Err(_) => {
                    State::Otherwise(format!("what is expected did not come within {longest} s"))
                }
            }
        }
        Err(error) => State::Otherwise(error.to_string()),
    };
    tracing::info!(scenario = scenario.id, ?state, "a scenario has ended");
    runs.change(number, |run| run.state = state);
}

struct Player {
    runs: Runs,
    number: usize,
    site: Site,
    /// The newest leaf that was looked at.
    leaf: Option<u64>,
    /// Evidence that came and was not asked for yet.
    came: Vec<Bundle>,
    /// An order that nobody waits for any more once the scenario is over.
    left: Option<u64>,
    looks: Interval,
}

impl Player {
    async fn new(runs: Runs, number: usize) -> Result<Self, PlayError> {
        let site: Site = SITE.parse()?;
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut player =
            Self { runs, number, site, leaf: None, came: Vec::new(), left: None, looks };
        player.leaf = player.newest_leaf().await?;
        Ok(player)
    }

    async fn play(
        &mut self,
        scenario: &Scenario,
        seconds: Option<u32>,
        stop: &Notify,
    ) -> Result<State, PlayError> {
        // What is done by halves could not be put back, so that is not stopped.
        self.act(scenario.deed, seconds).await?;
        let state = tokio::select! {
            came = self.await_all(scenario.expected) => came.map(|()| State::AsExpected)?,
            () = stop.notified() => State::Stopped,
        };
        self.runs.change(self.number, |run| run.stop = None);
        if state == State::Stopped {
            self.put_back(scenario.deed).await?;
        }
        self.tidy_up().await;
        self.await_receipts().await?;
        Ok(state)
    }

    async fn act(&mut self, deed: Deed, seconds: Option<u32>) -> Result<(), PlayError> {
        let (app, operator) = (self.runs.0.app.clone(), self.runs.0.operator.clone());
        match deed {
            Deed::Hand(name) => self.hand(name, None).await?,
            Deed::HandFor { hand, .. } => self.hand(hand, seconds).await?,
            Deed::Forge => {
                self.left = Some(hostile::forge(&app, &operator, &self.site).await?);
                self.note("A forged order lies in the feed of the site");
            }
            Deed::HoldBack => {
                hostile::hold_back(&app, &operator, &self.site).await?;
                self.note(
                    "An order that was signed twenty minutes ago lies in the feed of the site",
                );
            }
            Deed::Replay => {
                let kept = hostile::withhold(&app, &operator, &self.site).await?;
                self.note("An order is withheld and taken back; its bytes are kept");
                self.order(Action::RunChecks {}, When::Window).await?;
                self.await_end("checked").await?;
                self.left = Some(hostile::replay(&app, &operator, kept).await?);
                self.note("The bytes that were kept lie in the feed of the site");
            }
            Deed::Restart(unit, when) => {
                let restart = Action::RestartService { unit: unit.parse()? };
                self.left = Some(self.order(restart, when).await?);
            }
            Deed::Update => {
                let systems = self.systems().await?;
                let to = if systems.runs("next") { "first" } else { "next" };
                self.update(&systems, to).await?;
            }
            Deed::UpdateTo(name) => {
                let systems = self.systems().await?;
                self.left = Some(self.update(&systems, name).await?);
            }
        }
        Ok(())
    }

    /// Ends before its time what lasts, so that the next scenario finds the site in touch.
    async fn put_back(&mut self, deed: Deed) -> Result<(), PlayError> {
        let Deed::HandFor { undo, .. } = deed else { return Ok(()) };
        self.note("The viewer stops it");
        self.hand(undo, None).await?;
        let now = self.runs.0.app.now();
        self.await_site(|status| status.last_head_at.is_some_and(|heard| heard > now)).await?;
        self.note("The site hears of the control plane again");
        Ok(())
    }

    async fn hand(&self, name: &'static str, seconds: Option<u32>) -> Result<(), PlayError> {
        self.done(&format!("At {SITE}: {name}"), Some(hand::script_of(name)));
        hand::ask(&self.runs.0.sites, SITE, name, seconds).await?;
        Ok(())
    }

    /// Signs and pushes an order; gives its sequence.
    async fn order(&self, action: Action, when: When) -> Result<u64, PlayError> {
        let order = self.runs.0.operator.order(&self.site, action, when).await?;
        self.note(&format!(
            "Order {} is signed and pushed: {}",
            order.sequence,
            order.action.name()
        ));
        Ok(order.sequence)
    }

    /// Sends a system's baseline, and then the order to activate it, which does not wait for the window.
    async fn update(&mut self, systems: &Systems, name: &str) -> Result<u64, PlayError> {
        let (store_path, nar_hash) = systems.get(name)?;
        let operator = self.runs.0.operator.clone();
        let (envelope, baseline_sha256) =
            operator.baseline_for(&self.site, store_path.clone()).await?;
        self.order(Action::UpdateBaseline { envelope }, When::Window).await?;
        self.await_end("baseline_kept").await?;
        let activate =
            Action::ActivateSystem { store_path, nar_hash, baseline_sha256, flake: None };
        self.order(activate, When::Now).await
    }

    async fn systems(&self) -> Result<Systems, PlayError> {
        Ok(Systems(hand::ask(&self.runs.0.sites, SITE, "systems", None).await?))
    }

    /// Waits for an order's success, on the way to something else.
    async fn await_end(&mut self, reason: &'static str) -> Result<(), PlayError> {
        loop {
            self.look().await?;
            if let Some(place) = self.came.iter().position(|bundle| bundle.reason == reason) {
                self.came.drain(..=place);
                return Ok(());
            }
        }
    }

    async fn await_all(&mut self, expected: &[Expected]) -> Result<(), PlayError> {
        for one in expected {
            self.await_evidence(one).await?;
        }
        Ok(())
    }

    async fn await_evidence(&mut self, expected: &Expected) -> Result<(), PlayError> {
        let is_it = |bundle: &Bundle| {
            let ends = expected.ends.iter();
            expected.check.is_none_or(|check| bundle.check.as_deref() == Some(check))
                && ends
                    .into_iter()
                    .any(|(outcome, reason)| bundle.outcome == *outcome && bundle.reason == *reason)
        };
        loop {
            if let Some(place) = self.came.iter().position(is_it) {
                self.came.drain(..=place);
                return Ok(());
            }
            self.look().await?;
        }
    }

    /// Until nothing at the site waits for its receipt.
    async fn await_receipts(&mut self) -> Result<(), PlayError> {
        self.await_site(|status| status.pending_bundles == 0).await?;
        self.note("Every bundle has its receipt, and the site has verified it");
        Ok(())
    }

    /// Until the site says so of itself.
    async fn await_site(&mut self, is_so: impl Fn(&Status) -> bool) -> Result<(), PlayError> {
        loop {
            self.look().await?;
            let site = self.runs.get(self.number).and_then(|run| run.site);
            if site.is_some_and(|status| is_so(&status)) {
                return Ok(());
            }
        }
    }

    /// Takes back what would wait until its time is over.
    async fn tidy_up(&mut self) {
        let Some(sequence) = self.left.take() else { return };
        match self.runs.0.operator.withdraw(&self.site, sequence).await {
            Ok(()) => self.note(&format!("Order {sequence} is taken back")),
            // It has ended by itself.
            Err(error) => tracing::debug!(%error, sequence, "not taken back"),
        }
    }

    /// One look at the evidence that came, and at what the site says of itself.
    async fn look(&mut self) -> Result<(), PlayError> {
        self.looks.tick().await;
        for (row, bundle) in self.new_evidence().await? {
            self.leaf = Some(row.leaf);
            self.came.push(bundle.clone());
            if bundle.reason != ROUND {
                let (row, bundle) = (Box::new(row), Box::new(bundle));
                self.runs.change(self.number, |run| run.steps.push(Step::Evidence { row, bundle }));
            }
        }
        // While its network is cut it answers all the same; while it switches perhaps not.
        if let Ok(said) = hand::ask(&self.runs.0.sites, SITE, "status", None).await
            && let Some(status) = status_of(&said)
        {
            self.runs.change(self.number, |run| run.site = Some(Box::new(status)));
        }
        Ok(())
    }

    async fn newest_leaf(&self) -> Result<Option<u64>, PlayError> {
        let name = self.site.clone();
        let read = self.runs.0.app.blocking(move |app| {
            app.store.read(|view| {
                let is_known = view.site(&name)?.is_some();
                Ok(is_known.then_some(view.log_head()?.size))
            })
        });
        let size = read.await.map_err(PlayError::Problem)?.ok_or(PlayError::NotEnrolled)?;
        Ok(size.checked_sub(1))
    }

    async fn new_evidence(&self) -> Result<Vec<(EvidenceRow, Bundle)>, PlayError> {
        let (name, after) = (self.site.clone(), self.leaf);
        let read = self.runs.0.app.blocking(move |app| {
            app.store.read(|view| {
                let Some(site) = view.site(&name)? else { return Ok(Vec::new()) };
                let rows = view.evidence(Some(&site), after, PAGE)?.into_iter();
                let with_files = rows
                    .map(|row| Ok((view.evidence_files(&site, row.ledger_id, row.sequence)?, row)));
                with_files.collect::<Result<Vec<_>, StoreError>>().map_err(Problem::from)
            })
        });
        let rows = read.await.map_err(PlayError::Problem)?.into_iter();
        let parsed = rows.map(|(files, row)| {
            let (_, files) = files.ok_or(PlayError::Unreadable)?;
            let bundle = serde_json::from_slice(&files.json).map_err(|_| PlayError::Unreadable)?;
            Ok((row, bundle))
        });
        parsed.collect()
    }

    fn note(&self, what: &str) {
        self.done(what, None);
    }

    fn done(&self, what: &str, script: Option<&'static str>) {
        let (at, what) = (self.runs.0.app.now(), what.to_owned());
        self.runs.change(self.number, |run| run.steps.push(Step::Done { at, what, script }));
    }
}

/// What the hand `systems` prints.
struct Systems(String);

impl Systems {
    /// The words of the line that begins with `name`.
    fn line(&self, name: &str) -> Vec<&str> {
        let mut lines = self.0.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        lines.find(|words| words.first() == Some(&name)).unwrap_or_default()
    }

    fn runs(&self, name: &str) -> bool {
        let running = self.line("running");
        running.get(1).is_some_and(|path| self.line(name).get(1) == Some(path))
    }

    fn get(&self, name: &str) -> Result<(StorePath, NarHash), PlayError> {
        match self.line(name)[..] {
            [_, path, hash] => Ok((path.parse()?, hash.parse()?)),
            _ => Err(PlayError::NoSystem(name.to_owned())),
        }
    }
}

/// What the executor said of itself, of what `compliance-agent status --json` prints.
fn status_of(said: &str) -> Option<Status> {
    #[derive(Deserialize)]
    struct Report {
        executor: Option<Seen>,
    }
    #[derive(Deserialize)]
    struct Seen {
        status: Status,
    }
    Some(serde_json::from_str::<Report>(said).ok()?.executor?.status)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-nixos-system-a";
    const B: &str = "/nix/store/1123456789abcdfghijklmnpqrsvwxyz-nixos-system-b";
    const HASH: &str = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    #[test]
    fn the_hand_tells_which_system_runs_and_which_could() {
        let systems = Systems(format!("running {A}\nfirst {A} {HASH}\nnext {B} {HASH}\n"));
        assert!(systems.runs("first") && !systems.runs("next") && !systems.runs("sick"));
        assert_eq!(systems.get("next").unwrap().0.to_string(), B);
        assert!(matches!(systems.get("sick"), Err(PlayError::NoSystem(_))));
    }

    #[test]
    fn a_status_that_says_nothing_is_none() {
        assert!(status_of("{\"executor\":null}").is_none() && status_of("").is_none());
    }
}
