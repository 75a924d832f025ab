//! Invitations and the sessions that they become. Both live in memory only, by digests of their secrets.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use compliance_protocol::digest::Digest;
use compliance_protocol::name::Operator;
use compliance_protocol::time::{Span, Timestamp};

use super::attempts::Attempts;
use super::code::Code;
use crate::app::Random;
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
    /// The end of the certificate that asked for it, which no session outlives.
    certificate_ends: Timestamp,
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
    /// An invitation for `operator`, whose certificate ends then.
    pub(crate) fn invite(
        &self,
        operator: Operator,
        certificate_ends: Timestamp,
        now: Timestamp,
        random: &Random,
    ) -> Result<Invited, Problem> {
        let mut tables = self.tables();
        tables.invitations.retain(|_, invitation| now < invitation.ends);
        let token = secret(random, tables.invitations.len())?;
        let code = Code::of(&token);
        let ends = now.plus(INVITATION_LIFE).min(certificate_ends);
        tracing::info!(%operator, "a one-time link was made");
        let invitation =
            Invitation { operator, code: digest(code.as_str()), ends, certificate_ends };
        tables.invitations.insert(digest(&token), invitation);
        Ok(Invited { token, code, ends })
    }

    /// Uses an invitation up by its link; returns the session's secret. Nobody guesses a link, so wrong ones
    /// are not counted: any page in an operator's browser could open some, and lock the codes out.
    pub(super) fn by_link(
        &self,
        token: &str,
        now: Timestamp,
        random: &Random,
    ) -> Result<String, Denied> {
        let mut tables = self.tables();
        match tables.invitations.remove(&digest(token)) {
            Some(invitation) => begin(&mut tables, invitation, now, random),
            None => Err(Denied::Wrong),
        }
    }

    /// The same by its code, which could be guessed by who has many tries.
    pub(super) fn by_code(
        &self,
        code: &Code,
        now: Timestamp,
        random: &Random,
    ) -> Result<String, Denied> {
        let mut tables = self.tables();
        self.attempts.begin(now).map_err(Denied::TooMany)?;
        let code = digest(code.as_str());
        let found = tables.invitations.iter().find(|(_, invitation)| invitation.code == code);
        let link = *found.ok_or(Denied::Wrong)?.0;
        self.attempts.was_right();
        let invitation = tables.invitations.remove(&link).ok_or(Denied::Wrong)?;
        begin(&mut tables, invitation, now, random)
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

fn begin(
    tables: &mut Tables,
    invitation: Invitation,
    now: Timestamp,
    random: &Random,
) -> Result<String, Denied> {
    if invitation.ends <= now {
        return Err(Denied::Wrong);
    }
    tables.sessions.retain(|_, session| session.is_open(now));
    let secret = secret(random, tables.sessions.len())?;
    let operator = invitation.operator;
    tracing::info!(%operator, "a one-time link was used");
    let ends = now.plus(SESSION_LIFE).min(invitation.certificate_ends);
    let session = Session { operator, ends, used: now, streams: 0 };
    tables.sessions.insert(digest(&secret), session);
    Ok(secret)
}

/// A new secret, if there are not too many already.
fn secret(random: &Random, open: usize) -> Result<String, Problem> {
    if open >= MOST {
        return Err(Problem::unavailable(
            "too many links or sessions are open; wait until some end",
        ));
    }
    let bytes = random().map_err(|error| {
        tracing::error!(%error, "no random bytes");
        Problem::unavailable("the server has no random bytes; try again later")
    })?;
    Ok(hex::encode(bytes))
}

fn digest(secret: &str) -> Digest {
    Digest::of(secret.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_167_671_000);

    fn later(seconds: i64) -> Timestamp {
        NOW.plus(Span::from_secs(seconds))
    }

    fn random() -> Random {
        let next = AtomicU8::new(0);
        Arc::new(move || Ok([next.fetch_add(1, Ordering::Relaxed); 32]))
    }

    fn invite(sessions: &Sessions, random: &Random) -> Invited {
        invite_until(later(30 * 24 * 3600), sessions, random)
    }

    fn invite_until(ends: Timestamp, sessions: &Sessions, random: &Random) -> Invited {
        sessions.invite("ada".parse().unwrap(), ends, NOW, random).unwrap()
    }

    #[test]
    fn an_invitation_is_good_once_for_five_minutes_by_link_or_by_code() {
        let (sessions, random) = (Sessions::default(), random());
        let (first, second) = (invite(&sessions, &random), invite(&sessions, &random));
        assert!(sessions.by_link(&first.token, later(299), &random).is_ok());
        assert!(sessions.by_code(&second.code, later(299), &random).is_ok());
        for used in [&first, &second] {
            let (link, code) = (&used.token, &used.code);
            assert_eq!(sessions.by_link(link, later(299), &random), Err(Denied::Wrong));
            assert_eq!(sessions.by_code(code, later(299), &random), Err(Denied::Wrong));
        }
        for _ in 0..2 {
            let late = invite(&sessions, &random);
            assert_eq!(sessions.by_link(&late.token, later(300), &random), Err(Denied::Wrong));
            assert_eq!(sessions.by_code(&late.code, later(300), &random), Err(Denied::Wrong));
        }
    }

    #[test]
    fn a_session_ends_after_half_an_hour_without_use_and_after_eight_hours_anyway() {
        let (sessions, random) = (Sessions::default(), random());
        let begin = || {
            let token = invite(&sessions, &random).token;
            sessions.by_link(&token, NOW, &random).unwrap()
        };
        let (used, left) = (begin(), begin());
        for minutes in 1..480 {
            assert!(sessions.who(&used, later(60 * minutes)).is_some(), "{minutes}");
        }
        assert!(sessions.who(&used, later(60 * 480)).is_none());
        assert!(sessions.who(&left, later(30 * 60)).is_none());
        let ended = begin();
        sessions.leave(&ended);
        assert!(sessions.who(&ended, NOW).is_none());
    }

    #[test]
    fn neither_an_invitation_nor_its_session_outlives_the_certificate_that_asked_for_it() {
        let (sessions, random) = (Sessions::default(), random());
        let invited = invite_until(later(1200), &sessions, &random);
        assert_eq!(invited.ends, later(300));
        let session = sessions.by_link(&invited.token, NOW, &random).unwrap();
        assert!(sessions.who(&session, later(1199)).is_some());
        assert!(sessions.who(&session, later(1200)).is_none());
        let invited = invite_until(later(60), &sessions, &random);
        assert_eq!(invited.ends, later(60));
        assert_eq!(sessions.by_code(&invited.code, later(60), &random), Err(Denied::Wrong));
    }

    #[test]
    fn when_there_were_too_many_wrong_codes_only_a_link_helps() {
        let (sessions, random) = (Sessions::default(), random());
        let [by_link, by_code] = [(); 2].map(|()| invite(&sessions, &random));
        let wrong = Code::typed("0000-0000-0000");
        for _ in 0..10 {
            assert_eq!(sessions.by_code(&wrong, NOW, &random), Err(Denied::Wrong));
        }
        let wait = Span::from_secs(6);
        assert_eq!(sessions.by_code(&wrong, NOW, &random), Err(Denied::TooMany(wait)));
        assert_eq!(sessions.by_code(&by_code.code, NOW, &random), Err(Denied::TooMany(wait)));
        assert_eq!(sessions.by_link("no link", NOW, &random), Err(Denied::Wrong));
        assert!(sessions.by_link(&by_link.token, NOW, &random).is_ok());
        assert!(sessions.by_code(&by_code.code, later(6), &random).is_ok());
    }

    #[test]
    fn who_opens_wrong_links_locks_no_code_out() {
        let (sessions, random) = (Sessions::default(), random());
        let invited = invite(&sessions, &random);
        for _ in 0..100 {
            assert_eq!(sessions.by_link("no link", NOW, &random), Err(Denied::Wrong));
        }
        assert!(sessions.by_code(&invited.code, NOW, &random).is_ok());
    }

    #[test]
    fn a_session_has_four_streams_and_none_without_a_session() {
        let (sessions, random) = (Sessions::default(), random());
        let token = invite(&sessions, &random).token;
        let secret = sessions.by_link(&token, NOW, &random).unwrap();
        assert!((0..STREAMS).all(|_| sessions.begin_stream(&secret)));
        assert!(!sessions.begin_stream(&secret));
        sessions.end_stream(&secret);
        assert!(sessions.begin_stream(&secret));
        assert!(!sessions.begin_stream("nobody"));
    }
}
