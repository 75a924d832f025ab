//! One-time links and the sessions that they become. Both live in memory only, by their digests.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use compliance_protocol::digest::Digest;
use compliance_protocol::name::Operator;
use compliance_protocol::time::{Span, Timestamp};

use crate::app::App;
use crate::problem::Problem;

/// How long a one-time link can be used.
const LINK_LIFE: Span = Span::from_secs(5 * 60);
/// How long a session lasts.
pub(super) const SESSION_LIFE: Span = Span::from_hours(8);
/// As many links and sessions, each, are kept at once.
const MOST: usize = 1000;

#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    links: Table,
    sessions: Table,
}

/// What a secret opens, and until when.
type Table = HashMap<Digest, (Operator, Timestamp)>;

impl Sessions {
    /// A link for `operator`: its secret, and when it ends.
    pub(crate) fn invite(
        &self,
        app: &App,
        operator: Operator,
    ) -> Result<(String, Timestamp), Problem> {
        tracing::info!(%operator, "a one-time link was made");
        issue(app, operator, LINK_LIFE, &mut self.tables().links)
    }

    /// Uses a link up; returns the session's secret, or nothing if it is no link or none any more.
    pub(super) fn enter(&self, app: &App, link: &str) -> Result<Option<String>, Problem> {
        let mut tables = self.tables();
        let link = tables.links.remove(&Digest::of(link.as_bytes()));
        let Some((operator, ends)) = link else { return Ok(None) };
        if ends <= app.now() {
            return Ok(None);
        }
        tracing::info!(%operator, "a one-time link was used");
        let (secret, _) = issue(app, operator, SESSION_LIFE, &mut tables.sessions)?;
        Ok(Some(secret))
    }

    /// Whose session this secret is.
    pub(super) fn who(&self, secret: &str, now: Timestamp) -> Option<Operator> {
        let tables = self.tables();
        let (operator, ends) = tables.sessions.get(&Digest::of(secret.as_bytes()))?;
        (now < *ends).then(|| operator.clone())
    }

    /// Ends a session.
    pub(super) fn leave(&self, secret: &str) {
        self.tables().sessions.remove(&Digest::of(secret.as_bytes()));
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn issue(
    app: &App,
    operator: Operator,
    life: Span,
    table: &mut Table,
) -> Result<(String, Timestamp), Problem> {
    let now = app.now();
    table.retain(|_, (_, ends)| now < *ends);
    if table.len() >= MOST {
        return Err(Problem::unavailable(
            "too many links or sessions are open; wait until some end",
        ));
    }
    let random = (app.random)().map_err(|error| {
        tracing::error!(%error, "no random bytes");
        Problem::unavailable("the server has no random bytes; try again later")
    })?;
    let (secret, ends) = (hex::encode(random), now.plus(life));
    table.insert(Digest::of(secret.as_bytes()), (operator, ends));
    Ok((secret, ends))
}
