//! NATS: one connection, the stream, and what is published into it.

use std::future::IntoFuture as _;
use std::time::Duration;

use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config as StreamConfig, RetentionPolicy, StorageType, Stream};
use async_nats::jetstream::{Context, consumer::PullConsumer, consumer::pull};

use crate::config::Nats;
use crate::control_plane::Message;
use crate::secrets::{self, SecretError};

/// What the stream takes.
pub const SUBJECTS: &str = "compliance.>";
/// The subjects of alerts.
pub const ALERTS: &str = "compliance.*.*.alert";

/// How long an answer of the broker may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// So often a broken connection is tried again; then the session is over, and the next one begins with a new one.
const RECONNECTS: usize = 3;

/// Why nothing was published, or read.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// Files.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// No connection.
    #[error(
        "no connection to {server}: {detail}; check that NATS runs, and its authority and our login"
    )]
    Connect {
        /// The broker.
        server: String,
        /// What was said.
        detail: String,
    },
    /// The stream is not to be had.
    #[error(
        "the stream {name} cannot be used: {detail}; check that JetStream is enabled and what our login may do"
    )]
    Stream {
        /// The stream.
        name: String,
        /// What was said.
        detail: String,
    },
    /// The stream would lose events, or store them twice.
    #[error("the stream {name} is not fit: {what}; change it with `nats stream edit {name}`")]
    Unfit {
        /// The stream.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// An event was not stored.
    #[error("event {event} was not stored in the stream: {detail}; it is brought again")]
    Publish {
        /// The event.
        event: u64,
        /// What was said.
        detail: String,
    },
    /// Alerts cannot be read.
    #[error("alerts cannot be read: {0}")]
    Consume(String),
}

/// How many messages the stream took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Published {
    /// That are new in it.
    pub stored: usize,
    /// That it had.
    pub duplicates: usize,
}

/// A connection, and the stream, which was looked at.
#[derive(Debug)]
pub struct Broker {
    context: Context,
    stream: Stream,
    name: String,
}

impl Broker {
    /// Connects, and makes the stream if it is not there.
    pub async fn open(nats: &Nats) -> Result<Self, BrokerError> {
        let client = secrets::options(nats)?
            .name("compliance-nats")
            .connection_timeout(PATIENCE)
            .request_timeout(Some(PATIENCE))
            .max_reconnects(RECONNECTS)
            .ignore_discovered_servers()
            .connect(&nats.server)
            .await
            .map_err(|error| BrokerError::Connect {
                server: nats.server.clone(),
                detail: compliance_daemon::words::of(&error),
            })?;
        let context = ContextBuilder::new().timeout(PATIENCE).ack_timeout(PATIENCE).build(client);
        let stream = context.get_or_create_stream(stream(nats)).await.map_err(|error| {
            let detail = compliance_daemon::words::of(&error);
            BrokerError::Stream { name: nats.stream.clone(), detail }
        })?;
        let unfit = |what| BrokerError::Unfit { name: nats.stream.clone(), what };
        check(&stream.cached_info().config, nats).map_err(unfit)?;
        Ok(Self { context, stream, name: nats.stream.clone() })
    }

    /// Publishes all, and returns once the stream has each; what it had already it does not store again.
    pub async fn publish(&self, messages: Vec<Message>) -> Result<Published, BrokerError> {
        let failed = |event, error: &dyn std::error::Error| BrokerError::Publish {
            event,
            detail: error.to_string(),
        };
        let mut acknowledgements = Vec::with_capacity(messages.len());
        for Message { event, id, subject, payload } in messages {
            let message = PublishMessage::build()
                .payload(payload.into())
                .message_id(id.to_string())
                .expected_stream(&self.name);
            let sent = self.context.send_publish(subject, message).await;
            acknowledgements.push((event, sent.map_err(|error| failed(event, &error))?));
        }
        let mut published = Published::default();
        for (event, acknowledgement) in acknowledgements {
            let stored =
                acknowledgement.into_future().await.map_err(|error| failed(event, &error))?;
            if stored.duplicate {
                published.duplicates += 1;
            } else {
                published.stored += 1;
            }
        }
        Ok(published)
    }

    /// The alerts that the consumer of this name has not acknowledged.
    pub async fn alerts(&self, consumer: &str) -> Result<PullConsumer, BrokerError> {
        let config = pull::Config {
            durable_name: Some(consumer.to_owned()),
            filter_subject: ALERTS.to_owned(),
            ..pull::Config::default()
        };
        let made = self.stream.get_or_create_consumer(consumer, config).await;
        made.map_err(|error| BrokerError::Consume(error.to_string()))
    }
}

fn stream(nats: &Nats) -> StreamConfig {
    StreamConfig {
        name: nats.stream.clone(),
        subjects: vec![SUBJECTS.to_owned()],
        storage: StorageType::File,
        duplicate_window: nats.duplicate_window(),
        description: Some("Evidence, alerts and order states of compliance appliances".to_owned()),
        ..StreamConfig::default()
    }
}

/// What would lose events, or store them twice.
fn check(found: &StreamConfig, nats: &Nats) -> Result<(), String> {
    let covers = |subject: &String| {
        ["compliance.>", "compliance.*.>", "compliance.*.*.*", "compliance.*.*.>", ">"]
            .contains(&subject.as_str())
    };
    if !found.subjects.iter().any(covers) {
        return Err(format!("its subjects are {:?} and not {SUBJECTS}", found.subjects));
    }
    if found.duplicate_window < nats.duplicate_window() {
        return Err(format!(
            "its duplicate window is {} s, and duplicate_window_s is {}",
            found.duplicate_window.as_secs(),
            nats.duplicate_window_s
        ));
    }
    if found.storage != StorageType::File {
        return Err("it is kept in memory and not in files".to_owned());
    }
    if found.retention != RetentionPolicy::Limits {
        return Err(format!(
            "its retention is {:?}, which drops what nobody waits for, and not limits",
            found.retention
        ));
    }
    if found.max_messages_per_subject > 0 {
        return Err(format!(
            "it keeps {} messages of a subject, and a site has one subject for all of a kind",
            found.max_messages_per_subject
        ));
    }
    if found.no_ack {
        return Err("it does not acknowledge what it stores".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nats() -> Nats {
        Nats {
            server: "nats://localhost".to_owned(),
            ca: None,
            user: None,
            password_file: None,
            token_file: None,
            stream: "COMPLIANCE".to_owned(),
            duplicate_window_s: 3600,
        }
    }

    #[test]
    fn a_stream_that_would_lose_or_double_events_is_not_used_and_what_we_make_is() {
        let made = stream(&nats());
        check(&made, &nats()).unwrap();
        let longer = StreamConfig { duplicate_window: Duration::from_hours(2), ..made.clone() };
        check(&longer, &nats()).unwrap();
        let window = Duration::from_mins(2);
        let subjects = vec!["compliance.acme.>".to_owned()];
        for (said, unfit) in [
            (
                "duplicate window is 120 s",
                StreamConfig { duplicate_window: window, ..made.clone() },
            ),
            ("subjects", StreamConfig { subjects, ..made.clone() }),
            ("memory", StreamConfig { storage: StorageType::Memory, ..made.clone() }),
            ("acknowledge", StreamConfig { no_ack: true, ..made.clone() }),
            (
                "retention is Interest",
                StreamConfig { retention: RetentionPolicy::Interest, ..made.clone() },
            ),
            (
                "retention is WorkQueue",
                StreamConfig { retention: RetentionPolicy::WorkQueue, ..made.clone() },
            ),
            (
                "keeps 1 messages of a subject",
                StreamConfig { max_messages_per_subject: 1, ..made.clone() },
            ),
        ] {
            let error = check(&unfit, &nats()).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
