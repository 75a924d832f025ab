//! The three hashes of RFC 6962 §2.1.

use crate::digest::Digest;

/// Keeps an entry from passing as an inner node (RFC 6962 §2.1, second-preimage resistance).
const LEAF_PREFIX: u8 = 0x00;
const NODE_PREFIX: u8 = 0x01;

/// The hash of a leaf: `SHA-256(0x00 || entry)` (RFC 6962 §2.1).
pub fn leaf_hash(entry: &[u8]) -> Digest {
    let mut bytes = Vec::with_capacity(1 + entry.len());
    bytes.push(LEAF_PREFIX);
    bytes.extend_from_slice(entry);
    Digest::of(&bytes)
}

/// The hash of an inner node: `SHA-256(0x01 || left || right)` (RFC 6962 §2.1).
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    let mut bytes = Vec::with_capacity(65);
    bytes.push(NODE_PREFIX);
    bytes.extend_from_slice(left.as_bytes());
    bytes.extend_from_slice(right.as_bytes());
    Digest::of(&bytes)
}

/// The root of a tree without leaves: `SHA-256("")` (RFC 6962 §2.1).
pub fn empty_root() -> Digest {
    Digest::of(b"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tlog::testing::digest;

    /// From the tests of Google's certificate-transparency (`merkletree/merkle_test`).
    #[test]
    fn the_hashes_are_those_of_certificate_transparency() {
        assert_eq!(
            empty_root(),
            digest("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        );
        assert_eq!(
            leaf_hash(b""),
            digest("6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d")
        );
        assert_eq!(
            leaf_hash(&hex::decode("101112131415161718191a1b1c1d1e1f").unwrap()),
            digest("3bfb960453ebaebf33727da7a1f4db38acc051d381b6da20d6d4e88f0eabfd7a")
        );
        assert_eq!(
            node_hash(
                &digest("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"),
                &digest("202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"),
            ),
            digest("1a378704c17da31e2d05b6d121c2bb2c7d76f6ee6fa8f983e596c2d034963c57")
        );
    }

    #[test]
    fn an_entry_shaped_like_a_node_does_not_hash_as_one() {
        let (left, right) = (leaf_hash(b"left"), leaf_hash(b"right"));
        let mut entry = left.as_bytes().to_vec();
        entry.extend_from_slice(right.as_bytes());
        assert_ne!(leaf_hash(&entry), node_hash(&left, &right));
    }
}
