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
    assert_eq!(reads(&|read| _ = root(max, read).unwrap()), 64);
    assert_eq!(reads(&|read| drop(stored_hashes(max - 1, empty_root(), read).unwrap())), 0);
    // A tree of 2^64 leaves has no size that fits; it must not panic all the same.
    assert_eq!(reads(&|read| drop(stored_hashes(max, empty_root(), read).unwrap())), 64);
    for at in [1, 2, 3, max / 3, max / 2, max / 2 + 1, max - 1] {
        let inclusion = reads(&|read| drop(inclusion_proof(at, max, read).unwrap()));
        let consistency = reads(&|read| drop(consistency_proof(at, max, read).unwrap()));
        assert!(inclusion <= 128 && consistency <= 128, "{at}: {inclusion}, {consistency}");
    }
}

type Read<'a> = &'a mut dyn FnMut(u8, u64) -> Result<Digest, NotStored>;

/// How many hashes of a tree of `u64::MAX` leaves a function reads.
fn reads(call: &dyn Fn(Read<'_>)) -> u32 {
    let mut reads = 0;
    call(&mut |level, index: u64| {
        reads += 1;
        assert!(level < 64 && index < u64::MAX >> level, "not in the tree: {level}, {index}");
        Ok(leaf_hash(&index.to_be_bytes()))
    });
    reads
}
