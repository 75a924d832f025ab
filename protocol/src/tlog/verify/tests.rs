use proptest::prelude::*;

use super::*;
use crate::tlog::merkle::empty_root;
use crate::tlog::prove::{consistency_proof, inclusion_proof};
use crate::tlog::testing::{LARGE, MemoryTree, flipped};

const EXHAUSTIVE: u64 = 64;

/// Every path that differs from `path` in one hash (a bit flipped, or gone, doubled or swapped
/// with the next), or has one more at either end.
fn tampered(path: &[Digest], bit: usize) -> Vec<Vec<Digest>> {
    let mut all = vec![];
    for i in 0..path.len() {
        let (mut flip, mut gone, mut doubled) = (path.to_vec(), path.to_vec(), path.to_vec());
        flip[i] = flipped(path[i], bit);
        gone.remove(i);
        doubled.insert(i, path[i]);
        all.extend([flip, gone, doubled]);
        if i + 1 < path.len() {
            let mut swapped = path.to_vec();
            swapped.swap(i, i + 1);
            all.push(swapped);
        }
    }
    all.push([path, &[empty_root()]].concat());
    all.push([&[empty_root()], path].concat());
    all
}

/// What a tampered path must be refused for: its length, if that is what differs.
fn refusal(path: &[Digest], bad: &[Digest], same_length: ProofError) -> Result<(), ProofError> {
    Err(if bad.len() == path.len() { same_length } else { ProofError::WrongLength })
}

#[test]
fn every_inclusion_holds_and_no_tampered_one_does_up_to_64_leaves() {
    let tree = MemoryTree::of(EXHAUSTIVE);
    let leaves = tree.leaves();
    for size in 1..=EXHAUSTIVE {
        let root = tree.root_at(size);
        for (index, leaf) in (0..size).zip(&leaves) {
            let path = inclusion_proof(index, size, tree.reader()).unwrap();
            assert_eq!(verify_inclusion(leaf, index, size, &path, &root), Ok(()));
            let bit = usize::try_from((index * 67 + size) % 256).unwrap();
            for bad in tampered(&path, bit) {
                let found = verify_inclusion(leaf, index, size, &bad, &root);
                assert_eq!(found, refusal(&path, &bad, ProofError::WrongRoot));
            }
            let (wrong_leaf, wrong_root) = (flipped(*leaf, bit), flipped(root, bit));
            let refused = Err(ProofError::WrongRoot);
            assert_eq!(verify_inclusion(&wrong_leaf, index, size, &path, &root), refused);
            assert_eq!(verify_inclusion(leaf, index, size, &path, &wrong_root), refused);
            for other in (0..EXHAUSTIVE + 2).filter(|other| *other != index) {
                assert!(verify_inclusion(leaf, other, size, &path, &root).is_err());
            }
        }
    }
}

#[test]
fn a_path_for_one_size_is_refused_under_the_root_of_any_other() {
    let tree = MemoryTree::of(EXHAUSTIVE);
    let leaves = tree.leaves();
    for size in 1..=EXHAUSTIVE {
        for (index, leaf) in (0..size).zip(&leaves) {
            let path = inclusion_proof(index, size, tree.reader()).unwrap();
            for other in (0..=EXHAUSTIVE).filter(|other| *other != size) {
                let root = tree.root_at(other);
                assert!(verify_inclusion(leaf, index, other, &path, &root).is_err());
            }
        }
    }
}

#[test]
fn a_path_of_another_length_is_refused_even_where_it_leads_to_the_root() {
    let tree = MemoryTree::of(4);
    let root = tree.root_at(4);
    let path = inclusion_proof(0, 4, tree.reader()).unwrap();
    // An inner node, and the root itself, instead of a leaf.
    let inner = tree.root_at(2);
    let refused = Err(ProofError::WrongLength);
    assert_eq!(verify_inclusion(&inner, 0, 4, &path[1..], &root), refused);
    assert_eq!(verify_inclusion(&root, 0, 4, &[], &root), refused);
    assert_eq!(verify_consistency(4, &root, 8, &root, &[]), refused);
    // A tree above the claimed one, whichever side the surplus hash is on.
    for above in [node_hash(&root, &empty_root()), node_hash(&empty_root(), &root)] {
        let long = [&path[..], &[empty_root()]].concat();
        assert_eq!(verify_inclusion(&tree.leaf(0), 0, 4, &long, &above), refused);
    }
}

#[test]
fn every_bit_of_a_proof_counts() {
    let tree = MemoryTree::of(13);
    let (leaf, root) = (tree.leaves()[9], tree.root_at(13));
    let path = inclusion_proof(9, 13, tree.reader()).unwrap();
    let history = consistency_proof(9, 13, tree.reader()).unwrap();
    for bit in 0..256 {
        for i in 0..path.len() {
            let mut bad = path.clone();
            bad[i] = flipped(bad[i], bit);
            assert_eq!(verify_inclusion(&leaf, 9, 13, &bad, &root), Err(ProofError::WrongRoot));
        }
        for i in 0..history.len() {
            let mut bad = history.clone();
            bad[i] = flipped(bad[i], bit);
            assert!(verify_consistency(9, &tree.root_at(9), 13, &root, &bad).is_err());
        }
    }
}

#[test]
fn every_extension_holds_and_no_tampered_one_does_up_to_64_leaves() {
    let tree = MemoryTree::of(EXHAUSTIVE);
    for new in 1..=EXHAUSTIVE {
        let new_root = tree.root_at(new);
        for old in 1..=new {
            let old_root = tree.root_at(old);
            let path = consistency_proof(old, new, tree.reader()).unwrap();
            assert_eq!(verify_consistency(old, &old_root, new, &new_root, &path), Ok(()));
            let bit = usize::try_from((old * 67 + new) % 256).unwrap();
            for bad in tampered(&path, bit) {
                let found = verify_consistency(old, &old_root, new, &new_root, &bad);
                let same_length = found.unwrap_err();
                assert_eq!(found, refusal(&path, &bad, same_length));
            }
            let (bad_old, bad_new) = (flipped(old_root, bit), flipped(new_root, bit));
            assert!(verify_consistency(old, &bad_old, new, &new_root, &path).is_err());
            assert_eq!(
                verify_consistency(old, &old_root, new, &bad_new, &path),
                Err(ProofError::Inconsistent)
            );
            for other in (0..=EXHAUSTIVE).filter(|other| *other != old) {
                let root = tree.root_at(other);
                assert!(verify_consistency(other, &root, new, &new_root, &path).is_err());
            }
            for other in (0..=EXHAUSTIVE).filter(|other| *other != new) {
                let root = tree.root_at(other);
                assert!(verify_consistency(old, &old_root, other, &root, &path).is_err());
            }
        }
    }
}

#[test]
fn a_rewritten_history_is_called_that() {
    let (honest, forged) = (MemoryTree::of(20), MemoryTree::seeded(20, "forged"));
    let path = consistency_proof(7, 20, forged.reader()).unwrap();
    let (old, new) = (honest.root_at(7), forged.root_at(20));
    assert_eq!(verify_consistency(7, &old, 20, &new, &path), Err(ProofError::WrongRoot));
    // An old tree that is one complete subtree does not appear in its own proof.
    let path = consistency_proof(8, 20, forged.reader()).unwrap();
    let old = honest.root_at(8);
    assert_eq!(verify_consistency(8, &old, 20, &new, &path), Err(ProofError::Inconsistent));
    assert_eq!(
        verify_consistency(20, &new, 8, &old, &[]),
        Err(ProofError::Shrunk { old_size: 20, new_size: 8 })
    );
    let honest_root = honest.root_at(20);
    assert_eq!(verify_consistency(20, &new, 20, &honest_root, &[]), Err(ProofError::Inconsistent));
}

#[test]
fn empty_trees_prove_nothing() {
    let (empty, root) = (empty_root(), MemoryTree::of(1).root_at(1));
    assert_eq!(verify_consistency(0, &empty, 0, &empty, &[]), Err(ProofError::EmptyTree));
    assert_eq!(verify_consistency(0, &empty, 1, &root, &[]), Err(ProofError::EmptyTree));
    assert_eq!(
        verify_inclusion(&root, 0, 0, &[], &empty),
        Err(ProofError::NoSuchLeaf { index: 0, size: 0 })
    );
}

proptest! {
    #[test]
    fn large_trees_prove_their_leaves_and_their_history(
        size in 1..=LARGE, a in any::<u64>(), b in any::<u64>(), bit in 0_usize..256,
    ) {
        let tree = MemoryTree::large();
        let (index, old) = (a % size, 1 + b % size);
        let (leaf, root, old_root) =
            (tree.leaf(index), tree.root_at(size), tree.root_at(old));
        let path = inclusion_proof(index, size, tree.reader()).unwrap();
        prop_assert_eq!(verify_inclusion(&leaf, index, size, &path, &root), Ok(()));
        for bad in tampered(&path, bit) {
            prop_assert!(verify_inclusion(&leaf, index, size, &bad, &root).is_err());
        }
        let path = consistency_proof(old, size, tree.reader()).unwrap();
        prop_assert_eq!(verify_consistency(old, &old_root, size, &root, &path), Ok(()));
        for bad in tampered(&path, bit) {
            prop_assert!(verify_consistency(old, &old_root, size, &root, &bad).is_err());
        }
    }

    #[test]
    fn no_sizes_and_no_path_make_verification_panic(
        a in edge(), b in edge(), length in 0_usize..70,
    ) {
        let path = vec![empty_root(); length];
        prop_assert!(verify_inclusion(&path_root(), a, b, &path, &empty_root()).is_err());
        prop_assert!(verify_consistency(a, &path_root(), b, &empty_root(), &path).is_err());
    }

    #[test]
    fn the_independent_crate_accepts_what_we_prove_and_refuses_what_we_refuse(
        size in 1..=LARGE, a in any::<u64>(), b in any::<u64>(), bit in 0_usize..256,
    ) {
        let theirs = |hash: Digest| tlog_tiles::Hash(*hash.as_bytes());
        let all = |path: &[Digest]| path.iter().copied().map(theirs).collect::<Vec<_>>();
        let tree = MemoryTree::large();
        let (index, old) = (a % size, 1 + b % size);
        let (leaf, root, old_root) =
            (tree.leaf(index), tree.root_at(size), tree.root_at(old));
        prop_assert_eq!(tlog_tiles::tree_hash(size, tree).unwrap(), theirs(root));

        let path = inclusion_proof(index, size, tree.reader()).unwrap();
        prop_assert_eq!(tlog_tiles::prove_record(size, index, tree).unwrap(), all(&path));
        for path in tampered(&path, bit).into_iter().chain([path]) {
            prop_assert_eq!(
                tlog_tiles::check_record(&all(&path), size, theirs(root), index, theirs(leaf))
                    .is_ok(),
                verify_inclusion(&leaf, index, size, &path, &root).is_ok()
            );
        }

        let path = consistency_proof(old, size, tree.reader()).unwrap();
        prop_assert_eq!(tlog_tiles::prove_tree(size, old, tree).unwrap(), all(&path));
        for path in tampered(&path, bit).into_iter().chain([path]) {
            prop_assert_eq!(
                tlog_tiles::check_tree(&all(&path), size, theirs(root), old, theirs(old_root))
                    .is_ok(),
                verify_consistency(old, &old_root, size, &root, &path).is_ok()
            );
        }
    }
}

fn path_root() -> Digest {
    Digest::of(b"no root at all")
}

/// Sizes near powers of two and near the end of `u64`, where shifts and sums go wrong.
fn edge() -> impl Strategy<Value = u64> {
    (0_u32..64, -2_i64..3, any::<u64>()).prop_map(|(shift, delta, any)| match any % 3 {
        0 => any,
        1 => (1_u64 << shift).wrapping_add_signed(delta),
        _ => u64::MAX.saturating_sub(delta.unsigned_abs()),
    })
}
