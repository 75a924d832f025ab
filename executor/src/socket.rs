//! The Unix socket on which the agent asks: peer credentials checked, frames bounded, one request at a
//! time on each connection.

use std::fs::Permissions;
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use compliance_protocol::local::{self, Answer, Request};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

/// A request, and where its answer goes.
pub type Asked = (Request, mpsc::Sender<Answer>);

/// The agent needs one connection and a person's `status` another. Over this many, the longest open one
/// that asks nothing is closed; over twice as many, the new one.
const MAX_CONNECTIONS: usize = 8;

/// A frame that has begun must be complete within this, and an answer be taken.
const FRAME_LIMIT: Duration = Duration::from_secs(30);

/// The socket that systemd passes (`sd_listen_fds(3)`), else one made at `path` for the agent's user.
pub fn listener(path: Option<&Path>, agent_uid: u32) -> io::Result<UnixListener> {
    if let Some(listener) = listenfd::ListenFd::from_env().take_unix_listener(0)? {
        return Ok(listener);
    }
    let path = path.ok_or_else(|| {
        let why = "systemd passed no socket and the configuration names none: set `socket`";
        io::Error::new(io::ErrorKind::InvalidInput, why)
    })?;
    remove_old(path)?;
    let listener = UnixListener::bind(path)?;
    // Who may connect is who is answered; the peer's credentials are checked all the same.
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    std::os::unix::fs::chown(path, Some(agent_uid), None)?;
    Ok(listener)
}

/// Accepts connections for as long as the process lives. `ask` takes each request to the engine.
pub fn accept(listener: &UnixListener, agent_uid: u32, ask: &mpsc::Sender<Asked>) {
    let open = Connections::default();
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        if let Err(why) = admit(&stream, agent_uid) {
            tracing::warn!(%why, "a connection to the executor's socket is refused");
            continue;
        }
        let Some(place) = open.enter(&stream) else {
            tracing::warn!("too many connections to the executor's socket");
            continue;
        };
        let ask = ask.clone();
        thread::spawn(move || {
            if let Err(error) = converse(stream, &place, &ask) {
                tracing::debug!(%error, "a connection to the executor's socket ended");
            }
        });
    }
}

/// The connections that are open, the longest open one first.
#[derive(Debug, Clone, Default)]
struct Connections(Arc<Mutex<Vec<Open>>>);

#[derive(Debug)]
struct Open {
    key: u64,
    stream: UnixStream,
    asks: bool,
    closing: bool,
}

/// A connection's place among the others; given up when dropped.
#[derive(Debug)]
struct Place {
    key: u64,
    all: Connections,
}

impl Connections {
    fn enter(&self, stream: &UnixStream) -> Option<Place> {
        let mut all = self.lock();
        if all.len() >= 2 * MAX_CONNECTIONS {
            return None;
        }
        if all.len() >= MAX_CONNECTIONS {
            let idle = all.iter_mut().find(|open| !open.asks && !open.closing)?;
            idle.closing = true;
            let _ = idle.stream.shutdown(Shutdown::Both);
        }
        let key = all.last().map_or(0, |last| last.key + 1);
        let stream = stream.try_clone().ok()?;
        all.push(Open { key, stream, asks: false, closing: false });
        Some(Place { key, all: self.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn asks(&self, asks: bool) {
        if let Some(open) = self.all.lock().iter_mut().find(|open| open.key == self.key) {
            open.asks = asks;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.lock().retain(|open| open.key != self.key);
    }
}

/// Removes the socket that an earlier process left; anything else at its path stays.
fn remove_old(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => std::fs::remove_file(path),
        Ok(_) => {
            let why = format!("{} is there and is not a socket", path.display());
            Err(io::Error::new(io::ErrorKind::AlreadyExists, why))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
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

fn converse(mut stream: UnixStream, place: &Place, ask: &mpsc::Sender<Asked>) -> io::Result<()> {
    stream.set_write_timeout(Some(FRAME_LIMIT))?;
    loop {
        let request = match read_frame(&mut stream)? {
            Some(json) => local::decode::<Request>(&json),
            None => return Ok(()),
        };
        place.asks(true);
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
        place.asks(false);
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
