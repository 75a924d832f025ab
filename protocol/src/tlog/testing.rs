//! A tree in memory and keys, for the tests of this module only.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use ed25519_dalek::{Signer as _, SigningKey};

use super::{VerifierKey, leaf_hash, root, stored_hashes};
use crate::digest::Digest;
use crate::key::PublicKey;

/// The store has no such hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the hash is not stored")]
pub(super) struct NotStored;

/// The nodes that a server would keep in its database.
#[derive(Debug, Default)]
pub(super) struct MemoryTree {
    nodes: BTreeMap<(u8, u64), Digest>,
    size: u64,
}

/// The leaves of [`MemoryTree::large`].
pub(super) const LARGE: u64 = 3000;

impl MemoryTree {
    /// A tree that has all the smaller ones of [`MemoryTree::of`] in it.
    pub(super) fn large() -> &'static Self {
        static TREE: LazyLock<MemoryTree> = LazyLock::new(|| MemoryTree::of(LARGE));
        &TREE
    }

    /// A tree whose leaf number n is the text `entry n`.
    pub(super) fn of(size: u64) -> Self {
        Self::seeded(size, "entry")
    }

    pub(super) fn seeded(size: u64, seed: &str) -> Self {
        let mut tree = Self::default();
        for index in 0..size {
            tree.append(leaf_hash(format!("{seed} {index}").as_bytes()));
        }
        tree
    }

    pub(super) fn append(&mut self, leaf: Digest) {
        for (level, index, hash) in stored_hashes(self.size, leaf, self.reader()).unwrap() {
            self.nodes.insert((level, index), hash);
        }
        self.size += 1;
    }

    pub(super) fn reader(&self) -> impl FnMut(u8, u64) -> Result<Digest, NotStored> {
        |level, index| self.nodes.get(&(level, index)).copied().ok_or(NotStored)
    }

    pub(super) fn root_at(&self, size: u64) -> Digest {
        root(size, self.reader()).unwrap()
    }

    pub(super) fn leaf(&self, index: u64) -> Digest {
        self.nodes[&(0, index)]
    }

    pub(super) fn leaves(&self) -> Vec<Digest> {
        (0..self.size).map(|index| self.leaf(index)).collect()
    }
}

impl tlog_tiles::HashReader for MemoryTree {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        let read = |index: &u64| {
            let node = tlog_tiles::split_stored_hash_index(*index);
            self.nodes.get(&node).map(|hash| tlog_tiles::Hash(*hash.as_bytes()))
        };
        indexes.iter().map(read).collect::<Option<_>>().ok_or(tlog_tiles::Error::IndexesNotInTree)
    }
}

pub(super) fn digest(text: &str) -> Digest {
    text.parse().unwrap()
}

pub(super) fn hashes(texts: &[&str]) -> Vec<Digest> {
    texts.iter().map(|text| digest(text)).collect()
}

/// `hash` with one of its 256 bits turned over.
pub(super) fn flipped(hash: Digest, bit: usize) -> Digest {
    let mut bytes = *hash.as_bytes();
    bytes[bit / 8] ^= 1 << (bit % 8);
    Digest::from_bytes(bytes)
}

/// A log's key pair, the same for the same seed.
pub(super) struct LogKey {
    secret: SigningKey,
    pub(super) public: VerifierKey,
}

impl LogKey {
    pub(super) fn new(name: &str, seed: u8) -> Self {
        let secret = SigningKey::from_bytes(&[seed; 32]);
        let public = PublicKey::from_bytes(secret.verifying_key().as_bytes()).unwrap();
        Self { secret, public: VerifierKey::new(name, public).unwrap() }
    }

    pub(super) fn sign(&self, text: &str) -> [u8; 64] {
        self.secret.sign(text.as_bytes()).to_bytes()
    }
}
