//! Invitations and the sessions that they become. Both live in memory only, by digests of their secrets.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use compliance_protocol::digest::Digest;
use compliance_protocol::name::Operator;
use compliance_protocol::time::{Span, Timestamp};

use super::attempts::Attempts;
use super::code::Code;
use crate::app::App;
use crate::problem::Problem;

/// How long an invitation can be used.
const INVITATION_LIFE: Span = Span::from_secs(5 * 60);
/// How long a session lasts at most.
pub(super) const SESSION_LIFE: Span = Span::from_hours(8);
/// How long a session lasts that nobody uses. An open page uses it.
const IDLE_LIFE: Span = Span::from_secs(30 * 60);
/// As many invitations and sessions, each, are kept at once.
const MOST: usize = 1000;
/// As many pages of a session are kept up to date at once: of its six connections a browser needs some for
/// the pages themselves.
const STREAMS: usize = 4;

#[derive(Debug, Default)]
pub(crate) struct Sessions {
    tables: Mutex<Tables>,
    attempts: Attempts,
}

#[derive(Debug, Default)]
struct Tables {
    invitations: HashMap<Digest, Invitation>,
    sessions: HashMap<Digest, Session>,
}

#[derive(Debug)]
struct Invitation {
    operator: Operator,
    code: Digest,
    ends: Timestamp,
}

#[derive(Debug)]
struct Session {
    operator: Operator,
    ends: Timestamp,
    used: Timestamp,
    streams: usize,
}

/// What an operator is given: two ways to use one invitation, until it ends.
#[derive(Debug)]
pub(crate) struct Invited {
    pub(crate) token: String,
    pub(crate) code: Code,
    pub(crate) ends: Timestamp,
}

/// Why nobody gets a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Denied {
    /// There is no such invitation, or none any more.
    Wrong,
    /// There were too many wrong ones; this long nobody may try.
    TooMany(Span),
    /// The server cannot.
    Problem(Problem),
}

impl From<Problem> for Denied {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl Sessions {
    /// An invitation for `operator`.
    pub(crate) fn invite(&self, app: &App, operator: Operator) -> Result<Invited, Problem> {
        let mut tables = self.tables();
        let now = app.now();
        tables.invitations.retain(|_, invitation| now < invitation.ends);
        let token = secret(app, tables.invitations.len())?;
        let (code, ends) = (Code::of(&token), now.plus(INVITATION_LIFE));
        tracing::info!(%operator, "a one-time link was made");
        let invitation = Invitation { operator, code: digest(code.as_str()), ends };
        tables.invitations.insert(digest(&token), invitation);
        Ok(Invited { token, code, ends })
    }

    /// Uses an invitation up by its link; returns the session's secret. A right link needs no luck: it is
    /// taken also while wrong ones are not looked at any more.
    pub(super) fn by_link(&self, app: &App, token: &str) -> Result<String, Denied> {
        let mut tables = self.tables();
        match tables.invitations.remove(&digest(token)) {
            Some(invitation) => begin(&mut tables, app, invitation),
            None => {
                Err(self.attempts.begin(app.now()).map_or_else(Denied::TooMany, |()| Denied::Wrong))
            }
        }
    }

    /// The same by its code, which could be guessed by who has many tries.
    pub(super) fn by_code(&self, app: &App, code: &Code) -> Result<String, Denied> {
        let mut tables = self.tables();
        self.attempts.begin(app.now()).map_err(Denied::TooMany)?;
        let code = digest(code.as_str());
        let found = tables.invitations.iter().find(|(_, invitation)| invitation.code == code);
        let link = *found.ok_or(Denied::Wrong)?.0;
        self.attempts.was_right();
        let invitation = tables.invitations.remove(&link).ok_or(Denied::Wrong)?;
        begin(&mut tables, app, invitation)
    }

    /// Whose session this secret is. It counts as use.
    pub(super) fn who(&self, secret: &str, now: Timestamp) -> Option<Operator> {
        let mut tables = self.tables();
        let session = tables.sessions.get_mut(&digest(secret))?;
        session.is_open(now).then(|| {
            session.used = now;
            session.operator.clone()
        })
    }

    /// Ends a session.
    pub(super) fn leave(&self, secret: &str) {
        self.tables().sessions.remove(&digest(secret));
    }

    /// Counts one more page that is kept up to date; false if there are too many, or no session.
    pub(super) fn begin_stream(&self, secret: &str) -> bool {
        let mut tables = self.tables();
        let session = tables.sessions.get_mut(&digest(secret));
        session.is_some_and(|session| {
            let free = session.streams < STREAMS;
            session.streams += usize::from(free);
            free
        })
    }

    /// One less.
    pub(super) fn end_stream(&self, secret: &str) {
        if let Some(session) = self.tables().sessions.get_mut(&digest(secret)) {
            session.streams = session.streams.saturating_sub(1);
        }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn is_open(&self, now: Timestamp) -> bool {
        now < self.ends && now < self.used.plus(IDLE_LIFE)
    }
}

fn begin(tables: &mut Tables, app: &App, invitation: Invitation) -> Result<String, Denied> {
    let now = app.now();
    if invitation.ends <= now {
        return Err(Denied::Wrong);
    }
    tables.sessions.retain(|_, session| session.is_open(now));
    let secret = secret(app, tables.sessions.len())?;
    let operator = invitation.operator;
    tracing::info!(%operator, "a one-time link was used");
    let session = Session { operator, ends: now.plus(SESSION_LIFE), used: now, streams: 0 };
    tables.sessions.insert(digest(&secret), session);
    Ok(secret)
}

/// A new secret, if there are not too many already.
fn secret(app: &App, open: usize) -> Result<String, Problem> {
    if open >= MOST {
        return Err(Problem::unavailable(
            "too many links or sessions are open; wait until some end",
        ));
    }
    let random = (app.random)().map_err(|error| {
        tracing::error!(%error, "no random bytes");
        Problem::unavailable("the server has no random bytes; try again later")
    })?;
    Ok(hex::encode(random))
}

fn digest(secret: &str) -> Digest {
    Digest::of(secret.as_bytes())
}
