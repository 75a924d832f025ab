//! Messages, as the D-Bus specification has them under "Message Format". The values in them are zbus's.

use serde::Serialize;
use zbus::Variant;
use zbus::wire::serialized::{Context, Data};
use zbus::wire::{DynamicType, Endian, to_bytes};

use super::SYSTEMD;
use crate::host::HostError;

/// A method call without its serial.
#[derive(Debug)]
pub(in crate::linux) struct Call {
    path: String,
    interface: &'static str,
    member: &'static str,
    signature: &'static str,
    body: Vec<u8>,
}

impl Call {
    /// `signature` is the one of the method's arguments, which `body` holds.
    pub(in crate::linux) fn new<B: Serialize + DynamicType>(
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
    pub(super) fn message(&self, serial: u32, destination: Option<&str>) -> Vec<u8> {
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
pub(in crate::linux) struct Reply {
    endian: Endian,
    body: Vec<u8>,
}

impl Reply {
    /// The reply in a whole message.
    pub(in crate::linux) fn parse(message: &[u8]) -> Option<Self> {
        Message::parse(message)?.into_reply().ok()
    }

    /// The body as what the signature of the method says.
    pub(in crate::linux) fn read<T>(
        &self,
        read: impl FnOnce(&Data<'_, '_>) -> Option<T>,
    ) -> Result<T, HostError> {
        let data = Data::new(self.body.as_slice(), Context::new(self.endian, 0));
        read(&data).ok_or_else(|| garbage("the answer is not of the type that was asked for"))
    }
}

// Field codes, message types and a flag (D-Bus specification, "Message Format").
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
pub(in crate::linux) const ERROR_NAME: u8 = 4;
pub(in crate::linux) const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;
const METHOD_CALL: u8 = 1;
pub(in crate::linux) const METHOD_RETURN: u8 = 2;
pub(in crate::linux) const ERROR: u8 = 3;
const NO_AUTO_START: u8 = 2;
const PROTOCOL: u8 = 1;

/// The longest message that is read; 10,000 units take about 2 MiB.
const MAX_MESSAGE: usize = 8 * 1024 * 1024;

/// The first seven parts of a message.
type Header<'a> = (u8, u8, u8, u8, u32, u32, Vec<(u8, Variant<'a>)>);

/// A message that came.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) reply_to: Option<u32>,
    error: Option<String>,
    endian: Endian,
    body: Vec<u8>,
}

impl Message {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
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

    pub(super) fn into_reply(self) -> Result<Reply, HostError> {
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
pub(super) fn message_length(bytes: &[u8]) -> Result<Option<usize>, HostError> {
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

pub(super) fn garbage(why: &str) -> HostError {
    HostError::Garbage { what: SYSTEMD.to_owned(), why: why.to_owned() }
}
