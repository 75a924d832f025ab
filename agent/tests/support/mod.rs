//! What both sides may say, and a courier that is led through its cycle by hand.
#![allow(
    dead_code,
    clippy::disallowed_methods,
    reason = "each test file uses its part, one starts the agent"
)]

pub mod agent;
pub mod executor;
#[path = "../../../transport/tests/support/mod.rs"]
pub mod tls;

use std::time::Duration;

use compliance_agent::config::PollJitter;
use compliance_agent::cycle::{Action, Event, Now, Reply, State, Work, step};
use compliance_agent::report::{Cause, Failure, Moment};
use compliance_protocol::bytes::Bytes;
use compliance_protocol::clock::{ClockEvidence, ClockSource};
use compliance_protocol::evidence::{Mode, SignedBundle};
use compliance_protocol::feed::{Nonce, Ticket};
use compliance_protocol::local::Answer;
use compliance_protocol::status::Status;
use compliance_protocol::time::{Span, Timestamp};

/// What is waited for comes before this, or never.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// 2026-11-20T09:41:11Z.
pub const TODAY: Timestamp = Timestamp::from_millis(1_795_167_671_000);

/// A feed head and an order, as nobody but the executor will read them.
pub const HEAD: &str = r#"{"payload": "aGVhZA==" ,"signatures":[]}"#;
pub const ORDER: &str = r#"{"signatures":[], "payload":"b3JkZXI="}"#;

/// The answer to a poll.
pub fn poll_answer(poll_after_s: u32) -> String {
    format!(
        r#"{{"feed":{HEAD},"orders":[{ORDER}],"checkpoint":"log\n5\n","consistency":[],"poll_after_s":{poll_after_s}}}"#
    )
}

/// The answer to an upload of `count` bundles.
pub fn upload_answer(count: usize) -> String {
    let result = r#"{"id":null,"status":"stored","receipt":"r","reason":null}"#;
    let results = vec![result; count].join(",");
    format!(r#"{{"results":[{results}],"checkpoint":"log\n6\n","consistency":[]}}"#)
}

pub fn ok(body: &str) -> Event {
    reply(200, None, body)
}

pub fn reply(status: u16, retry_after: Option<u32>, body: &str) -> Event {
    Event::Responded(Reply { status, retry_after, body: body.as_bytes().to_vec() })
}

pub fn unreached(cause: Cause) -> Event {
    Event::Unreached(Failure::new(cause, "it is away"))
}

pub fn ticket(time: Timestamp) -> Ticket {
    Ticket { nonce: Nonce::from_random([7; 16]), after: 16, log_size: 5, pending: 3, time }
}

pub fn bundle(number: u8) -> SignedBundle {
    let bytes = |text: &str| Bytes::from(format!("{text} {number}").into_bytes());
    SignedBundle { json: bytes("json"), sig: bytes("sig"), dsse: bytes("dsse") }
}

pub fn status(pending_bundles: u64) -> Status {
    Status {
        at: TODAY,
        tenant: "acme".parse().unwrap(),
        site: "clinic-042".parse().unwrap(),
        epoch: 1,
        mode: Mode::Direct,
        version: "0.1.0".to_owned(),
        clock: ClockEvidence {
            synchronised: false,
            source: ClockSource::Feed,
            offset_ms: 0,
            max_error_ms: 16_000_000,
            stepped_back: false,
        },
        checks: Vec::new(),
        gates: Vec::new(),
        why_not_now: Vec::new(),
        waiting: Vec::new(),
        pending_bundles,
        evidence_head: None,
        last_head_at: None,
        doing: None,
        activation: None,
    }
}

pub fn status_answer() -> Event {
    Event::Answered(Answer::Status { status: Box::new(status(0)) })
}

pub fn now(boottime: Span, random: u64) -> Now {
    Now { moment: Moment { at: TODAY.plus(boottime), boottime }, random }
}

/// A courier led by hand: one event in, one list of actions out, a second later each time.
pub struct Courier {
    pub state: Option<State>,
    pub clock: Span,
    pub random: u64,
}

impl Courier {
    pub fn new(interval: Span) -> Self {
        Self::jittered(interval, PollJitter::default())
    }

    pub fn jittered(interval: Span, jitter: PollJitter) -> Self {
        let state = Some(State::new(interval, jitter));
        Self { state, clock: Span::ZERO, random: u64::MAX / 2 }
    }

    pub fn take(&mut self, event: Event) -> Vec<Action> {
        self.clock = Span::from_millis(self.clock.as_millis() + 1000);
        let (state, actions) =
            step(self.state.take().unwrap(), event, now(self.clock, self.random));
        self.state = Some(state);
        actions
    }

    /// Takes the event, and returns the one piece of work that it leads to.
    pub fn work(&mut self, event: Event) -> Work {
        let mut work = self.take(event).into_iter().filter_map(|action| match action {
            Action::Begin(work) => Some(work),
            _ => None,
        });
        let first = work.next().expect("work begins");
        assert_eq!(work.next(), None, "one piece of work at a time");
        first
    }

    /// Takes each event in turn, and returns the work that the last one leads to.
    pub fn lead<const N: usize>(&mut self, events: [Event; N]) -> Work {
        events.into_iter().map(|event| self.work(event)).last().unwrap()
    }

    pub fn state(&self) -> &State {
        self.state.as_ref().unwrap()
    }
}

/// From sleep to the poll in flight.
pub fn to_the_poll() -> [Event; 2] {
    [Event::Woke, Event::Answered(Answer::Ticket { ticket: ticket(TODAY) })]
}

/// From sleep to the question for evidence.
pub fn to_the_evidence() -> [Event; 4] {
    let [woke, ticket] = to_the_poll();
    [woke, ticket, ok(&poll_answer(60)), Event::Answered(Answer::Feed { fresh: true, log_size: 5 })]
}

pub fn pending(bundles: Vec<SignedBundle>) -> Event {
    Event::Answered(Answer::Pending { bundles })
}

pub fn recorded(recorded: u64) -> Event {
    Event::Answered(Answer::Receipts { recorded, log_size: 0 })
}
