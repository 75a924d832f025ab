//! The driver: performs what the cycle decides. One thread, one piece of work at a time.

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use compliance_daemon::{files, systemd};
use compliance_protocol::name::{BootId, NotAName};
use compliance_transport::{Client, Identity, IdentityError, Limits};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior};

use crate::clock::TicketClock;
use crate::config::{Config, McpUrl, Tls};
use crate::control_plane::ControlPlane;
use crate::cycle::{Action, Event, Now, State, Work, step};
use crate::executor::Executor;
use crate::metrics;
use crate::report::{Moment, Report};

/// Why the agent cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The identity cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The kernel does not say which boot this is.
    #[error("cannot read this boot's id from {BOOT_ID}: {0}; check that /proc is mounted")]
    Boot(io::Error),
    /// What it says is no boot id.
    #[error("{BOOT_ID}: {0}")]
    NoBoot(#[from] NotAName),
    /// Signals cannot be waited for.
    #[error("cannot wait for SIGTERM: {0}")]
    Signals(io::Error),
}

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Polls until SIGTERM or SIGINT. What is in flight then is finished first.
pub async fn run(config: &Config) -> Result<(), RunError> {
    let clock = Arc::new(TicketClock::unset());
    let mut sides = Sides {
        executor: Executor::new(&config.socket, config.executor_uid),
        control_plane: ControlPlane::new(client(&config.tls, &clock)?, config.mcp_url.clone()),
    };
    let mut desk = Desk {
        clock,
        state_file: Output::new(&config.state_file),
        metrics_file: config.metrics_file.as_ref().map(|file| Output::new(file.path())),
        mcp_url: config.mcp_url.clone(),
        boot_id: boot_id()?,
        started: moment(),
    };
    let mut stop = Stop::listen().map_err(RunError::Signals)?;
    let mut watchdog = Watchdog::start();
    let (mut state, mut event) =
        (State::new(config.poll_interval_ms.span(), config.poll_jitter_percent), Event::Woke);
    loop {
        let (next, actions) = step(state, event, now());
        state = next;
        let ControlFlow::Continue(work) = desk.carry_out(actions, &state) else { return Ok(()) };
        let mut work = pin!(sides.perform(work));
        event = loop {
            tokio::select! {
                event = &mut work => break event,
                () = watchdog.tick() => systemd::alive(),
                () = stop.asked() => {
                    systemd::stopping();
                    tracing::info!("asked to stop");
                    let (next, actions) = step(state, Event::Stop, now());
                    state = next;
                    if desk.carry_out(actions, &state).is_break() {
                        return Ok(());
                    }
                }
            }
        };
    }
}

/// The client that `run` uses. Fails where the files named in `tls` cannot be used.
pub fn client(tls: &Tls, clock: &Arc<TicketClock>) -> Result<Client, IdentityError> {
    let identity = Identity::read(&tls.ca, &tls.certificate, &tls.key)?;
    let clock = Arc::clone(clock);
    Client::new(identity, move || clock.at(compliance_clock::boottime()), Limits::default())
}

/// This moment by the machine's clocks.
pub fn moment() -> Moment {
    Moment { at: compliance_clock::wall(), boottime: compliance_clock::boottime() }
}

/// Which boot this is.
pub fn boot_id() -> Result<BootId, RunError> {
    let text = files::read_text(Path::new(BOOT_ID), 64).map_err(RunError::Boot)?;
    Ok(text.trim().parse()?)
}

/// Both sides that work is done with.
#[derive(Debug)]
struct Sides {
    executor: Executor,
    control_plane: ControlPlane,
}

impl Sides {
    /// Does the work; without any, nothing ever happens here.
    async fn perform(&mut self, work: Option<Work>) -> Event {
        match work {
            None => std::future::pending().await,
            Some(Work::Ask(request)) => match self.executor.ask(&request).await {
                Ok(answer) => Event::Answered(answer),
                Err(error) => Event::Unanswered(error.to_string()),
            },
            Some(Work::Send(call)) => match self.control_plane.send(call).await {
                Ok(reply) => Event::Responded(reply),
                Err(failure) => Event::Unreached(failure),
            },
            Some(Work::Wait(span)) => {
                self.executor.hang_up();
                let ms = u64::try_from(span.as_millis()).unwrap_or(0);
                tokio::time::sleep(Duration::from_millis(ms)).await;
                Event::Woke
            }
        }
    }
}

/// What is done at once.
#[derive(Debug)]
struct Desk {
    clock: Arc<TicketClock>,
    state_file: Output,
    metrics_file: Option<Output>,
    mcp_url: McpUrl,
    boot_id: BootId,
    started: Moment,
}

impl Desk {
    /// Does what can be done at once. Goes on with the work to begin, or breaks off at [`Action::Exit`].
    fn carry_out(&mut self, actions: Vec<Action>, state: &State) -> ControlFlow<(), Option<Work>> {
        let mut begin = None;
        for action in actions {
            match action {
                Action::Begin(work) => begin = Some(work),
                Action::Exit => return ControlFlow::Break(()),
                Action::Note(None) => tracing::info!("the control plane is polled"),
                Action::Note(Some(failure)) => {
                    tracing::warn!(cause = ?failure.cause, "{}", failure.detail);
                }
                Action::Ready => systemd::ready(),
                Action::Save => self.save(state),
                Action::SetClock(time) => self.clock.set(time, compliance_clock::boottime()),
            }
        }
        ControlFlow::Continue(begin)
    }

    fn save(&mut self, state: &State) {
        let report = Report {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            mcp_url: self.mcp_url.clone(),
            boot_id: self.boot_id.clone(),
            started: self.started,
            written: moment(),
            polls: state.polls().clone(),
            executor: state.executor().cloned(),
            executor_answers: state.executor_answers(),
        };
        systemd::status(&report.line());
        if let Some(file) = &mut self.metrics_file {
            let consequence = "Prometheus will not know how this appliance is";
            file.replace(|path| metrics::write(&report, path), consequence);
        }
        let consequence = "`status` and `health` will not know of this agent";
        self.state_file.replace(|path| report.write(path), consequence);
    }
}

/// A file that is replaced at each report.
#[derive(Debug)]
struct Output {
    path: PathBuf,
    /// Whether it could not be written last time: said once, not at each poll.
    unwritable: bool,
}

impl Output {
    fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), unwritable: false }
    }

    /// Replaces it; `consequence` is what follows when that cannot be done.
    fn replace(&mut self, write: impl FnOnce(&Path) -> io::Result<()>, consequence: &str) {
        let written = write(&self.path);
        if let Err(error) = &written
            && !self.unwritable
        {
            tracing::warn!("cannot write {}: {error}; {consequence}", self.path.display());
        }
        self.unwritable = written.is_err();
    }
}

/// SIGTERM and SIGINT.
#[derive(Debug)]
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// When systemd's watchdog is to hear of us; never, where it does not listen.
#[derive(Debug)]
struct Watchdog(Option<Interval>);

impl Watchdog {
    fn start() -> Self {
        Self(systemd::watchdog().map(|period| {
            let mut interval = tokio::time::interval(period);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        }))
    }

    async fn tick(&mut self) {
        match &mut self.0 {
            Some(interval) => {
                interval.tick().await;
            }
            None => std::future::pending().await,
        }
    }
}

/// Now, with random bits. Without any, waits lose their jitter, which is no reason not to poll.
fn now() -> Now {
    Now { moment: moment(), random: getrandom::u64().unwrap_or(u64::MAX / 2) }
}
