//! Bytes inside JSON: standard base64 with padding (RFC 4648 §4).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// Exact bytes that travel inside JSON.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bytes(Vec<u8>);

impl Bytes {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, owned.
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

/// The text is not standard base64.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bytes are written in standard base64 with padding")]
pub struct NotBase64;

impl TryFrom<String> for Bytes {
    type Error = NotBase64;

    fn try_from(text: String) -> Result<Self, NotBase64> {
        STANDARD.decode(text).map(Self).map_err(|_| NotBase64)
    }
}

impl From<Bytes> for String {
    fn from(bytes: Bytes) -> Self {
        STANDARD.encode(bytes.0)
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}
