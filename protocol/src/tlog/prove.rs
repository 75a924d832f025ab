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
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::tlog::merkle::leaf_hash;
    use crate::tlog::testing::{MemoryTree, NotStored, digest, hashes};

    /// The eight entries of certificate-transparency's `merkletree/merkle_test`.
    fn published_tree() -> MemoryTree {
        let mut tree = MemoryTree::default();
        for entry in [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ] {
            tree.append(leaf_hash(&hex::decode(entry).unwrap()));
        }
        tree
    }

    #[test]
    fn the_roots_are_those_of_certificate_transparency() {
        let tree = published_tree();
        for (size, expected) in [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(tree.root_at(size as u64), digest(expected), "size {size}");
        }
    }

    #[test]
    fn the_paths_are_those_of_certificate_transparency() {
        let tree = published_tree();
        for (index, size, expected) in [
            (0, 1, vec![]),
            (
                0,
                8,
                vec![
                    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
                ],
            ),
            (
                5,
                8,
                vec![
                    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                ],
            ),
            (2, 3, vec!["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
        ] {
            assert_eq!(inclusion_proof(index, size, tree.reader()), Ok(hashes(&expected)));
        }
        for (old, new, expected) in [
            (1, 1, vec![]),
            (
                6,
                8,
                vec![
                    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                ],
            ),
            (
                2,
                5,
                vec![
                    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                ],
            ),
        ] {
            assert_eq!(consistency_proof(old, new, tree.reader()), Ok(hashes(&expected)));
        }
    }

    /// The definitions of RFC 6962 §2.1, written down as they stand there.
    fn mth(leaves: &[Digest]) -> Digest {
        match leaves {
            [] => empty_root(),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                node_hash(&mth(left), &mth(right))
            }
        }
    }

    fn path(index: usize, leaves: &[Digest]) -> Vec<Digest> {
        if leaves.len() < 2 {
            return vec![];
        }
        let k = leaves.len().next_power_of_two() / 2;
        let (left, right) = leaves.split_at(k);
        let (mut path, sibling) = if index < k {
            (path(index, left), mth(right))
        } else {
            (path(index - k, right), mth(left))
        };
        path.push(sibling);
        path
    }

    fn subproof(old: usize, leaves: &[Digest], known: bool) -> Vec<Digest> {
        if old == leaves.len() {
            return if known { vec![] } else { vec![mth(leaves)] };
        }
        let k = leaves.len().next_power_of_two() / 2;
        let (left, right) = leaves.split_at(k);
        let (mut path, sibling) = if old <= k {
            (subproof(old, left, known), mth(right))
        } else {
            (subproof(old - k, right, false), mth(left))
        };
        path.push(sibling);
        path
    }

    #[test]
    fn roots_and_proofs_are_the_recursive_definitions_of_the_rfc_up_to_70_leaves() {
        let tree = MemoryTree::of(70);
        let leaves = tree.leaves();
        for size in 0..=leaves.len() {
            let (n, leaves) = (size as u64, &leaves[..size]);
            assert_eq!(tree.root_at(n), mth(leaves));
            for index in 0..size {
                let found = inclusion_proof(index as u64, n, tree.reader()).unwrap();
                assert_eq!(found, path(index, leaves), "leaf {index} of {size}");
            }
            for old in 1..=size {
                let found = consistency_proof(old as u64, n, tree.reader()).unwrap();
                assert_eq!(found, subproof(old, leaves, true), "from {old} to {size}");
            }
        }
    }

    #[test]
    fn stored_hashes_are_exactly_the_complete_subtrees_each_once() {
        let leaves = MemoryTree::of(70).leaves();
        let mut stored = BTreeMap::new();
        for (size, leaf) in leaves.iter().enumerate() {
            let read = |level, index| stored.get(&(level, index)).copied().ok_or(NotStored);
            let new = stored_hashes(size as u64, *leaf, read).unwrap();
            assert_eq!(new.first(), Some(&(0, size as u64, *leaf)));
            for (level, index, hash) in new {
                assert_eq!(stored.insert((level, index), hash), None, "({level}, {index}) twice");
            }
        }
        let mut expected = BTreeMap::new();
        for level in 0..7_u8 {
            for (index, range) in leaves.chunks_exact(1 << level).enumerate() {
                expected.insert((level, index as u64), mth(range));
            }
        }
        assert_eq!(stored, expected);
    }

    #[test]
    fn what_no_tree_can_prove_is_refused() {
        let tree = MemoryTree::of(3);
        for (index, size) in [(0, 0), (3, 3), (u64::MAX, 3)] {
            let refusal = Err(ProveError::NoSuchLeaf { index, size });
            assert_eq!(inclusion_proof(index, size, tree.reader()), refusal);
        }
        for (old_size, new_size) in [(0, 0), (0, 3), (4, 3), (u64::MAX, 3)] {
            let refusal = Err(ProveError::NoSuchSizes { old_size, new_size });
            assert_eq!(consistency_proof(old_size, new_size, tree.reader()), refusal);
        }
    }

    #[test]
    fn an_error_of_the_store_is_passed_on() {
        let fail = |_, _| Err::<Digest, _>(NotStored);
        assert_eq!(root(5, fail), Err(NotStored));
        assert_eq!(stored_hashes(5, empty_root(), fail), Err(NotStored));
        assert_eq!(inclusion_proof(1, 5, fail), Err(ProveError::Store(NotStored)));
        assert_eq!(consistency_proof(3, 5, fail), Err(ProveError::Store(NotStored)));
    }

    #[test]
    fn the_largest_trees_neither_overflow_nor_read_more_than_logarithmically() {
        let max = u64::MAX;
        assert_eq!(reads(&|read| root(max, read).map(drop)), 64);
        assert_eq!(reads(&|read| stored_hashes(max - 1, empty_root(), read).map(drop)), 0);
        // A tree of 2^64 leaves has no size that fits; it must not panic all the same.
        assert_eq!(reads(&|read| stored_hashes(max, empty_root(), read).map(drop)), 64);
        for at in [1, 2, 3, max / 3, max / 2, max / 2 + 1, max - 1] {
            let inclusion = reads(&|read| Ok(drop(inclusion_proof(at, max, read).unwrap())));
            let consistency = reads(&|read| Ok(drop(consistency_proof(at, max, read).unwrap())));
            assert!(inclusion <= 128 && consistency <= 128, "{at}: {inclusion}, {consistency}");
        }
    }

    /// How many hashes of a tree of `u64::MAX` leaves a function reads.
    fn reads(call: &dyn Fn(Read<'_>) -> Result<(), NotStored>) -> u32 {
        let mut reads = 0;
        call(&mut |level, index: u64| {
            reads += 1;
            assert!(level < 64 && index < u64::MAX >> level, "not in the tree: {level}, {index}");
            Ok(leaf_hash(&index.to_be_bytes()))
        })
        .unwrap();
        reads
    }

    type Read<'a> = &'a mut dyn FnMut(u8, u64) -> Result<Digest, NotStored>;
}
