//! What has changed, told to whoever watches: pages that keep themselves up to date.
//!
//! It is told after it is on disk, and to nobody if nobody watches. A watcher that is too slow learns that it
//! missed something, never what; it looks again.

use compliance_protocol::name::Site;
use compliance_protocol::time::Timestamp;
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

/// As many changes a watcher may be behind before it misses some.
const BACKLOG: usize = 256;

/// Something of a site has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The site.
    pub site: Site,
    /// What of it.
    #[serde(flatten)]
    pub what: What,
}

/// What has changed of a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// It was registered, or has another trust file.
    Site,
    /// Evidence came.
    Evidence,
    /// An order was pushed or withdrawn.
    Orders,
    /// It was heard of.
    Seen {
        /// When.
        at: Timestamp,
    },
}

/// Where changes are told, until the server ends.
#[derive(Debug, Clone)]
pub struct Changes {
    told: broadcast::Sender<Change>,
    ended: watch::Sender<bool>,
}

/// Hears of changes from when it was made on.
#[derive(Debug)]
pub struct Watcher {
    told: broadcast::Receiver<Change>,
    ended: watch::Receiver<bool>,
}

/// What a watcher hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// This changed.
    Change(Change),
    /// More changed than it could hear.
    Missed,
}

impl Default for Changes {
    fn default() -> Self {
        Self { told: broadcast::Sender::new(BACKLOG), ended: watch::Sender::new(false) }
    }
}

impl Changes {
    /// Tells whoever watches.
    pub fn tell(&self, change: Change) {
        // Nobody needs to be there.
        let _ = self.told.send(change);
    }

    /// Whether anybody watches.
    pub fn are_watched(&self) -> bool {
        self.told.receiver_count() > 0
    }

    /// Hears of changes from now on.
    pub fn watch(&self) -> Watcher {
        Watcher { told: self.told.subscribe(), ended: self.ended.subscribe() }
    }

    /// Ends all watching.
    pub fn end(&self) {
        self.ended.send_replace(true);
    }
}

impl Watcher {
    /// The next change, or `None` once the server ends. Nothing is lost when it is broken off.
    pub async fn next(&mut self) -> Option<Heard> {
        tokio::select! {
            biased;
            _ = self.ended.wait_for(|ended| *ended) => None,
            told = self.told.recv() => match told {
                Ok(change) => Some(Heard::Change(change)),
                Err(RecvError::Lagged(_)) => Some(Heard::Missed),
                Err(RecvError::Closed) => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(number: usize) -> Change {
        Change { site: format!("clinic-{number}").parse().unwrap(), what: What::Evidence }
    }

    #[tokio::test]
    async fn who_is_too_slow_hears_that_it_missed_something_and_then_goes_on() {
        let changes = Changes::default();
        assert!(!changes.are_watched());
        changes.tell(change(0));
        let mut watcher = changes.watch();
        changes.tell(change(1));
        assert_eq!(watcher.next().await, Some(Heard::Change(change(1))));
        (0..=BACKLOG).for_each(|number| changes.tell(change(number)));
        assert_eq!(watcher.next().await, Some(Heard::Missed));
        assert_eq!(watcher.next().await, Some(Heard::Change(change(1))));
        changes.end();
        assert_eq!(watcher.next().await, None);
    }

    #[test]
    fn a_change_is_written_flat() {
        let at = Timestamp::from_millis(1_795_167_671_000);
        let seen = Change { site: "a".parse().unwrap(), what: What::Seen { at } };
        let text = serde_json::to_string(&seen).unwrap();
        assert_eq!(text, r#"{"site":"a","what":"seen","at":"2026-11-20T09:41:11.000Z"}"#);
    }
}
