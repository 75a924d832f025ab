//! A round: all checks at the same time, each in a thread of its own, so that none is held up by another
//! and the whole has a limit, also when a file system or a tool hangs for good. Where a panic ends the
//! process (release builds: docs/adr/0003) the executor starts anew; where it unwinds, only that check does.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread;
use std::time::Duration;

use crate::baseline::{Baseline, Section};
use crate::report::{CheckId, Report, Verdict};
use crate::{Check, Circumstances, Host};

/// Makes a check that has seen nothing yet.
pub type MakeCheck = fn() -> Box<dyn Check>;

/// Checks that run together, with what each keeps between rounds.
#[derive(Debug)]
pub struct Checks(Vec<Seat>);

impl Default for Checks {
    fn default() -> Self {
        Self::of(&crate::ALL)
    }
}

impl Checks {
    /// These checks, in this order.
    pub fn of(checks: &[MakeCheck]) -> Self {
        Self(checks.iter().map(|make| Seat::new(*make)).collect())
    }

    /// Runs all checks at the same time. One that has not ended within `limit` is unknown, and so it stays
    /// until it ends; only then is it asked again. Without a baseline, each is unknown for the reason given.
    pub fn round(
        &mut self,
        host: &Arc<dyn Host>,
        baseline: Result<&Arc<Baseline>, &str>,
        about: &Circumstances,
        limit: Duration,
    ) -> Vec<Report> {
        let baseline = match baseline {
            Ok(baseline) => baseline,
            Err(why) => return self.0.iter().map(|seat| seat.unknown(why)).collect(),
        };
        let put = |seat: &mut Seat| {
            if let Some(why) = not_applicable(seat.id, baseline) {
                return Err(Verdict::NotApplicable(why.to_owned()));
            }
            let (host, baseline) = (Arc::clone(host), Arc::clone(baseline));
            seat.ask(Question { host, baseline, about: about.clone() })
        };
        let asked: Vec<_> = self.0.iter_mut().map(put).collect();
        let end = compliance_clock::boottime().as_millis() + millis(limit);
        let take = |(seat, asked): (&mut Seat, Result<(), Verdict>)| match asked {
            Ok(()) => seat.answer(left(end)).unwrap_or_else(|| seat.unknown(&late(limit))),
            Err(verdict) => seat.report(verdict),
        };
        self.0.iter_mut().zip(asked).map(take).collect()
    }
}

/// Where a check sits: it outlives the threads that run it.
struct Seat {
    id: CheckId,
    version: u32,
    make: MakeCheck,
    thread: Option<Running>,
}

/// The thread that runs a check, and whether it owes an answer.
struct Running {
    questions: Sender<Question>,
    answers: Receiver<Report>,
    owes: bool,
}

struct Question {
    host: Arc<dyn Host>,
    baseline: Arc<Baseline>,
    about: Circumstances,
}

impl Seat {
    fn new(make: MakeCheck) -> Self {
        let check = make();
        Self { id: check.id(), version: check.version(), make, thread: None }
    }

    /// Puts the question to the check; else says what that makes of it. One that still owes an answer is
    /// asked nothing: what it says then was seen before this round.
    fn ask(&mut self, question: Question) -> Result<(), Verdict> {
        if let Some(running) = self.thread.as_mut().filter(|running| running.owes) {
            match running.answers.try_recv() {
                Ok(_late) => running.owes = false,
                Err(TryRecvError::Empty) => {
                    let why = "the check is still at what it was asked in an earlier round";
                    return Err(Verdict::Unknown(why.to_owned()));
                }
                Err(TryRecvError::Disconnected) => self.thread = None,
            }
        }
        if self.thread.is_none() {
            self.thread = start(self.make);
        }
        match &mut self.thread {
            Some(running) if running.questions.send(question).is_ok() => {
                running.owes = true;
                Ok(())
            }
            _ => {
                self.thread = None;
                Err(Verdict::Unknown("the system gives the check no thread".to_owned()))
            }
        }
    }

    /// The answer to the question just put, if it comes in the time that is left.
    fn answer(&mut self, left: Duration) -> Option<Report> {
        let running = self.thread.as_mut()?;
        match running.answers.recv_timeout(left) {
            Ok(report) => {
                running.owes = false;
                Some(report)
            }
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                self.thread = None;
                Some(self.unknown("the check itself crashed"))
            }
        }
    }

    fn unknown(&self, why: &str) -> Report {
        self.report(Verdict::Unknown(why.to_owned()))
    }

    fn report(&self, verdict: Verdict) -> Report {
        Report::new(self.id, self.version, verdict)
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)
    }
}

/// A thread that answers questions until nobody asks any more; `None` if the system gives no thread.
fn start(make: MakeCheck) -> Option<Running> {
    let (questions, asked) = channel::<Question>();
    let (reply, answers) = channel();
    let run = move || {
        let mut check = make();
        for Question { host, baseline, about } in asked {
            if reply.send(check.run(&*host, &baseline, &about)).is_err() {
                break;
            }
        }
    };
    thread::Builder::new().spawn(run).ok()?;
    Some(Running { questions, answers, owes: false })
}

/// Why a check does not apply here, if the baseline says so.
fn not_applicable(check: CheckId, baseline: &Baseline) -> Option<&str> {
    fn why<T>(section: &Section<T>) -> Option<&str> {
        match section {
            Section::NotApplicable(why) => Some(&why.not_applicable),
            Section::Expected(_) => None,
        }
    }
    match check {
        CheckId::Patching => why(&baseline.patching),
        CheckId::Services => why(&baseline.services),
        CheckId::Backups => why(&baseline.backups),
        CheckId::Firewall => why(&baseline.firewall),
        CheckId::Logging => why(&baseline.logging),
        CheckId::Encryption => why(&baseline.encryption),
    }
}

fn late(limit: Duration) -> String {
    format!("the check did not end within {limit:?}")
}

/// What is left until `end`, in milliseconds since boot.
fn left(end: i64) -> Duration {
    let left = end - compliance_clock::boottime().as_millis();
    Duration::from_millis(u64::try_from(left).unwrap_or(0))
}

fn millis(limit: Duration) -> i64 {
    i64::try_from(limit.as_millis()).unwrap_or(i64::MAX)
}
