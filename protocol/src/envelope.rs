//! DSSE v1 envelopes: a payload, its type, and signatures over both.
//!
//! Nothing is ever read from an envelope but its payload, and that only after [`Envelope::verify`]:
//! the outer JSON is unsigned.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::json::{self, JsonError};
use crate::key::{KeyId, KeySet, MAX_KEYS};

/// The largest envelope that is parsed, in bytes.
pub const MAX_ENVELOPE: usize = 256 * 1024;

/// What a signed payload is: its DSSE payload type and its shape.
pub trait Payload: DeserializeOwned {
    /// The `payloadType` that the signature covers.
    const TYPE: &'static str;
}

/// DSSE's pre-authentication encoding: the bytes that are signed (DSSE v1, protocol.md, "PAE").
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

/// A parsed envelope whose signatures nobody has checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    payload_type: String,
    payload: Vec<u8>,
    signatures: Vec<(Option<String>, Vec<u8>)>,
}

impl Envelope {
    /// Parses an envelope of at most [`MAX_ENVELOPE`] bytes. Unknown and duplicate fields are refused.
    pub fn parse(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        if bytes.len() > MAX_ENVELOPE {
            return Err(EnvelopeError::Size(bytes.len()));
        }
        let json: EnvelopeJson = serde_json::from_slice(bytes).map_err(EnvelopeError::Shape)?;
        if json.signatures.len() > MAX_KEYS {
            return Err(EnvelopeError::Signatures(json.signatures.len()));
        }
        let signatures = json.signatures.into_iter();
        Ok(Self {
            payload_type: json.payload_type,
            payload: decode(&json.payload)?,
            signatures: signatures
                .map(|s| Ok((s.keyid, decode(&s.sig)?)))
                .collect::<Result<_, EnvelopeError>>()?,
        })
    }

    /// Puts an envelope together from a payload and signatures over its [`pae`].
    pub fn assemble(
        payload_type: &str,
        payload: Vec<u8>,
        signatures: Vec<(KeyId, [u8; 64])>,
    ) -> Self {
        let signatures = signatures.into_iter();
        Self {
            payload_type: payload_type.to_owned(),
            payload,
            signatures: signatures.map(|(id, sig)| (Some(id.to_string()), sig.to_vec())).collect(),
        }
    }

    /// The envelope as JSON.
    pub fn to_json(&self) -> Result<Vec<u8>, JsonError> {
        let signatures = self.signatures.iter();
        json::to_canonical(&EnvelopeJson {
            payload: STANDARD.encode(&self.payload),
            payload_type: self.payload_type.clone(),
            signatures: signatures
                .map(|(keyid, sig)| SignatureJson {
                    keyid: keyid.clone(),
                    sig: STANDARD.encode(sig),
                })
                .collect(),
        })
    }

    /// Checks that the envelope is of `payload_type` and that `keys`' threshold of different keys
    /// signed it. Key ids are ignored: nobody signs them.
    pub fn verify(
        &self,
        payload_type: &str,
        keys: &KeySet,
    ) -> Result<Verified<Vec<u8>>, SignatureError> {
        if self.payload_type != payload_type {
            return Err(SignatureError::OtherType(self.payload_type.clone()));
        }
        let message = pae(&self.payload_type, &self.payload);
        let signatures: Vec<_> = self.signatures.iter().map(|(_, sig)| sig.clone()).collect();
        match keys.count_signers(&message, &signatures) {
            0 => Err(SignatureError::BadSignature),
            signers if signers < keys.threshold() => {
                Err(SignatureError::Threshold { signers, threshold: keys.threshold() })
            }
            signers => Ok(Verified {
                value: self.payload.clone(),
                payload_sha256: Digest::of(&self.payload),
                signers,
            }),
        }
    }

    /// Reads the payload before anything is verified: only to learn which keys claim to have signed it.
    pub(crate) fn peek<T: Payload>(&self) -> Result<T, OpenError> {
        if self.payload_type != T::TYPE {
            return Err(SignatureError::OtherType(self.payload_type.clone()).into());
        }
        Ok(json::from_canonical(&self.payload)?)
    }

    /// Verifies and reads a payload of type `T`.
    pub fn open<T: Payload>(&self, keys: &KeySet) -> Result<Verified<T>, OpenError> {
        Ok(self.verify(T::TYPE, keys)?.decode()?)
    }
}

/// A value that was read from a payload whose signatures were checked. Only [`Envelope::verify`]
/// makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<T> {
    value: T,
    payload_sha256: Digest,
    signers: usize,
}

impl<T> Verified<T> {
    /// The verified value.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// The verified value, without its proof.
    pub fn into_value(self) -> T {
        self.value
    }

    /// The digest of the exact payload bytes that were signed.
    pub fn payload_sha256(&self) -> Digest {
        self.payload_sha256
    }

    /// How many different keys signed.
    pub fn signers(&self) -> usize {
        self.signers
    }
}

impl Verified<Vec<u8>> {
    /// Reads the verified payload, which must be canonical JSON of the shape of `T`.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<Verified<T>, JsonError> {
        Ok(Verified {
            value: json::from_canonical(&self.value)?,
            payload_sha256: self.payload_sha256,
            signers: self.signers,
        })
    }
}

/// Why bytes are not an envelope.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// Larger than [`MAX_ENVELOPE`]; not parsed.
    #[error("the envelope has {0} bytes; at most {MAX_ENVELOPE} are read")]
    Size(usize),
    /// Not the JSON of a DSSE envelope.
    #[error("this is not a DSSE envelope: {0}")]
    Shape(#[source] serde_json::Error),
    /// A field that should be base64 is not.
    #[error("a field of the envelope is not base64")]
    Base64,
    /// More signatures than any role has keys.
    #[error("the envelope carries {0} signatures; at most {MAX_KEYS} are read")]
    Signatures(usize),
}

/// Why an envelope's signatures prove nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The payload is of another type, whoever signed it.
    #[error("the envelope holds a {0:?}")]
    OtherType(String),
    /// No trusted key signed these bytes.
    #[error("no trusted key signed these bytes")]
    BadSignature,
    /// Some trusted keys signed, but too few.
    #[error("{signers} trusted keys signed these bytes, {threshold} must")]
    Threshold {
        /// Different keys that signed.
        signers: usize,
        /// Different keys that must.
        threshold: usize,
    },
}

/// Why [`Envelope::open`] gives nothing.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The signatures do not hold.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// What was signed is not what was asked for.
    #[error("the signed payload cannot be read: {0}")]
    Payload(#[from] JsonError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvelopeJson {
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: Vec<SignatureJson>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignatureJson {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keyid: Option<String>,
    sig: String,
}

/// DSSE: "verifiers MUST accept either standard or URL-safe base64".
fn decode(text: &str) -> Result<Vec<u8>, EnvelopeError> {
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).map_err(|_| EnvelopeError::Base64)
}
