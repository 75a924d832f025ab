//! The Unix socket on which the agent asks: peer credentials checked, frames bounded, one request at a
//! time on each connection.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use compliance_protocol::local::{self, Answer, Request};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

/// A request, and where its answer goes.
pub type Asked = (Request, mpsc::Sender<Answer>);

/// The agent needs one connection and a person's `status` another; more are closed at once.
const MAX_CONNECTIONS: usize = 8;

/// A frame that has begun must be complete within this, and an answer be taken.
const FRAME_LIMIT: Duration = Duration::from_secs(30);

/// The socket that systemd passes (`sd_listen_fds(3)`), else one made at `path`.
pub fn listener(path: Option<&Path>) -> io::Result<UnixListener> {
    if let Some(listener) = listenfd::ListenFd::from_env().take_unix_listener(0)? {
        return Ok(listener);
    }
    let path = path.ok_or_else(|| {
        let why = "systemd passed no socket and the configuration names none: set `socket`";
        io::Error::new(io::ErrorKind::InvalidInput, why)
    })?;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    UnixListener::bind(path)
}

/// Accepts connections for as long as the process lives. `ask` takes each request to the engine.
pub fn accept(listener: &UnixListener, agent_uid: u32, ask: &mpsc::Sender<Asked>) {
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        if let Err(why) = admit(&stream, agent_uid) {
            tracing::warn!(%why, "a connection to the executor's socket is refused");
            continue;
        }
        if open.fetch_add(1, Ordering::SeqCst) >= MAX_CONNECTIONS {
            tracing::warn!("too many connections to the executor's socket");
            open.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        let (open, ask) = (Arc::clone(&open), ask.clone());
        thread::spawn(move || {
            if let Err(error) = converse(stream, &ask) {
                tracing::debug!(%error, "a connection to the executor's socket ended");
            }
            open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// Only the agent's user and root are answered.
fn admit(stream: &UnixStream, agent_uid: u32) -> Result<(), String> {
    let peer = getsockopt(stream, PeerCredentials).map_err(|error| error.to_string())?;
    match peer.uid() {
        0 => Ok(()),
        uid if uid == agent_uid => Ok(()),
        uid => Err(format!("user {uid} is neither root nor the agent's ({agent_uid})")),
    }
}

fn converse(mut stream: UnixStream, ask: &mpsc::Sender<Asked>) -> io::Result<()> {
    stream.set_write_timeout(Some(FRAME_LIMIT))?;
    loop {
        let request = match read_frame(&mut stream)? {
            Some(json) => local::decode::<Request>(&json),
            None => return Ok(()),
        };
        let answer = match request {
            Ok(request) => {
                let (reply, answer) = mpsc::channel();
                let gone = |_| io::Error::from(io::ErrorKind::ConnectionAborted);
                ask.send((request, reply))
                    .map_err(|_| io::Error::from(io::ErrorKind::ConnectionAborted))?;
                answer.recv().map_err(gone)?
            }
            Err(error) => Answer::Error { detail: error.to_string() },
        };
        let frame = local::encode(&answer).map_err(io::Error::other)?;
        stream.write_all(&frame)?;
    }
}

/// One frame; `None` when the peer closed the connection between two.
fn read_frame(stream: &mut UnixStream) -> io::Result<Option<Vec<u8>>> {
    let mut prefix = [0; 4];
    stream.set_read_timeout(None)?;
    if stream.read(prefix.get_mut(..1).unwrap_or_default())? == 0 {
        return Ok(None);
    }
    stream.set_read_timeout(Some(FRAME_LIMIT))?;
    stream.read_exact(prefix.get_mut(1..).unwrap_or_default())?;
    let size = local::frame_size(prefix).map_err(io::Error::other)?;
    let mut json = vec![0; size];
    stream.read_exact(&mut json)?;
    Ok(Some(json))
}
