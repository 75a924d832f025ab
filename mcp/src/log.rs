//! The evidence log as a transparency log: its checkpoints, and proofs against them.
//!
//! Hashing and formats are in [`compliance_protocol::tlog`]; the tree is in the [store](crate::store).

use compliance_protocol::digest::Digest;
use compliance_protocol::tlog::{
    self, Checkpoint, ProveError, TlogProof, VerifierKey, VerifierKeyError,
};
use compliance_signing::{PrivateKey, sign_checkpoint};

use crate::store::{LogHead, Nodes, SignCheckpoint, StoreError, View};

/// The log's name and key as a verifier needs them, and what signs its checkpoints.
pub fn signer(
    origin: &str,
    key: PrivateKey,
) -> Result<(VerifierKey, SignCheckpoint), VerifierKeyError> {
    let verifier = VerifierKey::new(origin, key.public())?;
    let origin = origin.to_owned();
    let sign = move |size: u64, root: Digest| {
        let checkpoint = Checkpoint::new(&origin, size, root).map_err(|e| e.to_string())?;
        sign_checkpoint(&checkpoint, &key).map_err(|e| e.to_string())
    };
    Ok((verifier, Box::new(sign)))
}

/// The receipt of leaf `leaf` against the checkpoint of `head`, a C2SP `tlog-proof@v1`.
pub fn receipt(nodes: &Nodes<'_>, head: &LogHead, leaf: u64) -> Result<String, StoreError> {
    let path = tlog::inclusion_proof(leaf, head.size, |level, index| nodes.read(level, index))
        .map_err(store_error)?;
    let checkpoint = head.checkpoint.clone();
    Ok(TlogProof { index: leaf, path, checkpoint }.to_string())
}

/// The proof that the log of `head` extends the log of `from` leaves; empty when there is nothing to
/// prove. Also empty when `from` is more than there is: then the log lost something, and the appliance,
/// which sees the smaller checkpoint, says so.
pub fn consistency(view: &View<'_>, head: &LogHead, from: u64) -> Result<Vec<Digest>, StoreError> {
    if from == 0 || from >= head.size {
        return Ok(Vec::new());
    }
    let nodes = view.nodes();
    tlog::consistency_proof(from, head.size, |level, index| nodes.read(level, index))
        .map_err(store_error)
}

fn store_error(error: ProveError<StoreError>) -> StoreError {
    match error {
        ProveError::Store(error) => error,
        ProveError::NoSuchLeaf { .. } | ProveError::NoSuchSizes { .. } => {
            StoreError::Damaged("a leaf is beyond the end of the evidence log")
        }
    }
}
