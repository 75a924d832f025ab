//! The evidence log: a Merkle tree over bundles, its signed checkpoints, and receipts.
//!
//! Hashing is RFC 6962 §2.1 with SHA-256. Texts are those of C2SP (commit 5ba5ee8, 2026-07-22):
//! [signed-note](https://c2sp.org/signed-note), [tlog-checkpoint](https://c2sp.org/tlog-checkpoint)
//! and [tlog-proof](https://c2sp.org/tlog-proof), so that an auditor can use anybody's verifier.
//!
//! The way of a receipt: the store keeps what [`stored_hashes`] returns, [`root`] goes into a
//! [`Checkpoint`], whose [`note_to_sign`] a key signs and [`SignedCheckpoint::assemble`] writes down;
//! [`inclusion_proof`] and that text make a [`TlogProof`], which [`TlogProof::verify`] checks.

mod checkpoint;
mod merkle;
mod prove;
mod receipt;
mod verify;
mod vkey;

#[cfg(test)]
mod testing;

pub use checkpoint::{
    Checkpoint, CheckpointError, MAX_NOTE_BYTES, MAX_NOTE_SIGNATURES, SignedCheckpoint,
    VerifiedCheckpoint, note_to_sign,
};
pub use merkle::{empty_root, leaf_hash, node_hash};
pub use prove::{ProveError, consistency_proof, inclusion_proof, root, stored_hashes};
pub use receipt::{MAX_PATH_HASHES, MAX_RECEIPT_BYTES, ReceiptError, TlogProof};
pub use verify::{ProofError, verify_consistency, verify_inclusion};
pub use vkey::{VerifierKey, VerifierKeyError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::digest::Digest;

/// A number as all C2SP log formats write it: ASCII decimal, no sign, no leading zero.
fn decimal(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

/// 32 bytes in standard base64 with padding (RFC 4648 §4), in their one canonical spelling.
fn hash_from_base64(text: &str) -> Option<Digest> {
    STANDARD.decode(text).ok()?.try_into().ok().map(Digest::from_bytes)
}

fn hash_to_base64(hash: &Digest) -> String {
    STANDARD.encode(hash.as_bytes())
}
