//! Verification of proofs, without a tree: RFC 9162 §2.1.3.2 and §2.1.4.2.

use super::merkle::node_hash;
use crate::digest::Digest;

/// Why a proof does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The leaf is not in a tree of that size.
    #[error("a tree of {size} leaves has no leaf {index}")]
    NoSuchLeaf {
        /// Of the leaf, from 0.
        index: u64,
        /// In leaves.
        size: u64,
    },
    /// Every tree extends the empty one; as in Go's sumdb there is nothing to prove.
    #[error("nothing can be proved about an empty tree; take the new checkpoint as the first one")]
    EmptyTree,
    /// The newer tree has fewer leaves than the older one.
    #[error("the log shrank from {old_size} to {new_size} leaves; its history was rewritten")]
    Shrunk {
        /// In leaves.
        old_size: u64,
        /// In leaves.
        new_size: u64,
    },
    /// There are more or fewer hashes than the sizes ask for.
    #[error("the proof does not have the number of hashes that the tree's size asks for")]
    WrongLength,
    /// The hashes do not lead to the root of the tree that contains the leaf, or of the old tree.
    #[error("the proof does not lead to the root that it should prove")]
    WrongRoot,
    /// The hashes do not lead to the root of the new tree.
    #[error("the new tree does not contain the old one unchanged; its history was rewritten")]
    Inconsistent,
}

/// Verifies that a leaf is in a tree (RFC 9162 §2.1.3.2): `leaf_hash` is leaf number `index`, from 0,
/// of the tree of `size` leaves with this `root`; `path` begins with the leaf's sibling.
///
/// A root alone does not say how many leaves it covers: take `size` and `root` from one
/// [`VerifiedCheckpoint`](super::VerifiedCheckpoint).
///
/// # Errors
/// [`ProofError::NoSuchLeaf`], [`ProofError::WrongLength`] or [`ProofError::WrongRoot`].
pub fn verify_inclusion(
    leaf_hash: &Digest,
    index: u64,
    size: u64,
    path: &[Digest],
    root: &Digest,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::NoSuchLeaf { index, size });
    }
    let mut climb = Climb { node: index, last: size - 1 };
    let mut hash = *leaf_hash;
    for sibling in path {
        hash = match climb.step()? {
            Side::Left => node_hash(sibling, &hash),
            Side::Right => node_hash(&hash, sibling),
        };
    }
    climb.finish()?;
    if hash == *root { Ok(()) } else { Err(ProofError::WrongRoot) }
}

/// Verifies that a tree extends another (RFC 9162 §2.1.4.2): the tree of `new_size` leaves with
/// `new_root` begins with the `old_size` leaves of the tree with `old_root`.
///
/// As in Go's `tlog.CheckTree`, equal sizes ask for equal roots and an empty `path`, and an empty old
/// tree is an error, because nothing about it can be proved.
///
/// # Errors
/// [`ProofError::EmptyTree`], [`ProofError::Shrunk`], [`ProofError::WrongLength`];
/// [`ProofError::WrongRoot`] when the path does not lead to `old_root`, [`ProofError::Inconsistent`]
/// when it leads to that one but not to `new_root`.
pub fn verify_consistency(
    old_size: u64,
    old_root: &Digest,
    new_size: u64,
    new_root: &Digest,
    path: &[Digest],
) -> Result<(), ProofError> {
    if new_size < old_size {
        return Err(ProofError::Shrunk { old_size, new_size });
    }
    if old_size == 0 {
        return Err(ProofError::EmptyTree);
    }
    if old_size == new_size {
        return match path {
            [] if old_root == new_root => Ok(()),
            [] => Err(ProofError::Inconsistent),
            _ => Err(ProofError::WrongLength),
        };
    }
    // A complete old tree is itself the node to start from, and the proof leaves it out.
    let (start, siblings) = if old_size.is_power_of_two() {
        if path.is_empty() {
            return Err(ProofError::WrongLength);
        }
        (old_root, path)
    } else {
        path.split_first().ok_or(ProofError::WrongLength)?
    };
    let level = (old_size - 1).trailing_ones();
    let mut climb = Climb { node: (old_size - 1) >> level, last: (new_size - 1) >> level };
    let (mut old, mut new) = (*start, *start);
    for sibling in siblings {
        match climb.step()? {
            Side::Left => {
                old = node_hash(sibling, &old);
                new = node_hash(sibling, &new);
            }
            Side::Right => new = node_hash(&new, sibling),
        }
    }
    climb.finish()?;
    if old != *old_root {
        return Err(ProofError::WrongRoot);
    }
    if new == *new_root { Ok(()) } else { Err(ProofError::Inconsistent) }
}

/// Which side of the node its sibling is on.
enum Side {
    Left,
    Right,
}

/// The way from a node to the root: `fn` and `sn` of RFC 9162, the node's index on its level and that
/// of the level's last node.
struct Climb {
    node: u64,
    last: u64,
}

impl Climb {
    /// One level up, or more where the node has no sibling.
    fn step(&mut self) -> Result<Side, ProofError> {
        if self.last == 0 {
            return Err(ProofError::WrongLength);
        }
        let is_right_child = self.node & 1 == 1;
        let side = if is_right_child || self.node == self.last {
            // The last node of a level, if a left child, is lifted unchanged until it has a sibling.
            while self.node & 1 == 0 && self.node != 0 {
                self.up();
            }
            Side::Left
        } else {
            Side::Right
        };
        self.up();
        Ok(side)
    }

    fn up(&mut self) {
        self.node >>= 1;
        self.last >>= 1;
    }

    fn finish(&self) -> Result<(), ProofError> {
        if self.last == 0 { Ok(()) } else { Err(ProofError::WrongLength) }
    }
}

#[cfg(test)]
mod tests;
