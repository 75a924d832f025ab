//! The courier's cycle: what to do next. No I/O, no clock, no randomness; all of that comes in.
//!
//! ```text
//! asleep ─► ticket ─► poll ─► feed ─► pending ─► upload ─► receipts ─┐
//!   ▲                   │                ▲  │                        │
//!   │                   ▼                └──│────────────────────────┘
//!   └──── wait ◄───── status ◄──────────────┘     a failure anywhere goes on to the wait
//! ```
//!
//! One piece of work is under way at a time, so there is never a second poll in flight.

mod carry;
pub mod timing;
mod vocabulary;

pub use vocabulary::{Action, Call, Event, Now, Reply, Work};

use compliance_protocol::feed::Ticket;
use compliance_protocol::local::{Answer, Connectivity, ConnectivityCause, Request};
use compliance_protocol::time::Span;

use crate::config::PollJitter;
use crate::report::{Cause, Failure, Moment, Polls, Seen};

/// The most evidence that one upload carries, in bytes.
pub const BATCH: u64 = 512 * 1024;

/// Where the cycle stands.
#[derive(Debug)]
pub struct State {
    interval: Span,
    jitter: PollJitter,
    phase: Phase,
    stopping: bool,
    ready: bool,
    /// What came of the last cycle; `None` before the first has ended.
    outcome: Option<Result<(), Cause>>,
    /// What the executor was told last.
    told: Option<Connectivity>,
    cycle: Cycle,
    polls: Polls,
    executor: Option<Seen>,
    executor_answers: bool,
}

/// What is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Asleep,
    Ticket,
    Poll,
    Feed,
    Telling(Connectivity),
    Pending,
    Upload,
    Receipts,
    Status,
    Ended,
}

/// What one cycle remembers.
#[derive(Debug, Default)]
struct Cycle {
    log_size: u64,
    /// When to stop uploading and poll again.
    upload_until: Option<Moment>,
    /// The control plane's wishes, in seconds: after an answer, and after an error.
    poll_after: Option<u32>,
    retry_after: Option<u32>,
    failure: Option<Failure>,
}

/// Takes what has happened, and says what to do.
#[must_use]
pub fn step(mut state: State, event: Event, now: Now) -> (State, Vec<Action>) {
    let mut actions = Vec::new();
    state.take(event, now, &mut actions);
    (state, actions)
}

impl State {
    /// Before the first poll, which [`Event::Woke`] begins.
    pub fn new(interval: Span, jitter: PollJitter) -> Self {
        let polls = Polls {
            interval,
            last: None,
            last_success: None,
            failures: 0,
            last_failure: None,
            next: None,
        };
        Self {
            interval,
            jitter,
            phase: Phase::Asleep,
            stopping: false,
            ready: false,
            outcome: None,
            told: None,
            cycle: Cycle::default(),
            polls,
            executor: None,
            executor_answers: false,
        }
    }

    /// How polling goes.
    pub fn polls(&self) -> &Polls {
        &self.polls
    }

    /// What the executor said last.
    pub fn executor(&self) -> Option<&Seen> {
        self.executor.as_ref()
    }

    /// Whether it answered all that it was asked in the last cycle.
    pub fn executor_answers(&self) -> bool {
        self.executor_answers
    }

    fn take(&mut self, event: Event, now: Now, actions: &mut Vec<Action>) {
        if matches!(event, Event::Answered(_)) && !self.ready {
            self.ready = true;
            actions.push(Action::Ready);
        }
        match (self.phase.clone(), event) {
            (_, Event::Stop) => {
                self.stopping = true;
                if self.phase == Phase::Asleep {
                    self.end(actions);
                }
            }
            (Phase::Asleep, Event::Woke) => {
                self.cycle = Cycle::default();
                self.ask(Phase::Ticket, Request::Ticket {}, actions);
            }
            (Phase::Poll, Event::Responded(reply)) => self.polled(&reply, actions),
            (Phase::Poll, Event::Unreached(failure)) => self.poll_failed(failure, actions),
            (Phase::Upload, Event::Responded(reply)) => self.uploaded(&reply, actions),
            (Phase::Upload, Event::Unreached(failure)) => {
                self.fail(failure);
                self.ask_status(actions);
            }
            (phase, Event::Answered(answer)) if phase.asks() => self.answered(answer, now, actions),
            (phase, Event::Unanswered(why)) if phase.asks() => {
                self.executor_failed(&why, now, actions);
            }
            // Nothing that is under way ends with this.
            (_, _) => {}
        }
    }

    fn answered(&mut self, answer: Answer, now: Now, actions: &mut Vec<Action>) {
        match (self.phase.clone(), answer) {
            (Phase::Ticket, Answer::Ticket { ticket }) => self.poll(&ticket, now, actions),
            (Phase::Feed, Answer::Feed { fresh, log_size }) => {
                self.cycle.log_size = log_size;
                self.fed(fresh, now, actions);
            }
            (Phase::Telling(told), Answer::Event {}) => {
                self.told = Some(told);
                match told {
                    Connectivity::Lost => self.ask_status(actions),
                    Connectivity::Restored => self.ask_pending(actions),
                }
            }
            (Phase::Pending, Answer::Pending { bundles }) if bundles.is_empty() => {
                self.ask_status(actions);
            }
            (Phase::Pending, Answer::Pending { bundles }) => {
                match carry::upload(self.cycle.log_size, bundles) {
                    Ok(call) => self.go(Phase::Upload, Work::Send(call), actions),
                    Err(failure) => {
                        self.fail(failure);
                        self.ask_status(actions);
                    }
                }
            }
            (Phase::Receipts, Answer::Receipts { recorded, log_size }) => {
                self.cycle.log_size = log_size;
                self.receipted(recorded, now, actions);
            }
            (Phase::Status, Answer::Status { status }) => {
                self.executor = Some(Seen { when: now.moment, status: *status });
                self.executor_answers = true;
                self.sleep(now, actions);
            }
            (_, answer) => {
                let why = match answer {
                    Answer::Error { detail } => {
                        format!("the executor could not do what was asked: {detail}")
                    }
                    _ => "the executor answered another question than was asked".to_owned(),
                };
                self.executor_failed(&why, now, actions);
            }
        }
    }

    fn executor_failed(&mut self, why: &str, now: Now, actions: &mut Vec<Action>) {
        self.executor_answers = false;
        self.fail(Failure::new(Cause::Executor, why));
        self.sleep(now, actions);
    }

    fn poll(&mut self, ticket: &Ticket, now: Now, actions: &mut Vec<Action>) {
        self.cycle.log_size = ticket.log_size;
        self.cycle.upload_until = Some(now.moment.plus(self.interval));
        self.polls.last = Some(now.moment);
        actions.push(Action::SetClock(ticket.time));
        self.go(Phase::Poll, Work::Send(carry::poll(ticket)), actions);
    }

    fn polled(&mut self, reply: &Reply, actions: &mut Vec<Action>) {
        match carry::feed(reply) {
            Ok((request, poll_after)) => {
                self.cycle.poll_after = Some(poll_after);
                self.ask(Phase::Feed, request, actions);
            }
            Err(failure) => {
                self.cycle.retry_after = reply.retry_after;
                self.poll_failed(failure, actions);
            }
        }
    }

    fn poll_failed(&mut self, failure: Failure, actions: &mut Vec<Action>) {
        let cause = failure.cause.connectivity();
        self.fail(failure);
        if self.told == Some(Connectivity::Lost) {
            self.ask_status(actions);
        } else {
            self.tell(Connectivity::Lost, cause, actions);
        }
    }

    fn fed(&mut self, fresh: bool, now: Now, actions: &mut Vec<Action>) {
        if !fresh {
            let why = "the executor does not accept the control plane's feed head: check that the trust \
                       file names its feed key";
            self.fail(Failure::new(Cause::Refused, why));
            // Evidence goes out all the same: it may be what tells the operator why.
            return self.ask_pending(actions);
        }
        self.polls.last_success = Some(now.moment);
        if self.told == Some(Connectivity::Lost) {
            self.tell(Connectivity::Restored, ConnectivityCause::None, actions);
        } else {
            self.ask_pending(actions);
        }
    }

    fn uploaded(&mut self, reply: &Reply, actions: &mut Vec<Action>) {
        match carry::receipts(reply) {
            Ok(request) => self.ask(Phase::Receipts, request, actions),
            Err(failure) => {
                self.cycle.retry_after = reply.retry_after;
                self.fail(failure);
                self.ask_status(actions);
            }
        }
    }

    fn receipted(&mut self, recorded: u64, now: Now, actions: &mut Vec<Action>) {
        if recorded == 0 {
            // The same bundles would come again, at once and for ever.
            let why =
                "the control plane gave no receipt for uploaded evidence that the executor accepts";
            self.fail(Failure::new(Cause::Refused, why));
            return self.ask_status(actions);
        }
        // A long queue must not keep orders waiting: the rest follows after the next poll.
        let late = |until: Moment| until.until(now.moment) >= Span::ZERO;
        if self.cycle.upload_until.is_some_and(late) {
            self.ask_status(actions);
        } else {
            self.ask_pending(actions);
        }
    }

    fn ask_pending(&mut self, actions: &mut Vec<Action>) {
        self.ask(Phase::Pending, Request::Pending { bytes: BATCH }, actions);
    }

    fn ask_status(&mut self, actions: &mut Vec<Action>) {
        self.ask(Phase::Status, Request::Status {}, actions);
    }

    fn tell(&mut self, what: Connectivity, cause: ConnectivityCause, actions: &mut Vec<Action>) {
        self.ask(Phase::Telling(what), Request::Event { connectivity: what, cause }, actions);
    }

    fn ask(&mut self, phase: Phase, request: Request, actions: &mut Vec<Action>) {
        self.go(phase, Work::Ask(request), actions);
    }

    /// Begins `work`, unless we are to stop: then only what is on its way already is delivered.
    fn go(&mut self, phase: Phase, work: Work, actions: &mut Vec<Action>) {
        if self.stopping && !matches!(phase, Phase::Feed | Phase::Receipts) {
            return self.end(actions);
        }
        self.phase = phase;
        actions.push(Action::Begin(work));
    }

    /// Remembers the first failure of a cycle: what comes after it is mostly its consequence.
    fn fail(&mut self, failure: Failure) {
        self.cycle.failure.get_or_insert(failure);
    }

    fn sleep(&mut self, now: Now, actions: &mut Vec<Action>) {
        let failure = self.cycle.failure.take();
        let wait = match &failure {
            None => self.after_success(now.random),
            Some(failure) => self.after_failure(failure.cause, now.random),
        };
        let outcome = failure.as_ref().map_or(Ok(()), |failure| Err(failure.cause));
        if self.outcome != Some(outcome) {
            self.outcome = Some(outcome);
            actions.push(Action::Note(failure.clone()));
        }
        self.polls.last_failure = failure;
        self.polls.next = Some(now.moment.plus(wait));
        if self.stopping {
            return self.end(actions);
        }
        actions.push(Action::Save);
        self.go(Phase::Asleep, Work::Wait(wait), actions);
    }

    fn after_success(&mut self, random: u64) -> Span {
        self.polls.failures = 0;
        self.polls.interval =
            timing::hinted(self.interval, self.cycle.poll_after).unwrap_or(self.interval);
        timing::jittered(self.polls.interval, self.jitter, random)
    }

    fn after_failure(&mut self, cause: Cause, random: u64) -> Span {
        self.polls.failures = self.polls.failures.saturating_add(1);
        let failures = self.polls.failures;
        match (cause, timing::hinted(self.interval, self.cycle.retry_after)) {
            (Cause::Executor, _) => timing::backed_off_near(self.interval, failures, random),
            (_, Some(wish)) => timing::jittered(wish, self.jitter, random),
            (_, None) => timing::backed_off(self.interval, failures, random),
        }
    }

    fn end(&mut self, actions: &mut Vec<Action>) {
        self.phase = Phase::Ended;
        self.polls.next = None;
        actions.extend([Action::Save, Action::Exit]);
    }
}

impl Phase {
    /// Whether the executor is being asked.
    fn asks(&self) -> bool {
        !matches!(self, Self::Asleep | Self::Poll | Self::Upload | Self::Ended)
    }
}
