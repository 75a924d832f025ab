//! Roots and proofs from a stored tree, which keeps only the hashes of complete subtrees.
//!
//! A stored hash is addressed by `(level, index)`: level 0 holds the leaves, and the node
//! `(level, index)` covers the 2^level leaves from `index * 2^level`. Such a node never changes once
//! it is complete, so a store only ever inserts.

use super::merkle::{empty_root, node_hash};
use crate::digest::Digest;

/// Why there is no proof.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProveError<E> {
    /// The leaf is not in a tree of that size.
    #[error("there is no leaf {index} in a tree of {size} leaves; ask for an index below the size")]
    NoSuchLeaf {
        /// Of the leaf, from 0.
        index: u64,
        /// In leaves.
        size: u64,
    },
    /// RFC 6962 §2.1.2 defines consistency proofs for `0 < old <= new` only.
    #[error(
        "there is no consistency proof from {old_size} to {new_size} leaves; the old tree must have \
         at least one leaf and not more than the new one"
    )]
    NoSuchSizes {
        /// In leaves.
        old_size: u64,
        /// In leaves.
        new_size: u64,
    },
    /// The store could not hand over a hash.
    #[error("a stored hash of the evidence log could not be read")]
    Store(#[source] E),
}

/// The nodes to store when one leaf is appended to a tree of `size_before` leaves: the leaf, and each
/// subtree that it completes, as `(level, index, hash)` from the leaf upwards.
///
/// Reads at most 64 hashes, those of the complete subtrees that end at `size_before`.
///
/// # Errors
/// Only what `read` returns.
pub fn stored_hashes<E>(
    size_before: u64,
    leaf_hash: Digest,
    mut read: impl FnMut(u8, u64) -> Result<Digest, E>,
) -> Result<Vec<(u8, u64, Digest)>, E> {
    let mut completed = vec![(0, size_before, leaf_hash)];
    let (mut index, mut hash) = (size_before, leaf_hash);
    for level in 0..64 {
        if index & 1 == 0 {
            break;
        }
        hash = node_hash(&read(level, index - 1)?, &hash);
        index >>= 1;
        completed.push((level + 1, index, hash));
    }
    Ok(completed)
}

/// The root of the first `size` leaves: `MTH(D[0:size])` of RFC 6962 §2.1. At most 64 reads.
///
/// # Errors
/// Only what `read` returns.
pub fn root<E>(size: u64, mut read: impl FnMut(u8, u64) -> Result<Digest, E>) -> Result<Digest, E> {
    range_root(0, size, &mut read)
}

/// The path from leaf `index` to the root of the first `size` leaves: `PATH(index, D[0:size])` of RFC
/// 6962 §2.1.1, the leaf's sibling first. At most 128 reads.
///
/// # Errors
/// [`ProveError::NoSuchLeaf`] unless `index < size`; else what `read` returns.
pub fn inclusion_proof<E>(
    index: u64,
    size: u64,
    mut read: impl FnMut(u8, u64) -> Result<Digest, E>,
) -> Result<Vec<Digest>, ProveError<E>> {
    if index >= size {
        return Err(ProveError::NoSuchLeaf { index, size });
    }
    let (mut low, mut high) = (0, size);
    let mut path = Vec::new();
    while high - low > 1 {
        let middle = split(low, high);
        let (sibling_low, sibling_high);
        if index < middle {
            (sibling_low, sibling_high, high) = (middle, high, middle);
        } else {
            (sibling_low, sibling_high, low) = (low, middle, middle);
        }
        let sibling = range_root(sibling_low, sibling_high, &mut read);
        path.push(sibling.map_err(ProveError::Store)?);
    }
    path.reverse();
    Ok(path)
}

/// The proof that the first `old_size` leaves of a tree of `new_size` are the old tree:
/// `PROOF(old_size, D[0:new_size])` of RFC 6962 §2.1.2. Empty for equal sizes. At most 128 reads.
///
/// # Errors
/// [`ProveError::NoSuchSizes`] unless `0 < old_size <= new_size`; else what `read` returns.
pub fn consistency_proof<E>(
    old_size: u64,
    new_size: u64,
    mut read: impl FnMut(u8, u64) -> Result<Digest, E>,
) -> Result<Vec<Digest>, ProveError<E>> {
    if old_size == 0 || old_size > new_size {
        return Err(ProveError::NoSuchSizes { old_size, new_size });
    }
    let mut hash = |low, high| range_root(low, high, &mut read).map_err(ProveError::Store);
    let (mut low, mut high) = (0, new_size);
    let mut path = Vec::new();
    while old_size < high {
        let middle = split(low, high);
        if old_size <= middle {
            path.push(hash(middle, high)?);
            high = middle;
        } else {
            path.push(hash(low, middle)?);
            low = middle;
        }
    }
    // From leaf 0 on this is the whole old tree, whose root the verifier already has.
    if low > 0 {
        path.push(hash(low, high)?);
    }
    path.reverse();
    Ok(path)
}

/// Where RFC 6962 §2.1 divides the leaves `low..high`, of which there are at least two: after the
/// largest power of two that is smaller than their number.
fn split(low: u64, high: u64) -> u64 {
    low + (1 << (high - low - 1).checked_ilog2().unwrap_or(0))
}

/// `MTH(D[low:high])`, where `low` is 0 or a point that [`split`] gave, so that every complete subtree
/// of the range is one of the stored ones.
fn range_root<E>(
    low: u64,
    high: u64,
    read: &mut impl FnMut(u8, u64) -> Result<Digest, E>,
) -> Result<Digest, E> {
    let count = high - low;
    let mut root = None;
    // Each bit of the count is a complete subtree; the lowest bit's is the rightmost.
    for level in (0..64).filter(|level| (count >> level) & 1 == 1) {
        let subtree = read(level, (high >> level) - 1)?;
        root = Some(root.map_or(subtree, |right| node_hash(&subtree, &right)));
    }
    Ok(root.unwrap_or_else(empty_root))
}

#[cfg(test)]
mod tests;
