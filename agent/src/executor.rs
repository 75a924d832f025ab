//! The executor's side: frames over its Unix socket, and only if the right user is at the other end.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use compliance_protocol::local::{self, Answer, FrameError, Request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// What an answer may take, the connection included.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// The executor, connected or not.
#[derive(Debug)]
pub struct Executor {
    socket: PathBuf,
    uid: u32,
    stream: Option<UnixStream>,
}

/// Why the executor did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// Nobody listens, or we may not connect.
    #[error("cannot connect to {socket}: {source}; check that compliance-executor runs")]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Somebody else listens.
    #[error(
        "user {found} is at {socket}, not user {expected}: not told anything; see who made that socket"
    )]
    Impostor {
        /// The socket.
        socket: PathBuf,
        /// Who is there.
        found: u32,
        /// Who should be.
        expected: u32,
    },
    /// The connection broke.
    #[error("the executor closed the connection before it answered: {0}; it may be restarting")]
    Broken(#[from] io::Error),
    /// A frame that is too large or cannot be read.
    #[error(
        "the executor and this agent do not understand each other: {0}; check that their versions fit"
    )]
    Frame(#[from] FrameError),
    /// Nothing came in time.
    #[error("the executor did not answer within {} s; see its log", ANSWER_WITHIN.as_secs())]
    Late,
}

impl Executor {
    /// The executor at `socket`, which must run as the user `uid`.
    pub fn new(socket: &Path, uid: u32) -> Self {
        Self { socket: socket.to_owned(), uid, stream: None }
    }

    /// Asks, on the open connection or a new one. After an error the connection is closed.
    pub async fn ask(&mut self, request: &Request) -> Result<Answer, ExecutorError> {
        let frame = local::encode(request)?;
        let answered = tokio::time::timeout(ANSWER_WITHIN, self.exchange(&frame)).await;
        let answer = answered.unwrap_or(Err(ExecutorError::Late));
        if answer.is_err() {
            self.hang_up();
        }
        answer
    }

    /// Closes the connection: between cycles there is none, so that a restart goes unnoticed.
    pub fn hang_up(&mut self) {
        self.stream = None;
    }

    async fn exchange(&mut self, frame: &[u8]) -> Result<Answer, ExecutorError> {
        let stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect().await?,
        };
        let stream = self.stream.insert(stream);
        stream.write_all(frame).await?;
        let mut prefix = [0; 4];
        stream.read_exact(&mut prefix).await?;
        let mut json = vec![0; local::frame_size(prefix)?];
        stream.read_exact(&mut json).await?;
        Ok(local::decode(&json)?)
    }

    async fn connect(&self) -> Result<UnixStream, ExecutorError> {
        let socket = || self.socket.clone();
        let cannot = |source| ExecutorError::Connect { socket: socket(), source };
        let stream = UnixStream::connect(&self.socket).await.map_err(cannot)?;
        match stream.peer_cred().map_err(cannot)?.uid() {
            found if found == self.uid => Ok(stream),
            found => Err(ExecutorError::Impostor { socket: socket(), found, expected: self.uid }),
        }
    }
}
