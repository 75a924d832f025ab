//! The resident executor: threads around the engine. One thread owns the engine and the ledger; one
//! observes, one acts, one prepares activations, one listens, one waits for signals. They meet in one channel.

mod hands;

use std::collections::BTreeSet;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use compliance_checks::{Host, patching};
use compliance_daemon::systemd;
use compliance_protocol::evidence::System;
use compliance_protocol::local::{Answer, Request};
use compliance_protocol::time::Span;
use nix::sys::signal::{SigSet, Signal};

use crate::effect::Tools;
use crate::engine::{Engine, Job, RoundJob};
use crate::hints::{Hint, Hints};
use crate::ledger::LedgerError;
use crate::load;
use crate::observe::{Observed, Observer};
use crate::reserve::Reserve;
use crate::socket;
use hands::{Done, Hands};

enum Event {
    Asked(Request, mpsc::Sender<Answer>),
    RoundDone(Box<RoundJob>, Vec<Observed>, System),
    Done(Done),
    Hint(Hint),
    Stop,
}

/// What the resident executor is made of.
pub struct Parts {
    /// The mind.
    pub engine: Engine,
    /// Where the agent asks.
    pub listener: UnixListener,
    /// The user that the agent runs as.
    pub agent_uid: u32,
    /// The machine.
    pub host: Arc<dyn Host>,
    /// What effects need.
    pub tools: Tools,
    /// Reads the baseline that the system closure brings.
    pub closure_baseline: Box<dyn Fn() -> Result<Vec<u8>, String>>,
    /// The room that is kept for the ledger.
    pub reserve: Reserve,
    /// Files of the configuration that are worth a look when they change.
    pub watched: BTreeSet<PathBuf>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("engine", &self.engine).finish_non_exhaustive()
    }
}

/// Runs until SIGTERM or SIGINT. What is under way then is concluded at the next start, from its intent.
pub fn serve(parts: Parts) -> Result<(), LedgerError> {
    let Parts { mut engine, listener, agent_uid, host, tools, closure_baseline, reserve, watched } =
        parts;
    let mut random = load::random();
    let (events, inbox) = mpsc::channel();
    watch_signals(events.clone());
    listen(listener, agent_uid, events.clone());
    let rounds = observer(Arc::clone(&host), events.clone());
    let done = events.clone();
    let hands = Hands::start(&host, &tools, move |it| done.send(Event::Done(it)).is_ok());
    let mut hints = watch_files(engine.watched(&watched), &events);
    systemd::ready();
    tracing::info!("the executor is ready");
    loop {
        match reserve.look(&mut random) {
            Ok(space) => engine.space_seen(space, compliance_clock::read()),
            Err(error) => tracing::warn!(%error, "how much room the disk has is not known"),
        }
        let next = engine.tick(compliance_clock::read())?;
        for job in engine.take_jobs() {
            match job {
                // A thread that is gone has panicked, and then this process has ended.
                Job::Round(round) => drop(rounds.send(round)),
                Job::Effect(permit) => hands.perform(permit),
                Job::LookAround => hands.look_around(),
            }
        }
        systemd::alive();
        match inbox.recv_timeout(until(next)) {
            Ok(Event::Asked(request, reply)) => {
                let answer = engine.handle(request, compliance_clock::read())?;
                let _ = reply.send(answer);
            }
            Ok(Event::RoundDone(round, observed, system)) => {
                engine.system_seen(system, &closure_baseline)?;
                engine.round_done(&round, &observed, compliance_clock::read())?;
            }
            Ok(Event::Done(Done::Effect(performed))) => {
                engine.effect_done(performed, compliance_clock::read())?;
            }
            Ok(Event::Done(Done::LookAround(gates))) => {
                engine.looked_around(gates, compliance_clock::read())?;
            }
            Ok(Event::Hint(hint)) => {
                drop(hint);
                engine.hint(closure_baseline(), compliance_clock::read())?;
            }
            Ok(Event::Stop) => break,
            Err(_) => {}
        }
        let worth_watching = engine.watched(&watched);
        if !hints.are(&worth_watching) {
            hints = watch_files(worth_watching, &events);
        }
    }
    systemd::stopping();
    tracing::info!("the executor stops");
    Ok(())
}

fn watch_files(paths: BTreeSet<PathBuf>, events: &mpsc::Sender<Event>) -> Hints {
    let events = events.clone();
    Hints::new(paths, move |hint| {
        let _ = events.send(Event::Hint(hint));
    })
}

/// How long to wait for an event; never longer than half of what systemd's watchdog allows.
fn until(next: Span) -> Duration {
    let left = next.as_millis().saturating_sub(compliance_clock::boottime().as_millis());
    let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
    systemd::watchdog().map_or(left, |limit| left.min(limit))
}

fn watch_signals(events: mpsc::Sender<Event>) {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    // Before any other thread exists, so that all inherit the mask and only the waiter is woken.
    let _ = signals.thread_block();
    thread::spawn(move || {
        let _ = signals.wait();
        let _ = events.send(Event::Stop);
    });
}

fn listen(listener: UnixListener, agent_uid: u32, events: mpsc::Sender<Event>) {
    let (ask, asked) = mpsc::channel();
    thread::spawn(move || socket::accept(&listener, agent_uid, &ask));
    thread::spawn(move || {
        for (request, reply) in asked {
            if events.send(Event::Asked(request, reply)).is_err() {
                break;
            }
        }
    });
}

fn observer(host: Arc<dyn Host>, events: mpsc::Sender<Event>) -> mpsc::Sender<RoundJob> {
    let (rounds, jobs) = mpsc::channel::<RoundJob>();
    thread::spawn(move || {
        let mut eye = Observer::default();
        for job in jobs {
            let baseline = job.baseline.as_ref().map_err(String::as_str);
            let observed = eye.observe(&host, baseline, &job.about);
            let system = patching::system(&*host);
            if events.send(Event::RoundDone(Box::new(job), observed, system)).is_err() {
                break;
            }
        }
    });
    rounds
}
