//! The log's public key as C2SP signed-note names it, and its text form, the vkey.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::digest::Digest;
use crate::key::PublicKey;

/// The signature type "Ed25519 as specified by this document" of signed-note.
const ED25519: u8 = 0x01;

/// A vkey is two dozen bytes more than its name; nothing near this length is one.
const MAX_VKEY_BYTES: usize = 4096;

/// A named Ed25519 key that signs notes (C2SP signed-note, "Verifier keys").
///
/// In text a vkey, as Go's `note.NewVerifier` reads it:
/// `<name>+<key id, 8 lower-case hexadecimal digits>+<base64 of 0x01 and the 32 bytes of the key>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    key: PublicKey,
    id: [u8; 4],
}

impl VerifierKey {
    /// The key `key` under the name `name`, which should be the log's origin.
    ///
    /// # Errors
    /// [`VerifierKeyError::BadName`] when the name is empty or has a space, a `+` or a control
    /// character.
    pub fn new(name: &str, key: PublicKey) -> Result<Self, VerifierKeyError> {
        if !is_key_name(name) {
            return Err(VerifierKeyError::BadName);
        }
        let mut bytes = name.as_bytes().to_vec();
        bytes.extend([b'\n', ED25519]);
        bytes.extend(key.as_bytes());
        let [a, b, c, d, ..] = *Digest::of(&bytes).as_bytes();
        Ok(Self { name: name.to_owned(), key, id: [a, b, c, d] })
    }

    /// The name that stands in its signature lines.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public key.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The key id: the first 4 bytes of `SHA-256(name || 0x0A || 0x01 || public key)`.
    pub fn id(&self) -> [u8; 4] {
        self.id
    }

    /// The 33 bytes that a vkey encodes: the signature type and the key.
    fn typed_key(&self) -> Vec<u8> {
        let mut bytes = vec![ED25519];
        bytes.extend(self.key.as_bytes());
        bytes
    }
}

/// Why a verifier key is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifierKeyError {
    /// Signed-note: "Key names MUST be non-empty and MUST NOT contain any Unicode spaces or plus".
    #[error(
        "a verifier key's name must not be empty nor have a space, a '+' or a control character"
    )]
    BadName,
    /// The text is not `<name>+<8 hexadecimal digits>+<base64 of 33 bytes>`.
    #[error(
        "this is not a verifier key of the form \
         <name>+<8 lower-case hexadecimal digits>+<base64>; copy the whole line of the vkey file"
    )]
    Malformed,
    /// The signature type is not 0x01; a witness's vkey has 0x04, for example.
    #[error("this verifier key is not for plain Ed25519 signatures (type 0x01)")]
    OtherType,
    /// The 32 bytes are not a usable Ed25519 public key.
    #[error("the Ed25519 public key in this verifier key is invalid or weak")]
    BadKey,
    /// The key id is not the hash of the name and the key: one of the three was changed.
    #[error("the key id in this verifier key does not belong to its name and key")]
    WrongId,
}

impl FromStr for VerifierKey {
    type Err = VerifierKeyError;

    fn from_str(text: &str) -> Result<Self, VerifierKeyError> {
        use VerifierKeyError::{BadKey, Malformed, OtherType, WrongId};
        if text.len() > MAX_VKEY_BYTES {
            return Err(Malformed);
        }
        // The base64 may have a '+' of its own.
        let (name, rest) = text.split_once('+').ok_or(Malformed)?;
        let (id, typed_key) = rest.split_once('+').ok_or(Malformed)?;
        let typed_key = STANDARD.decode(typed_key).map_err(|_| Malformed)?;
        let (kind, key) = typed_key.split_first().ok_or(Malformed)?;
        if *kind != ED25519 {
            return Err(OtherType);
        }
        let key = key.try_into().map_err(|_| Malformed)?;
        let key = Self::new(name, PublicKey::from_bytes(key).map_err(|_| BadKey)?)?;
        if id.len() != 8 || !id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(Malformed);
        }
        if hex::encode(key.id) == id { Ok(key) } else { Err(WrongId) }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let typed_key = STANDARD.encode(self.typed_key());
        write!(f, "{}+{}+{typed_key}", self.name, hex::encode(self.id))
    }
}

/// Whether a signature line can name `name` (signed-note, "Format").
pub(super) fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c == '+' || c < ' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tlog::testing::LogKey;

    /// From C2SP signed-note, from Go's `sumdb/note` tests and the key of sum.golang.org.
    const PUBLISHED: [&str; 3] = [
        "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
    ];

    #[test]
    fn published_verifier_keys_are_read_and_written_back() {
        for text in PUBLISHED {
            let key: VerifierKey = text.parse().unwrap();
            assert_eq!(key.to_string(), text);
            assert!(text.starts_with(key.name()));
            assert_eq!(VerifierKey::new(key.name(), key.key().clone()), Ok(key));
        }
    }

    #[test]
    fn the_example_of_the_specification_verifies() {
        let key: VerifierKey = PUBLISHED[0].parse().unwrap();
        let line = "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHj\
                    G1Yu72IneyaQM=";
        let line = STANDARD.decode(line).unwrap();
        assert_eq!(line[..4], key.id());
        assert!(key.key().verifies(b"This is an example message.\n", &line[4..]));
    }

    #[test]
    fn no_part_and_no_altered_character_of_a_verifier_key_is_one() {
        for text in PUBLISHED {
            for from in 0..=text.len() {
                for to in from..=text.len() {
                    let part = &text[from..to];
                    assert!(part == text || part.parse::<VerifierKey>().is_err(), "{part}");
                }
            }
            for at in 0..text.len() {
                let mut bytes = text.as_bytes().to_vec();
                bytes[at] = if bytes[at] == b'z' { b'a' } else { bytes[at] + 1 };
                let altered = String::from_utf8(bytes).unwrap();
                assert!(altered.parse::<VerifierKey>().is_err(), "{altered}");
            }
        }
    }

    #[test]
    fn each_rule_has_its_refusal() {
        let text = LogKey::new("example.com/log", 7).public.to_string();
        let [name, id, key] = text.splitn(3, '+').collect::<Vec<_>>()[..] else { panic!("{text}") };
        let typed = |kind: u8, key: &[u8]| STANDARD.encode([&[kind], key].concat());
        let weak = [&[1][..], &[0; 31]].concat();
        for (bad, error) in [
            (format!("+{id}+{key}"), VerifierKeyError::BadName),
            (format!("a b+{id}+{key}"), VerifierKeyError::BadName),
            (format!("a\u{a0}b+{id}+{key}"), VerifierKeyError::BadName),
            (format!("a\u{1}b+{id}+{key}"), VerifierKeyError::BadName),
            (format!("other+{id}+{key}"), VerifierKeyError::WrongId),
            (format!("{name}+00000000+{key}"), VerifierKeyError::WrongId),
            (format!("{name}+{}+{key}", id.to_uppercase()), VerifierKeyError::Malformed),
            (format!("{name}+0{id}+{key}"), VerifierKeyError::Malformed),
            (format!("{name}+{id}"), VerifierKeyError::Malformed),
            (format!("{name}+{id}+"), VerifierKeyError::Malformed),
            (format!("{text}\n"), VerifierKeyError::Malformed),
            (format!("{name}+{id}+{}", typed(1, &[9; 31])), VerifierKeyError::Malformed),
            (format!("{name}+{id}+{}", typed(4, &[9; 32])), VerifierKeyError::OtherType),
            (format!("{name}+{id}+{}", typed(1, &weak)), VerifierKeyError::BadKey),
            (format!("{}+{id}+{key}", "n".repeat(MAX_VKEY_BYTES)), VerifierKeyError::Malformed),
        ] {
            assert_eq!(bad.parse::<VerifierKey>(), Err(error), "{bad}");
        }
    }

    #[test]
    fn the_independent_crate_writes_and_reads_the_same_verifier_keys() {
        for seed in 0..100 {
            let key = LogKey::new("example.com/log", seed).public;
            let theirs = signed_note::StandardVerifier::new(&key.to_string()).unwrap();
            assert_eq!(signed_note::Verifier::name(&theirs), key.name());
            assert_eq!(signed_note::Verifier::key_id(&theirs), u32::from_be_bytes(key.id()));
            assert_eq!(key.to_string().parse(), Ok(key));
        }
    }
}
