//! The control plane's side: events out, acknowledgements in.

use async_nats::Subject;
use compliance_protocol::digest::Digest;
use compliance_protocol::name::{Site, Tenant};
use compliance_protocol::time::{Span, Timestamp};
use compliance_protocol::wire::Problem;
use compliance_transport::{
    Body, Client, Error, Identity, IdentityError, Limits, Method, Response,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::config::Config;

/// How long the control plane may wait for the first event, in seconds.
const WAIT_S: u32 = 20;
/// As many events as one answer has at most, each far below 16 KiB.
const LIMIT: u32 = 256;
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// Why there are no events, or none were acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum ControlPlaneError {
    /// No answer.
    #[error(transparent)]
    Transport(#[from] Error),
    /// An answer that says no.
    #[error("the control plane refuses {path}: {detail}")]
    Refused {
        /// What was asked.
        path: String,
        /// Why not.
        detail: String,
    },
    /// An answer that is none.
    #[error(
        "the control plane answered {path} with something else than events: {detail}; run the release of compliance-nats that came with it"
    )]
    Answer {
        /// What was asked.
        path: String,
        /// What is wrong.
        detail: String,
    },
}

/// How long before the end of the certificate it is time for another.
const ENDS_SOON: Span = Span::from_hours(30 * 24);

/// The control plane, asked as one carrier.
#[derive(Debug)]
pub struct ControlPlane {
    client: Client,
    identity: Identity,
    mcp: String,
}

/// An event, ready to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its number.
    pub event: u64,
    /// What it is known by in the stream.
    pub id: Digest,
    /// Where it goes.
    pub subject: Subject,
    /// The event, exactly as the control plane wrote it.
    pub payload: String,
}

impl ControlPlane {
    /// Reads certificate and key. Nothing is sent yet.
    pub fn new(config: &Config) -> Result<Self, IdentityError> {
        let identity = || Identity::read(&config.ca, &config.cert, &config.key);
        let limits = Limits { body: MAX_ANSWER, ..Limits::default() };
        // This machine knows the time: its own clock judges the server's certificate.
        let client = Client::new(identity()?, || Some(compliance_clock::wall()), limits)?;
        Ok(Self { client, identity: identity()?, mcp: config.mcp.clone() })
    }

    /// Whether the certificate, as it was read, is good and ends within 30 days.
    pub fn certificate_ends_soon(&self) -> bool {
        ends_soon(&self.identity, compliance_clock::wall())
    }

    /// The events after the last that was acknowledged; none when nothing happened for a while.
    pub async fn events(&self) -> Result<Vec<Message>, ControlPlaneError> {
        let path = format!("/api/v1/events?limit={LIMIT}&wait_s={WAIT_S}");
        let answer = self.send(Method::GET, &path, None).await?;
        messages(&answer.body)
            .map_err(|error| ControlPlaneError::Answer { path, detail: error.to_string() })
    }

    /// Says that the events through `through` are where they should be.
    pub async fn acknowledge(&self, through: u64) -> Result<(), ControlPlaneError> {
        let body = Body::json(format!("{{\"through\":{through}}}").into_bytes());
        self.send(Method::POST, "/api/v1/events/acknowledge", Some(body)).await.map(|_| ())
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Body>,
    ) -> Result<Response, ControlPlaneError> {
        let answer = self.client.request(method, &format!("{}{path}", self.mcp), body).await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        let problem = serde_json::from_slice::<Problem>(&answer.body);
        let detail = problem.map_or_else(|_| answer.status.to_string(), |problem| problem.detail);
        Err(ControlPlaneError::Refused { path: path.to_owned(), detail })
    }
}

/// Only what is good ends: of what is not, the control plane's refusal tells.
fn ends_soon(identity: &Identity, now: Timestamp) -> bool {
    let is_good = |at| identity.would_be_taken(at).is_ok();
    is_good(now) && !is_good(now.plus(ENDS_SOON))
}

#[derive(Deserialize)]
struct Answer {
    events: Vec<Box<RawValue>>,
}

/// What is read of an event; the rest passes as it is.
#[derive(Deserialize)]
struct Head {
    event: u64,
    kind: Kind,
    message_id: Digest,
    tenant: Tenant,
    site: Site,
}

/// The last part of the subject. A kind that this release does not know stops it, since it must not be lost.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Evidence,
    Alert,
    Order,
}

fn messages(body: &[u8]) -> Result<Vec<Message>, serde_json::Error> {
    let answer: Answer = serde_json::from_slice(body)?;
    answer.events.into_iter().map(|event| message(&event)).collect()
}

fn message(event: &RawValue) -> Result<Message, serde_json::Error> {
    let head: Head = serde_json::from_str(event.get())?;
    let kind = match head.kind {
        Kind::Evidence => "evidence",
        Kind::Alert => "alert",
        Kind::Order => "order",
    };
    // Names of tenants and sites have no dots, blanks or wildcards.
    let subject = format!("compliance.{}.{}.{kind}", head.tenant, head.site).into();
    Ok(Message { event: head.event, id: head.message_id, subject, payload: event.get().to_owned() })
}

#[cfg(test)]
mod tests {
    use compliance_pki::{Authority, CARRIER_LIFE};

    use super::*;

    #[test]
    fn a_certificate_ends_soon_in_its_last_month_and_neither_before_nor_after() {
        let (tenant, name) = ("acme".parse().unwrap(), "nats".parse().unwrap());
        let made = Timestamp::from_millis(1_795_167_671_000);
        let authority = |serial| Authority::generate(&tenant, [serial; 16], made).unwrap();
        let (ours, other) = (authority(1), authority(2));
        let issued = ours.issue_carrier(&tenant, &name, [3; 16], made).unwrap();
        let identity = |authority: &Authority| {
            let pem = authority.cert_pem().as_bytes();
            Identity::from_pem(pem, issued.cert_pem.as_bytes(), issued.key_pem.as_bytes()).unwrap()
        };
        let before_the_end = |days: i64| {
            let left = Span::from_hours(days * 24);
            made.plus(Span::from_millis(CARRIER_LIFE.as_millis() - left.as_millis()))
        };
        for (days, soon) in [(300, false), (31, false), (29, true), (1, true), (-1, false)] {
            assert_eq!(ends_soon(&identity(&ours), before_the_end(days)), soon, "{days}");
        }
        assert!(!ends_soon(&identity(&other), before_the_end(29)), "it is none of theirs");
    }

    fn answer(kind: &str, site: &str) -> String {
        let id = Digest::of(b"x");
        format!(
            "{{\"events\":[{{\"event\":7, \"kind\":\"{kind}\",\"message_id\":\"{id}\",\"tenant\":\"acme\",\"site\":\"{site}\",\"new\":1.50}}]}}"
        )
    }

    #[test]
    fn an_event_goes_to_its_subject_as_it_was_written() {
        let text = answer("alert", "clinic-042");
        let [message] = &messages(text.as_bytes()).unwrap()[..] else { panic!("one event") };
        assert_eq!(message.subject.as_str(), "compliance.acme.clinic-042.alert");
        assert_eq!((message.event, message.id), (7, Digest::of(b"x")));
        assert_eq!(format!("{{\"events\":[{}]}}", message.payload), text);
    }

    #[test]
    fn no_name_makes_another_subject_and_an_unknown_kind_is_not_passed_over() {
        for (kind, site) in [("alert", "a.b"), ("alert", "*"), ("alert", ">"), ("rumour", "a")] {
            assert!(messages(answer(kind, site).as_bytes()).is_err(), "{kind} {site}");
        }
    }
}
