//! The header of a LUKS2 volume, as the LUKS2 On-Disk Format Specification says.
//!
//! It holds no key. Of what it does hold, only what is declared here is read; salts, digests and the key
//! slots' areas are not.

use std::collections::BTreeMap;

use compliance_protocol::digest::Digest;
use serde::Deserialize;

/// The length of the binary header that comes before the JSON, in bytes.
pub const PREFIX: usize = 4096;

/// The longest header that the specification allows, binary and JSON, in bytes.
pub const MAX_HEADER: usize = 4 * 1024 * 1024;

/// Why a header cannot be read. Nothing here says what it contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotLuks2 {
    /// Another format, or none.
    #[error("there is no LUKS header")]
    Magic,
    /// A version other than 2.
    #[error("it is a LUKS header of version {0}")]
    Version(u16),
    /// Shorter or longer than the specification allows.
    #[error("the LUKS header does not have the length that it says")]
    Length,
    /// Its checksum is of a kind other than SHA-256, which cryptsetup writes.
    #[error("the LUKS header's checksum is not SHA-256")]
    ChecksumKind,
    /// It was changed, or was being changed while it was read.
    #[error("the LUKS header does not match its checksum")]
    Checksum,
    /// The part in JSON is not as the specification says.
    #[error("the LUKS header's metadata cannot be read")]
    Metadata,
}

/// The binary header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix {
    /// The length of binary header and JSON together, in bytes.
    pub length: usize,
    /// The volume's UUID.
    pub uuid: String,
    /// Which state of the header this is: another state has another number and another checksum.
    pub state: (u64, [u8; 64]),
}

/// What we take from a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The volume's UUID.
    pub uuid: String,
    /// The cipher of each part of the volume, in dm-crypt's words: `aes-xts-plain64`. A part that is not
    /// encrypted by dm-crypt has its kind in brackets: `(linear)`.
    pub ciphers: Vec<String>,
    /// The length of the volume's key in bits, of the shortest if there are several; `None` when no key
    /// slot tells.
    pub key_bits: Option<u32>,
    /// How many key slots are in use.
    pub keyslots: usize,
}

impl Prefix {
    /// Reads the first [`PREFIX`] bytes of a volume.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotLuks2> {
        if !bytes.starts_with(b"LUKS\xba\xbe") {
            return Err(NotLuks2::Magic);
        }
        let version = u16::from_be_bytes(at(bytes, 6)?);
        if version != 2 {
            return Err(NotLuks2::Version(version));
        }
        let length =
            usize::try_from(u64::from_be_bytes(at(bytes, 8)?)).map_err(|_| NotLuks2::Length)?;
        if length <= PREFIX || length > MAX_HEADER {
            return Err(NotLuks2::Length);
        }
        if text(&at::<32>(bytes, 72)?) != Some("sha256") {
            return Err(NotLuks2::ChecksumKind);
        }
        let uuid = text(&at::<40>(bytes, 168)?).ok_or(NotLuks2::Metadata)?.to_owned();
        let state = (u64::from_be_bytes(at(bytes, 16)?), at(bytes, CHECKSUM)?);
        Ok(Self { length, uuid, state })
    }
}

impl Header {
    /// Reads a whole header: binary and JSON, [`Prefix::length`] bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotLuks2> {
        let prefix = Prefix::parse(bytes)?;
        let bytes = bytes.get(..prefix.length).ok_or(NotLuks2::Length)?;
        if digest(bytes)?.as_bytes().as_slice() != prefix.state.1.get(..32).unwrap_or_default() {
            return Err(NotLuks2::Checksum);
        }
        let json = bytes.get(PREFIX..).unwrap_or_default();
        let json = json.split(|b| *b == 0).next().unwrap_or_default();
        let metadata: Metadata = serde_json::from_slice(json).map_err(|_| NotLuks2::Metadata)?;
        metadata.into_header(prefix.uuid).ok_or(NotLuks2::Metadata)
    }
}

/// Where the checksum of the header is, in bytes; it is taken as if zeroes were there.
const CHECKSUM: usize = 448;

#[derive(Deserialize)]
struct Metadata {
    segments: BTreeMap<String, Segment>,
    keyslots: BTreeMap<String, Keyslot>,
    digests: BTreeMap<String, Link>,
}

#[derive(Deserialize)]
struct Segment {
    r#type: String,
    encryption: Option<String>,
    #[serde(default)]
    flags: Vec<String>,
}

#[derive(Deserialize)]
struct Keyslot {
    key_size: u32,
}

/// Which key slots hold the key of which segments.
#[derive(Deserialize)]
struct Link {
    segments: Vec<String>,
    keyslots: Vec<String>,
}

impl Metadata {
    fn into_header(self, uuid: String) -> Option<Header> {
        // What a reencryption keeps for its own recovery is no part of the volume.
        let is_data =
            |segment: &Segment| !segment.flags.iter().any(|flag| flag.starts_with("backup-"));
        let data: BTreeMap<_, _> =
            self.segments.iter().filter(|(_, segment)| is_data(segment)).collect();
        let ciphers: Option<Vec<_>> = data.values().map(|segment| segment.cipher()).collect();
        let of_data = |link: &&Link| link.segments.iter().any(|id| data.contains_key(id));
        let slots = self.digests.values().filter(of_data).flat_map(|link| &link.keyslots);
        let key_bits = slots
            .filter_map(|id| self.keyslots.get(id))
            .map(|slot| slot.key_size.saturating_mul(8))
            .min();
        let ciphers = ciphers.filter(|ciphers| !ciphers.is_empty())?;
        Some(Header { uuid, ciphers, key_bits, keyslots: self.keyslots.len() })
    }
}

impl Segment {
    fn cipher(&self) -> Option<String> {
        let is_word = |text: &str| {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_:(),.".contains(&b);
            (1..=64).contains(&text.len()) && text.bytes().all(allowed)
        };
        let cipher = match &self.encryption {
            Some(encryption) => encryption.clone(),
            None => format!("({})", self.r#type),
        };
        is_word(&cipher).then_some(cipher)
    }
}

fn at<const N: usize>(bytes: &[u8], offset: usize) -> Result<[u8; N], NotLuks2> {
    let field = bytes.get(offset..offset.saturating_add(N));
    field.and_then(|field| field.try_into().ok()).ok_or(NotLuks2::Length)
}

/// The text before the first NUL.
fn text(field: &[u8]) -> Option<&str> {
    std::str::from_utf8(field.split(|b| *b == 0).next()?).ok()
}

fn digest(bytes: &[u8]) -> Result<Digest, NotLuks2> {
    let (before, rest) = bytes.split_at_checked(CHECKSUM).ok_or(NotLuks2::Length)?;
    let after = rest.get(64..).ok_or(NotLuks2::Length)?;
    Ok(Digest::of(&[before, &[0; 64], after].concat()))
}
