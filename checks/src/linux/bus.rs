//! Questions to systemd over D-Bus: through its private socket, else through the system bus. The wire
//! format is zbus's; the talking is done here, blocking, since each question has one limit in time.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use compliance_protocol::time::Span;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use serde::Serialize;
use zbus::Variant;
use zbus::wire::serialized::{Context, Data};
use zbus::wire::{DynamicType, Endian, to_bytes};

use crate::host::HostError;

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

/// A method call without its serial.
#[derive(Debug)]
pub(super) struct Call {
    path: String,
    interface: &'static str,
    member: &'static str,
    signature: &'static str,
    body: Vec<u8>,
}

impl Call {
    /// `signature` is the one of the method's arguments, which `body` holds.
    pub(super) fn new<B: Serialize + DynamicType>(
        path: &str,
        interface: &'static str,
        member: &'static str,
        (signature, body): (&'static str, &B),
    ) -> Result<Self, HostError> {
        let context = Context::new(Endian::Little, 0);
        let body = to_bytes(context, body).map_err(|_| garbage("a question cannot be written"))?;
        Ok(Self { path: path.to_owned(), interface, member, signature, body: body.to_vec() })
    }

    /// The message (D-Bus specification, "Message Format").
    fn message(&self, serial: u32, destination: Option<&str>) -> Vec<u8> {
        let mut fields = Fields::default();
        fields.add(PATH, b'o', &self.path);
        fields.add(INTERFACE, b's', self.interface);
        fields.add(MEMBER, b's', self.member);
        if let Some(name) = destination {
            fields.add(DESTINATION, b's', name);
        }
        if !self.signature.is_empty() {
            fields.add(SIGNATURE, b'g', self.signature);
        }
        let mut message = vec![b'l', METHOD_CALL, NO_AUTO_START, PROTOCOL];
        for number in [length(&self.body), serial, length(&fields.0)] {
            message.extend(number.to_le_bytes());
        }
        message.extend(&fields.0);
        message.resize(message.len().next_multiple_of(8), 0);
        message.extend(&self.body);
        message
    }
}

/// Header fields: an array of structs of a code and a variant, which starts at a multiple of 8.
#[derive(Debug, Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn add(&mut self, code: u8, kind: u8, text: &str) {
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        self.0.extend([code, 1, kind, 0]);
        match kind {
            b'g' => self.0.push(u8::try_from(text.len()).unwrap_or(u8::MAX)),
            _ => self.0.extend(length(text.as_bytes()).to_le_bytes()),
        }
        self.0.extend(text.bytes().chain([0]));
    }
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    endian: Endian,
    body: Vec<u8>,
}

impl Reply {
    /// The reply in a whole message.
    pub(super) fn parse(message: &[u8]) -> Option<Self> {
        Message::parse(message)?.into_reply().ok()
    }

    /// The body as what the signature of the method says.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&Data<'_, '_>) -> Option<T>,
    ) -> Result<T, HostError> {
        let data = Data::new(self.body.as_slice(), Context::new(self.endian, 0));
        read(&data).ok_or_else(|| garbage("the answer is not of the type that was asked for"))
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
        let hex: String = uid.bytes().map(|digit| format!("{digit:02x}")).collect();
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

// Field codes, message types and a flag (D-Bus specification, "Message Format").
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
pub(super) const ERROR_NAME: u8 = 4;
pub(super) const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;
const METHOD_CALL: u8 = 1;
pub(super) const METHOD_RETURN: u8 = 2;
pub(super) const ERROR: u8 = 3;
const NO_AUTO_START: u8 = 2;
const PROTOCOL: u8 = 1;

const MAX_LINE: usize = 1024;

/// The longest message that is read; 10,000 units take about 2 MiB.
const MAX_MESSAGE: usize = 8 * 1024 * 1024;

type Header<'a> = (u8, u8, u8, u8, u32, u32, Vec<(u8, Variant<'a>)>);

#[derive(Debug)]
struct Message {
    reply_to: Option<u32>,
    error: Option<String>,
    endian: Endian,
    body: Vec<u8>,
}

impl Message {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let endian = endian_of(bytes)?;
        // systemd tells its private connections of every change; none of that is read.
        if !matches!(bytes.get(1), Some(&(METHOD_RETURN | ERROR))) {
            return Some(Self { reply_to: None, error: None, endian, body: Vec::new() });
        }
        let data = Data::new(bytes, Context::new(endian, 0));
        let (header, end): (Header<'_>, usize) = data.deserialize().ok()?;
        let (mut reply_to, mut error) = (None, None);
        for (code, value) in &header.6 {
            match (*code, value) {
                (REPLY_SERIAL, Variant::U32(serial)) => reply_to = Some(*serial),
                (ERROR_NAME, Variant::Str(name)) => error = Some(name.to_string()),
                _ => {}
            }
        }
        let body = bytes.get(end.next_multiple_of(8)..)?.to_vec();
        Some(Self { reply_to, error, endian, body })
    }

    fn into_reply(self) -> Result<Reply, HostError> {
        let systemd = || SYSTEMD.to_owned();
        match self.error.as_deref().map(|name| name.rsplit('.').next().unwrap_or_default()) {
            None => Ok(Reply { endian: self.endian, body: self.body }),
            Some("AccessDenied" | "InteractiveAuthorizationRequired") => {
                Err(HostError::Denied(systemd()))
            }
            Some("ServiceUnknown" | "NameHasNoOwner") => Err(HostError::ToolMissing(systemd())),
            // The message beside the name may hold anything, so it stays here.
            Some(_) => {
                Err(HostError::Io { what: systemd(), why: "it refused the question".to_owned() })
            }
        }
    }
}

/// How long the message at the start of `bytes` is, once its first 16 bytes are there.
fn message_length(bytes: &[u8]) -> Result<Option<usize>, HostError> {
    let Some(start) = bytes.get(..16) else { return Ok(None) };
    let number = |at: usize| {
        let four: [u8; 4] = start.get(at..at.checked_add(4)?)?.try_into().ok()?;
        let number = match endian_of(start)? {
            Endian::Little => u32::from_le_bytes(four),
            Endian::Big => u32::from_be_bytes(four),
        };
        usize::try_from(number).ok()
    };
    let (Some(body), Some(fields)) = (number(4), number(12)) else {
        return Err(garbage("its message breaks the format"));
    };
    match body.checked_add(fields.next_multiple_of(8)).and_then(|sum| sum.checked_add(16)) {
        Some(length) if length <= MAX_MESSAGE => Ok(Some(length)),
        _ => Err(HostError::TooLarge { what: SYSTEMD.to_owned(), limit: MAX_MESSAGE }),
    }
}

fn endian_of(bytes: &[u8]) -> Option<Endian> {
    match bytes.first()? {
        b'l' => Some(Endian::Little),
        b'B' => Some(Endian::Big),
        _ => None,
    }
}

/// Connects without waiting: a listener whose queue is full would hold us up for good.
fn dial(path: &Path) -> std::io::Result<UnixStream> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(std::os::fd::AsRawFd::as_raw_fd(&socket), &UnixAddr::new(path)?)?;
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

fn garbage(why: &str) -> HostError {
    HostError::Garbage { what: SYSTEMD.to_owned(), why: why.to_owned() }
}
