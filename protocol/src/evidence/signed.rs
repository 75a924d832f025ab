//! A bundle with its two signatures: raw over its bytes, and a DSSE envelope of an in-toto statement.

use serde::{Deserialize, Serialize};

use super::{Bundle, MAX_BUNDLE};
use crate::bytes::Bytes;
use crate::digest::Digest;
use crate::envelope::{Envelope, EnvelopeError, SignatureError};
use crate::json::{self, JsonError};
use crate::key::{KeyError, KeySet, PublicKey};

/// The payload type of in-toto statements.
pub const STATEMENT_TYPE: &str = "application/vnd.in-toto+json";

/// A bundle as it is stored, sent and exported: exact bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedBundle {
    /// The bundle's canonical JSON.
    pub json: Bytes,
    /// The raw Ed25519 signature over `json`, 64 bytes.
    pub sig: Bytes,
    /// The DSSE envelope of the statement about `json`.
    pub dsse: Bytes,
}

/// A bundle whose two signatures were checked. Only [`SignedBundle::verify`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedBundle {
    bundle: Bundle,
    sha256: Digest,
}

impl VerifiedBundle {
    /// The bundle.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// The digest of the bundle's exact bytes.
    pub fn sha256(&self) -> Digest {
        self.sha256
    }
}

/// Why a bundle proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Larger than [`MAX_BUNDLE`]; not parsed.
    #[error("the bundle has {0} bytes; at most {MAX_BUNDLE} are read")]
    Size(usize),
    /// The raw signature is not the key's over these bytes.
    #[error("the signature is not the evidence key's over these bytes")]
    BadSignature,
    /// Not canonical JSON, or not a bundle.
    #[error("the signed bytes are not an evidence bundle: {0}")]
    Shape(#[from] JsonError),
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The DSSE file is not an envelope.
    #[error("the .dsse.json is not a DSSE envelope: {0}")]
    Envelope(#[from] EnvelopeError),
    /// The envelope is not signed by the key.
    #[error("the .dsse.json does not verify: {0}")]
    EnvelopeSignature(#[from] SignatureError),
    /// The envelope is about other bytes, or another file.
    #[error("the .dsse.json is about another file than this bundle")]
    OtherSubject,
}

impl SignedBundle {
    /// Checks both signatures against the site's evidence key, and that both are about these bytes.
    pub fn verify(&self, key: &PublicKey) -> Result<VerifiedBundle, BundleError> {
        let json = self.json.as_slice();
        if json.len() > MAX_BUNDLE {
            return Err(BundleError::Size(json.len()));
        }
        if !key.verifies(json, self.sig.as_slice()) {
            return Err(BundleError::BadSignature);
        }
        let bundle: Bundle = json::from_canonical(json)?;
        let keys = KeySet::new(vec![key.clone()], 1)?;
        let envelope = Envelope::parse(self.dsse.as_slice())?.verify(STATEMENT_TYPE, &keys)?;
        if envelope.into_value() != statement(&bundle, json)? {
            return Err(BundleError::OtherSubject);
        }
        Ok(VerifiedBundle { bundle, sha256: Digest::of(json) })
    }
}

impl Bundle {
    /// The name of the bundle's file in an export, without folder and ending.
    pub fn file_stem(&self) -> String {
        format!("{:08}-{}", self.sequence, self.id)
    }

    /// The folder of the bundle's files in an export: `yyyy/mm/dd` of `finished_at`.
    pub fn folder(&self) -> String {
        let date: String = self.finished_at.to_string().chars().take(10).collect();
        date.replace('-', "/")
    }
}

/// The in-toto Statement v1 about a bundle, as canonical JSON. Its predicate is that of OSCAL
/// Compass trestle's signing v1, so that `trestle verify` accepts the envelope around it.
pub fn statement(bundle: &Bundle, json: &[u8]) -> Result<Vec<u8>, JsonError> {
    json::to_canonical(&serde_json::json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{
            "name": format!("{}.json", bundle.file_stem()),
            "digest": { "sha256": Digest::of(json) },
        }],
        "predicateType": "https://oscal-compass.github.io/compliance-trestle/predicates/oscal-signing/v1",
        "predicate": {
            "canonicalization": "RFC8785",
            "digestAlgorithm": "sha256",
            "digestSource": "canonical-json",
            "tenant": bundle.tenant,
            "site": bundle.site,
            "sequence": bundle.sequence,
            "outcome": bundle.outcome,
        },
    }))
}
