//! Why there is no answer.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use http_body_util::LengthLimitError;

use crate::tls;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The name did not resolve.
    #[error("{host} does not resolve: {detail}; check the name and the resolver")]
    Dns {
        /// Host and port.
        host: String,
        /// What the resolver said.
        detail: String,
    },
    /// There was no connection, or it broke.
    #[error("no connection to {host}: {detail}; check that the server runs and can be reached")]
    Connect {
        /// Host and port.
        host: String,
        /// What the system said.
        detail: String,
    },
    /// One side did not trust the other.
    #[error(
        "no trust between us and {host}: {detail}; check both certificates, the authority and the clock"
    )]
    Tls {
        /// Host and port.
        host: String,
        /// What TLS said.
        detail: String,
    },
    /// The deadline passed.
    #[error("no complete answer from {host} within {} s; it is asked again later", after.as_secs_f32())]
    Timeout {
        /// Host and port.
        host: String,
        /// How long was waited.
        after: Duration,
    },
    /// The answer's body is over the limit; what came of it is dropped.
    #[error(
        "the answer of {host} is larger than {limit} bytes; this is not the server it should be"
    )]
    TooLarge {
        /// Host and port.
        host: String,
        /// The limit, in bytes.
        limit: usize,
    },
    /// What came is not HTTP/1.1.
    #[error("{host} does not answer with HTTP/1.1: {detail}; check the address")]
    Protocol {
        /// Host and port.
        host: String,
        /// What was wrong with it.
        detail: String,
    },
    /// The address cannot be asked.
    #[error("{url:?} cannot be asked: {detail}; write https://HOST[:PORT]/PATH")]
    Url {
        /// The address.
        url: String,
        /// What is wrong with it.
        detail: String,
    },
}

impl Error {
    /// Finds in `error` and what caused it the most telling cause.
    pub(crate) fn of(error: &(dyn StdError + 'static), host: &str, limits: &crate::Limits) -> Self {
        let (host, causes) = (host.to_owned(), causes(error));
        let find = |f: &dyn Fn(&(dyn StdError + 'static)) -> Option<String>| {
            causes.iter().find_map(|c| f(*c))
        };
        let last = || causes.last().map(ToString::to_string).unwrap_or_default();
        if causes.iter().any(|cause| cause.is::<LengthLimitError>()) {
            return Self::TooLarge { host, limit: limits.body };
        }
        if let Some(detail) = find(&tls::failure) {
            return Self::Tls { host, detail };
        }
        // hyper-util keeps the type of this one to itself.
        if causes.iter().any(|cause| cause.to_string() == "dns error") {
            return Self::Dns { host, detail: last() };
        }
        if causes.iter().any(|cause| io_kind(*cause) == Some(io::ErrorKind::TimedOut)) {
            return Self::Timeout { host, after: limits.connect };
        }
        if causes.iter().any(|cause| io_kind(*cause).is_some() || is_cut_short(*cause)) {
            return Self::Connect { host, detail: last() };
        }
        Self::Protocol { host, detail: last() }
    }
}

/// `error`, what caused it, and so on; also through `io::Error`, which does not name what it wraps.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> Vec<&'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| {
        let error = *error;
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        }
    })
    .collect()
}

fn io_kind(error: &(dyn StdError + 'static)) -> Option<io::ErrorKind> {
    error.downcast_ref::<io::Error>().map(io::Error::kind)
}

fn is_cut_short(error: &(dyn StdError + 'static)) -> bool {
    error.downcast_ref::<hyper::Error>().is_some_and(|error| {
        error.is_incomplete_message() || error.is_canceled() || error.is_closed()
    })
}
