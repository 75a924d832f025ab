//! Ed25519 public keys (RFC 8032), their ids, and sets of them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use ed25519_dalek::pkcs8::{DecodePublicKey, EncodePublicKey, spki::der::pem::LineEnding};
use ed25519_dalek::{Signature, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// The most keys one role may have, and the most signatures one envelope may carry.
pub const MAX_KEYS: usize = 16;

/// An Ed25519 public key that is not weak (its point is not of small order).
///
/// In JSON 64 lower-case hexadecimal digits; in files SPKI PEM (RFC 8410), as `openssl` reads it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Takes the 32 bytes of RFC 8032 §5.1.2.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        Self::admit(VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::NotAKey)?)
    }

    /// Reads SPKI PEM (`-----BEGIN PUBLIC KEY-----`).
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        Self::admit(VerifyingKey::from_public_key_pem(pem).map_err(|_| KeyError::NotAKey)?)
    }

    /// Writes SPKI PEM, which `openssl pkey -pubin` reads.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        self.0.to_public_key_pem(LineEnding::LF).map_err(|_| KeyError::NotAKey)
    }

    /// The 32 bytes of RFC 8032 §5.1.2.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The key id that securesystemslib computes: the SHA-256 of the key's canonical description.
    pub fn id(&self) -> KeyId {
        KeyId(Digest::of(
            format!(
                r#"{{"keytype":"ed25519","keyval":{{"public":"{}"}},"scheme":"ed25519"}}"#,
                hex::encode(self.as_bytes())
            )
            .as_bytes(),
        ))
    }

    /// Whether `signature` is this key's over `message`, by the strict rules of `verify_strict`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.0.verify_strict(message, &signature).is_ok())
    }

    fn admit(key: VerifyingKey) -> Result<Self, KeyError> {
        if key.is_weak() { Err(KeyError::Weak) } else { Ok(Self(key)) }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        // A key's text is that of 32 bytes, and so is a digest's: the same strict spelling.
        let bytes: Digest = text.parse().map_err(|_| KeyError::NotAKey)?;
        Self::from_bytes(bytes.as_bytes())
    }
}

impl TryFrom<String> for PublicKey {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}

/// Which key made a signature. It is a hint that nobody signs: no decision may rest on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(Digest);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a key or a set of keys is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not an Ed25519 public key in the form asked for.
    #[error("this is not an Ed25519 public key (SPKI PEM, or 64 lower-case hexadecimal digits)")]
    NotAKey,
    /// The key's point is of small order; such a key accepts signatures that nobody made.
    #[error("this Ed25519 key is weak (of small order) and would accept forged signatures")]
    Weak,
    /// Too many keys, a key twice, or a threshold that cannot be met.
    #[error("a role needs 1 to {MAX_KEYS} different keys and a threshold from 1 to their number")]
    BadSet,
}

/// The keys of one role and how many different ones must sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "KeySetJson", into = "KeySetJson")]
pub struct KeySet {
    keys: Vec<PublicKey>,
    threshold: usize,
}

impl KeySet {
    /// 1 to [`MAX_KEYS`] different keys, of which `threshold` must sign.
    pub fn new(keys: Vec<PublicKey>, threshold: usize) -> Result<Self, KeyError> {
        let distinct: BTreeSet<_> = keys.iter().map(PublicKey::as_bytes).collect();
        let fits = keys.len() <= MAX_KEYS && (1..=keys.len()).contains(&threshold);
        if distinct.len() != keys.len() || !fits {
            return Err(KeyError::BadSet);
        }
        Ok(Self { keys, threshold })
    }

    /// The keys.
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// How many different keys must sign.
    pub fn threshold(&self) -> usize {
        self.threshold
    }

    /// How many *different* keys of this set made one of `signatures` over `message`.
    pub fn count_signers(&self, message: &[u8], signatures: &[Vec<u8>]) -> usize {
        let signed = |key: &&PublicKey| signatures.iter().any(|s| key.verifies(message, s));
        self.keys.iter().filter(signed).count()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeySetJson {
    keys: Vec<PublicKey>,
    threshold: usize,
}

impl TryFrom<KeySetJson> for KeySet {
    type Error = KeyError;

    fn try_from(json: KeySetJson) -> Result<Self, KeyError> {
        Self::new(json.keys, json.threshold)
    }
}

impl From<KeySet> for KeySetJson {
    fn from(set: KeySet) -> Self {
        Self { keys: set.keys, threshold: set.threshold }
    }
}
