//! The local protocol between agent and executor: length-prefixed JSON frames on a Unix socket.
//!
//! A frame is its length as four bytes, big-endian, and that many bytes of JSON. The agent asks, the
//! executor answers; the set of requests is closed.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::bytes::Bytes;
use crate::digest::Digest;
use crate::evidence::SignedBundle;
use crate::feed::Ticket;
use crate::status::Status;
use crate::wire::UploadResult;

/// The largest frame, in bytes, without its length.
pub const MAX_FRAME: usize = 1536 * 1024;

/// What the agent may ask of the executor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Permission to poll once.
    Ticket {},
    /// What the control plane answered, as raw bytes.
    Feed {
        /// The feed head's envelope.
        head: Bytes,
        /// Order envelopes, or whatever came in their place.
        orders: Vec<Bytes>,
        /// The evidence log's signed checkpoint.
        checkpoint: String,
        /// The proof that it extends the one last verified.
        consistency: Vec<Digest>,
    },
    /// Evidence that has no receipt yet, oldest first.
    Pending {
        /// At most this many bytes.
        bytes: u64,
    },
    /// What the control plane answered to an upload.
    Receipts {
        /// One for each bundle sent.
        results: Vec<UploadResult>,
        /// The evidence log's signed checkpoint.
        checkpoint: String,
        /// The proof that it extends the one last verified.
        consistency: Vec<Digest>,
    },
    /// Something that the agent noticed; recorded as a claim of the agent's, and nothing follows from it.
    Event {
        /// What it claims.
        connectivity: Connectivity,
        /// The kind of failure, one of a closed set.
        cause: ConnectivityCause,
    },
    /// The state of everything.
    Status {},
}

/// Whether the agent reaches the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Connectivity {
    /// It does again.
    Restored,
    /// It does not.
    Lost,
}

/// Where reaching the control plane failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectivityCause {
    /// The name did not resolve.
    Dns,
    /// No connection.
    Connect,
    /// No trust: the TLS handshake failed.
    Tls,
    /// The server answered with an error.
    Server,
    /// No answer in time.
    Timeout,
    /// Nothing failed.
    None,
}

/// What the executor answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// To [`Request::Ticket`].
    Ticket {
        /// The ticket.
        ticket: Ticket,
    },
    /// To [`Request::Feed`]: whether the head verified; what became of orders is in the evidence.
    Feed {
        /// The head verified and answers the outstanding ticket.
        fresh: bool,
        /// How far the evidence log is verified now: a proof from there is wanted with receipts.
        log_size: u64,
    },
    /// To [`Request::Pending`].
    Pending {
        /// The bundles, in chain order.
        bundles: Vec<SignedBundle>,
    },
    /// To [`Request::Receipts`].
    Receipts {
        /// How many receipts verified and were recorded.
        recorded: u64,
        /// How far the evidence log is verified now.
        log_size: u64,
    },
    /// To [`Request::Event`].
    Event {},
    /// To [`Request::Status`].
    Status {
        /// The state of everything.
        status: Box<Status>,
    },
    /// The request was not carried out.
    Error {
        /// Why, in one sentence.
        detail: String,
    },
}

/// Why a frame is not taken.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The frame is over [`MAX_FRAME`].
    #[error("the frame has {0} bytes; at most {MAX_FRAME} are read")]
    Size(usize),
    /// The frame is not the JSON of a request or an answer.
    #[error("the frame cannot be read: {0}")]
    Shape(#[from] serde_json::Error),
}

/// A value as a frame, with its length in front.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, FrameError> {
    let json = serde_json::to_vec(value)?;
    let size = u32::try_from(json.len()).map_err(|_| FrameError::Size(json.len()))?;
    if json.len() > MAX_FRAME {
        return Err(FrameError::Size(json.len()));
    }
    let mut frame = size.to_be_bytes().to_vec();
    frame.extend_from_slice(&json);
    Ok(frame)
}

/// How many bytes follow a frame's first four; refused over [`MAX_FRAME`], before anything is allocated.
pub fn frame_size(prefix: [u8; 4]) -> Result<usize, FrameError> {
    match usize::try_from(u32::from_be_bytes(prefix)) {
        Ok(size) if size <= MAX_FRAME => Ok(size),
        Ok(size) => Err(FrameError::Size(size)),
        Err(_) => Err(FrameError::Size(usize::MAX)),
    }
}

/// Reads what follows a frame's first four bytes.
pub fn decode<T: DeserializeOwned>(json: &[u8]) -> Result<T, FrameError> {
    Ok(serde_json::from_slice(json)?)
}
