//! Questions to systemd over D-Bus: through its private socket, else through the system bus. The wire
//! format is zbus's; the talking is done here, blocking, since each question has one limit in time.

pub(super) mod message;

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use compliance_protocol::time::Span;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use crate::host::HostError;
pub(super) use message::{Call, Reply};
use message::{Message, garbage, message_length};

/// What errors name.
pub(super) const SYSTEMD: &str = "systemd";

/// Where systemd listens.
#[derive(Debug, Clone)]
pub(super) struct Sockets {
    /// For root only; works without a bus.
    pub(super) private: PathBuf,
    /// The system bus.
    pub(super) system: PathBuf,
}

impl Default for Sockets {
    fn default() -> Self {
        Self {
            private: "/run/systemd/private".into(),
            system: "/run/dbus/system_bus_socket".into(),
        }
    }
}

/// The end of the time that a question may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    end: Span,
    limit: Duration,
}

impl Deadline {
    pub(super) fn after(limit: Duration) -> Self {
        let ms = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
        let end = compliance_clock::boottime().as_millis().saturating_add(ms);
        Self { end: Span::from_millis(end), limit }
    }

    /// What is left, never zero.
    pub(super) fn left(self) -> Result<Duration, HostError> {
        let left = self.end.as_millis().saturating_sub(compliance_clock::boottime().as_millis());
        match u64::try_from(left) {
            Ok(ms @ 1..) => Ok(Duration::from_millis(ms)),
            _ => Err(self.missed()),
        }
    }

    fn missed(self) -> HostError {
        HostError::TimedOut { what: SYSTEMD.to_owned(), limit: self.limit }
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct Bus {
    stream: UnixStream,
    destination: Option<&'static str>,
    serial: u32,
    received: Vec<u8>,
}

impl Bus {
    /// Connects to the first of the sockets that lets us.
    pub(super) fn connect(sockets: &Sockets, deadline: Deadline) -> Result<Self, HostError> {
        let private = Self::open(&sockets.private, None, deadline);
        let denied = match private {
            Err(HostError::NotFound(_)) => false,
            Err(HostError::Denied(_)) => true,
            other => return other,
        };
        let mut bus = match Self::open(&sockets.system, Some(MANAGER), deadline) {
            Err(HostError::NotFound(_)) if denied => Err(HostError::Denied(SYSTEMD.to_owned())),
            Err(HostError::NotFound(_)) => Err(HostError::ToolMissing(SYSTEMD.to_owned())),
            other => other,
        }?;
        let (path, interface) = ("/org/freedesktop/DBus", "org.freedesktop.DBus");
        let hello = Call::new(path, interface, "Hello", ("", &()))?;
        bus.ask_of(Some(interface), &[hello], deadline)?;
        Ok(bus)
    }

    /// Sends all calls at once; their replies, in the same order.
    pub(super) fn ask(
        &mut self,
        calls: &[Call],
        deadline: Deadline,
    ) -> Result<Vec<Reply>, HostError> {
        self.ask_of(self.destination, calls, deadline)
    }

    fn ask_of(
        &mut self,
        destination: Option<&str>,
        calls: &[Call],
        deadline: Deadline,
    ) -> Result<Vec<Reply>, HostError> {
        let first = self.serial.wrapping_add(1).max(1);
        let mut messages = Vec::new();
        for call in calls {
            self.serial = self.serial.wrapping_add(1).max(1);
            messages.extend(call.message(self.serial, destination));
        }
        self.send(&messages, deadline)?;
        let mut replies: Vec<Option<Reply>> = calls.iter().map(|_| None).collect();
        while replies.iter().any(Option::is_none) {
            let message = self.message(deadline)?;
            let index =
                message.reply_to.and_then(|to| usize::try_from(to.checked_sub(first)?).ok());
            // Signals, and answers to what an earlier question no longer waits for, are not ours.
            if let Some(slot) = index.and_then(|index| replies.get_mut(index)) {
                *slot = Some(message.into_reply()?);
            }
        }
        Ok(replies.into_iter().flatten().collect())
    }

    fn open(
        path: &Path,
        destination: Option<&'static str>,
        deadline: Deadline,
    ) -> Result<Self, HostError> {
        let stream = dial(path).map_err(|error| failed(&error, deadline))?;
        let mut bus = Self { stream, destination, serial: 0, received: Vec::new() };
        bus.authenticate(deadline)?;
        Ok(bus)
    }

    /// Says who we are; the socket tells whether that is true (D-Bus specification, `EXTERNAL`).
    fn authenticate(&mut self, deadline: Deadline) -> Result<(), HostError> {
        let uid = nix::unistd::geteuid().to_string();
        let hex: String = uid.chars().flat_map(|digit| ['3', digit]).collect(); // of ASCII digits
        // In one piece: systemd overlooks a call that comes together with BEGIN, and with the answer to
        // this it has read BEGIN.
        self.send(format!("\0AUTH EXTERNAL {hex}\r\nBEGIN\r\n").as_bytes(), deadline)?;
        let line = loop {
            if let Some(end) = self.received.windows(2).position(|pair| pair == b"\r\n") {
                break self.received.drain(..end.saturating_add(2)).collect::<Vec<_>>();
            }
            if self.received.len() > MAX_LINE {
                return Err(garbage("it greets in no known way"));
            }
            self.receive(deadline)?;
        };
        if line.starts_with(b"OK ") { Ok(()) } else { Err(HostError::Denied(SYSTEMD.to_owned())) }
    }

    fn send(&mut self, bytes: &[u8], deadline: Deadline) -> Result<(), HostError> {
        let timeout = Some(deadline.left()?);
        let sent =
            self.stream.set_write_timeout(timeout).and_then(|()| self.stream.write_all(bytes));
        sent.map_err(|error| failed(&error, deadline))
    }

    fn receive(&mut self, deadline: Deadline) -> Result<(), HostError> {
        let mut chunk = [0; 16 * 1024];
        let timeout = Some(deadline.left()?);
        let read =
            self.stream.set_read_timeout(timeout).and_then(|()| self.stream.read(&mut chunk));
        match read {
            Ok(0) => Err(failed(&ErrorKind::UnexpectedEof.into(), deadline)),
            Ok(n) => {
                self.received.extend_from_slice(chunk.get(..n).unwrap_or_default());
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(failed(&error, deadline)),
        }
    }

    fn message(&mut self, deadline: Deadline) -> Result<Message, HostError> {
        loop {
            if let Some(length) = message_length(&self.received)?
                && self.received.len() >= length
            {
                let rest = self.received.split_off(length);
                let message = std::mem::replace(&mut self.received, rest);
                return Message::parse(&message)
                    .ok_or_else(|| garbage("its message breaks the format"));
            }
            self.receive(deadline)?;
        }
    }
}

/// systemd's name on the system bus.
const MANAGER: &str = "org.freedesktop.systemd1";

const MAX_LINE: usize = 1024;

/// Connects without waiting: a listener whose queue is full would hold us up for good.
fn dial(path: &Path) -> std::io::Result<UnixStream> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

fn failed(error: &std::io::Error, deadline: Deadline) -> HostError {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => deadline.missed(),
        _ => HostError::from_io(SYSTEMD, error),
    }
}
