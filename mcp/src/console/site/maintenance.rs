//! When maintenance is, as the newest summary of rounds says.

use compliance_protocol::time::Timestamp;
use serde_json::Value;

use super::super::view::{self, When};
use super::{Link, Stored, link};

pub(super) struct Maintenance {
    /// What is known, and of a time where there is one.
    pub(super) says: &'static str,
    pub(super) when: Option<When>,
    /// The summary, and when it was made.
    pub(super) bundle: Link,
    pub(super) told: When,
}

/// What `summary` says, seen from `now`. Of what was to happen since then nobody has told that it did, nor what followed.
pub(super) fn of(summary: &Stored, now: Timestamp) -> Maintenance {
    let window = summary.bundle.post.get("window");
    let at = |name| -> Option<Timestamp> { window?.get(name)?.as_str()?.parse().ok() };
    let (says, at) = match (at("opens"), at("closes")) {
        (_, Some(closes)) if closes > now => ("open, closes", Some(closes)),
        (_, Some(closes)) => ("was to close", Some(closes)),
        (Some(opens), _) if opens > now => ("opens", Some(opens)),
        (Some(opens), _) => ("was to open", Some(opens)),
        _ if window.and_then(|window| window.get("opens")) == Some(&Value::Null) => {
            ("this site has no maintenance window", None)
        }
        _ => ("not known", None),
    };
    Maintenance {
        says,
        when: at.map(|at| view::when(at, now)),
        bundle: link(&summary.row),
        told: view::when(summary.row.finished_at, now),
    }
}
