//! What the acts play on: a directory, the binaries, and the processes as far as they run.

use std::path::{Path, PathBuf};

use compliance_protocol::name::{Site, Tenant, UnitName};
use compliance_protocol::time::{Span, Timestamp};
use compliance_protocol::trust::Trust;
use compliance_protocol::window::{Window, Windows};

use super::courier::Courier;
use super::failure::Failure;
use super::job::Job;
use super::operator::Operator;
use super::settings::{Directory, Listening, set_listeners};
use super::spawn::{Binaries, Cast, Process};
use super::wait;
use crate::files;

/// The stage.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) dir: Directory,
    pub(super) binaries: Binaries,
    pub(super) cast: Cast,
    pub(super) names: Names,
    /// When the maintenance window opens each day, `HH:MM` in UTC.
    pub(super) window_opens: String,
    pub(super) windows: Windows,
}

/// Who and what there is.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) tenant: Tenant,
    pub(super) site: Site,
    pub(super) other_site: Site,
    pub(super) disruptive_unit: UnitName,
}

/// Whom and what the acts deal with once the stage is set.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) operator: Operator,
    pub(super) courier: Courier,
    pub(super) trust: Trust,
    pub(super) job: Job,
    pub(super) listening: Listening,
}

impl Stage {
    /// Finds the binaries and makes the directory; nothing runs yet.
    pub(super) fn new(dir: Option<&Path>, now: Timestamp) -> Result<Self, Failure> {
        let binaries = Binaries::find()?;
        let root = match dir {
            Some(dir) => std::path::absolute(dir)
                .map_err(|source| Failure::File { path: dir.to_owned(), source })?,
            None => fresh_directory()?,
        };
        files::empty_directory(&root)?;
        let dir = Directory::new(root)?;
        let window_opens = hours_away(now);
        let window = Window::new(&[], &window_opens, 60, "UTC");
        let windows = window.and_then(|window| Windows::new(vec![window]));
        let windows = windows.map_err(|error| Failure::Unexpected(error.to_string()))?;
        Ok(Self {
            dir,
            binaries,
            cast: Cast::default(),
            names: Names::new()?,
            window_opens,
            windows,
        })
    }

    /// Starts the control plane on the listeners given, and waits until it is ready.
    pub(super) async fn start_mcp(&mut self, at: Listening) -> Result<Listening, Failure> {
        let path = self.dir.mcp_config();
        let config = set_listeners(&files::text(&path)?, at)
            .map_err(|why| Failure::Unexpected(format!("{}: {why}", path.display())))?;
        compliance_daemon::files::replace(&path, config.as_bytes(), files::PUBLIC)
            .map_err(|source| Failure::File { path: path.clone(), source })?;
        let config = path.display().to_string();
        let (program, log) = (&self.binaries.mcp, self.dir.log("mcp"));
        self.cast.mcp =
            Some(Process::start("compliance-mcp", program, &["serve", "--config", &config], &log)?);
        wait::until("the control plane's start", &self.cast, async || {
            let text = std::fs::read(self.dir.listening()).ok();
            Ok(text.and_then(|text| serde_json::from_slice(&text).ok()))
        })
        .await
    }

    /// Starts the executor, and waits until it answers.
    pub(super) async fn start_executor(&mut self, courier: &Courier) -> Result<(), Failure> {
        let config = self.dir.executor_config().display().to_string();
        let (program, log) = (&self.binaries.executor, self.dir.log("executor"));
        let arguments = ["serve", "--config", &config];
        self.cast.executor =
            Some(Process::start("compliance-executor", program, &arguments, &log)?);
        wait::until("the executor's start", &self.cast, async || Ok(courier.status().await.ok()))
            .await?;
        Ok(())
    }

    /// Starts the agent, and waits until a feed head of this start was verified.
    pub(super) async fn start_agent(&mut self, courier: &Courier) -> Result<(), Failure> {
        let before = courier.status().await?.last_head_at;
        let config = self.dir.agent_config().display().to_string();
        let (program, log) = (&self.binaries.agent, self.dir.log("agent"));
        self.cast.agent =
            Some(Process::start("compliance-agent", program, &["run", "--config", &config], &log)?);
        wait::until("the agent's first poll", &self.cast, async || {
            let head = courier.status().await?.last_head_at;
            Ok((head > before).then_some(()))
        })
        .await
    }

    /// Waits until every bundle of the appliance has a verified receipt.
    pub(super) async fn all_receipted(&self, courier: &Courier) -> Result<(), Failure> {
        wait::until("a receipt for every bundle", &self.cast, async || {
            Ok((courier.status().await?.pending_bundles == 0).then_some(()))
        })
        .await
    }

    /// Stops what runs.
    pub(super) async fn stop(&mut self) {
        self.cast.stop().await;
    }
}

impl Names {
    fn new() -> Result<Self, Failure> {
        let wrong = |error: &dyn std::fmt::Display| Failure::Unexpected(error.to_string());
        Ok(Self {
            tenant: "acme".parse().map_err(|error| wrong(&error))?,
            site: "clinic-042".parse().map_err(|error| wrong(&error))?,
            other_site: "clinic-007".parse().map_err(|error| wrong(&error))?,
            disruptive_unit: "clinic-frontdesk.service".parse().map_err(|error| wrong(&error))?,
        })
    }
}

/// A full hour between five and six hours after `now`.
fn hours_away(now: Timestamp) -> String {
    let text = now.plus(Span::from_hours(6)).to_string();
    let hour: String = text.chars().skip(11).take(2).collect();
    format!("{hour}:00")
}

/// A new directory among the temporary files, closed to others. It stays: it is what the demonstration
/// leaves behind.
fn fresh_directory() -> Result<PathBuf, Failure> {
    let new = tempfile::Builder::new().prefix("compliance-demo-").tempdir();
    let failed = |source| Failure::File { path: std::env::temp_dir(), source };
    Ok(new.map_err(failed)?.keep())
}

#[cfg(test)]
mod tests {
    use compliance_protocol::window::WindowState;

    use super::*;

    #[test]
    fn the_window_is_hours_away_at_any_time_of_day() {
        let midnight: Timestamp = "2026-11-20T00:00:00.000Z".parse().unwrap();
        for minutes in (0..1440).step_by(7) {
            let now = midnight.plus(Span::from_secs(minutes * 60));
            let window = Window::new(&[], &hours_away(now), 60, "UTC").unwrap();
            let state = Windows::new(vec![window]).unwrap().state(now);
            let WindowState::Closed { next: Some(next) } = state else {
                panic!("{now}: {state:?}")
            };
            assert!(
                next.since(now) > Span::from_hours(5) && next.since(now) <= Span::from_hours(6)
            );
        }
    }
}
