//! The words that the cycle and its driver exchange.

use compliance_protocol::local::{Answer, Request};
use compliance_protocol::time::{Span, Timestamp};

use crate::report::{Failure, Moment};

/// What has happened.
#[derive(Debug)]
pub enum Event {
    /// The wait is over.
    Woke,
    /// The executor answered.
    Answered(Answer),
    /// The executor did not answer, for this reason.
    Unanswered(String),
    /// The control plane answered.
    Responded(Reply),
    /// The control plane did not answer.
    Unreached(Failure),
    /// The process is asked to end.
    Stop,
}

/// What to do. At most one [`Action::Begin`] is under way; the event that ends it comes before the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Do this, and come back with what came of it.
    Begin(Work),
    /// End the process; nothing is under way.
    Exit,
    /// What comes of cycles has changed: this is why they fail now, or `None` when they do not.
    Note(Option<Failure>),
    /// The executor has answered for the first time.
    Ready,
    /// Write the report.
    Save,
    /// It is this time now, for checking certificates.
    SetClock(Timestamp),
}

/// Work that ends with an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Ask the executor; ends with [`Event::Answered`] or [`Event::Unanswered`].
    Ask(Request),
    /// Ask the control plane; ends with [`Event::Responded`] or [`Event::Unreached`].
    Send(Call),
    /// Wait; ends with [`Event::Woke`].
    Wait(Span),
}

/// A request to the control plane: `GET` without a body, `POST` of JSON with one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Path and query.
    pub path: String,
    /// JSON.
    pub body: Option<Vec<u8>>,
}

/// What the control plane answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u32>,
    /// The body.
    pub body: Vec<u8>,
}

/// When it happened, and 64 random bits to decide by.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// When.
    pub moment: Moment,
    /// Random bits.
    pub random: u64,
}
