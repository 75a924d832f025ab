//! Private keys, and what they sign. The agent does not depend on this crate.

mod key;

pub use key::{PrivateKey, PrivateKeyError};

use compliance_protocol::envelope::{Envelope, Payload, pae};
use compliance_protocol::evidence::{Bundle, STATEMENT_TYPE, SignedBundle, statement};
use compliance_protocol::json::{self, JsonError};
use compliance_protocol::tlog::{
    Checkpoint, SignedCheckpoint, VerifierKey, VerifierKeyError, note_to_sign,
};
use serde::Serialize;

/// Signs `payload` with each of `keys`, as a DSSE envelope in JSON.
pub fn sign<T: Payload + Serialize>(
    payload: &T,
    keys: &[&PrivateKey],
) -> Result<Vec<u8>, JsonError> {
    seal(T::TYPE, json::to_canonical(payload)?, keys)
}

/// Signs a bundle of evidence: the raw signature over its bytes, and the envelope of its statement.
pub fn sign_bundle(bundle: &Bundle, key: &PrivateKey) -> Result<SignedBundle, JsonError> {
    let json = json::to_canonical(bundle)?;
    let dsse = seal(STATEMENT_TYPE, statement(bundle, &json)?, &[key])?;
    Ok(SignedBundle { sig: key.sign(&json).to_vec().into(), json: json.into(), dsse: dsse.into() })
}

/// Signs a checkpoint of the evidence log, as a C2SP signed note.
pub fn sign_checkpoint(
    checkpoint: &Checkpoint,
    key: &PrivateKey,
) -> Result<String, VerifierKeyError> {
    let signature = key.sign(note_to_sign(checkpoint).as_bytes());
    let verifier = VerifierKey::new(checkpoint.origin(), key.public())?;
    Ok(SignedCheckpoint::assemble(checkpoint, &verifier, &signature))
}

/// Signs bytes that already are what they shall be; for tests of what is refused.
pub fn seal(
    payload_type: &str,
    payload: Vec<u8>,
    keys: &[&PrivateKey],
) -> Result<Vec<u8>, JsonError> {
    let message = pae(payload_type, &payload);
    let signatures = keys.iter().map(|key| (key.public().id(), key.sign(&message))).collect();
    Envelope::assemble(payload_type, payload, signatures).to_json()
}
