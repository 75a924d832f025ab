//! Receipts: an offline-verifiable proof that an entry is in a log (C2SP tlog-proof@v1).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::checkpoint::{CheckpointError, MAX_NOTE_BYTES, SignedCheckpoint, VerifiedCheckpoint};
use super::merkle::leaf_hash;
use super::verify::{ProofError, verify_inclusion};
use super::vkey::VerifierKey;
use super::{decimal, hash_from_base64, hash_to_base64};
use crate::digest::Digest;

/// The most hashes that a path can have: the height of a tree whose size is a `u64`.
pub const MAX_PATH_HASHES: usize = 64;

/// The longest receipt that is read, in bytes: the longest checkpoint, and as much for the rest.
pub const MAX_RECEIPT_BYTES: usize = 2 * MAX_NOTE_BYTES;

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// A receipt (C2SP tlog-proof@v1), which proves nothing before [`verify`](Self::verify).
///
/// Its text, which [`fmt::Display`] writes and [`parse`](Self::parse) reads, belongs into a file
/// `*.tlog-proof`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// The number of the leaf, from 0.
    pub index: u64,
    /// The inclusion proof of RFC 6962 §2.1.1, the leaf's sibling first.
    pub path: Vec<Digest>,
    /// The signed checkpoint, verbatim.
    pub checkpoint: String,
}

impl TlogProof {
    /// Reads a receipt. An `extra` line must be base64 as the specification says; it is not
    /// authenticated, so it is then dropped.
    ///
    /// # Errors
    /// [`ReceiptError::TooLarge`], [`ReceiptError::NotAReceipt`], [`ReceiptError::BadExtra`],
    /// [`ReceiptError::BadIndex`], [`ReceiptError::BadPath`], [`ReceiptError::PathTooLong`], and
    /// [`ReceiptError::Checkpoint`] when the rest is not a signed checkpoint.
    pub fn parse(text: &str) -> Result<Self, ReceiptError> {
        if text.len() > MAX_RECEIPT_BYTES {
            return Err(ReceiptError::TooLarge);
        }
        let (head, checkpoint) = text.split_once("\n\n").ok_or(ReceiptError::NotAReceipt)?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(ReceiptError::NotAReceipt);
        }
        if let Some(extra) = lines.next_if(|line| line.starts_with("extra ")) {
            let data = extra.strip_prefix("extra ").and_then(|data| STANDARD.decode(data).ok());
            // "If no extra data is present, this line is omitted."
            if data.is_none_or(|data| data.is_empty()) {
                return Err(ReceiptError::BadExtra);
            }
        }
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).and_then(decimal);
        let index = index.ok_or(ReceiptError::BadIndex)?;
        let mut path = Vec::new();
        for line in lines {
            if path.len() == MAX_PATH_HASHES {
                return Err(ReceiptError::PathTooLong);
            }
            path.push(hash_from_base64(line).ok_or(ReceiptError::BadPath)?);
        }
        SignedCheckpoint::parse(checkpoint)?;
        Ok(Self { index, path, checkpoint: checkpoint.to_owned() })
    }

    /// Verifies that `entry`, these exact bytes, is in the log `origin`, by the word of `key`
    /// (tlog-proof, "Verifying a tlog proof"). Cosignatures of witnesses are not looked at.
    ///
    /// # Errors
    /// [`ReceiptError::Checkpoint`] when the checkpoint is not one that `key` signed for `origin`,
    /// [`ReceiptError::Proof`] when the entry is not in the tree of that checkpoint.
    pub fn verify(
        &self,
        entry: &[u8],
        key: &VerifierKey,
        origin: &str,
    ) -> Result<VerifiedCheckpoint, ReceiptError> {
        let checkpoint = SignedCheckpoint::parse(&self.checkpoint)?.verify(key, origin)?;
        let (size, root) = (checkpoint.size(), checkpoint.root());
        verify_inclusion(&leaf_hash(entry), self.index, size, &self.path, &root)?;
        Ok(checkpoint)
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HEADER}\nindex {}\n", self.index)?;
        for hash in &self.path {
            writeln!(f, "{}", hash_to_base64(hash))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

/// Why a receipt is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Longer than [`MAX_RECEIPT_BYTES`].
    #[error("the receipt is longer than {MAX_RECEIPT_BYTES} bytes")]
    TooLarge,
    /// Not the header of tlog-proof@v1, or no empty line before a checkpoint.
    #[error(
        "this is not a receipt: it must begin with the line {HEADER} and have an empty line before \
         its checkpoint"
    )]
    NotAReceipt,
    /// The `extra` line is not `extra`, a space and base64 of at least one byte.
    #[error("the receipt's extra line is not base64")]
    BadExtra,
    /// The `index` line is missing or not a decimal number below 2^64 without leading zeros.
    #[error(
        "the receipt does not have a line \"index\" with a decimal number without leading zeros"
    )]
    BadIndex,
    /// A line of the path is not the base64 of 32 bytes.
    #[error("a line of the receipt's inclusion proof is not the base64 of 32 bytes")]
    BadPath,
    /// More than [`MAX_PATH_HASHES`].
    #[error("the receipt's inclusion proof has more than {MAX_PATH_HASHES} hashes")]
    PathTooLong,
    /// The checkpoint is malformed, or not the one of this log.
    #[error("the receipt's checkpoint is refused")]
    Checkpoint(#[from] CheckpointError),
    /// The entry is not in the log, or it was changed since.
    #[error("the receipt does not prove that these bytes are in the log")]
    Proof(#[from] ProofError),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tlog::checkpoint::{Checkpoint, MAX_NOTE_SIGNATURES, note_to_sign};
    use crate::tlog::prove::inclusion_proof;
    use crate::tlog::testing::{LARGE, LogKey, MemoryTree, flipped};

    const ORIGIN: &str = "mcp.example/evidence-log/2026";

    fn entry(index: u64) -> Vec<u8> {
        format!("entry {index}").into_bytes()
    }

    fn receipt(index: u64, size: u64) -> TlogProof {
        let (tree, log) = (MemoryTree::large(), log());
        let checkpoint = Checkpoint::new(ORIGIN, size, tree.root_at(size)).unwrap();
        let signature = log.sign(&note_to_sign(&checkpoint));
        TlogProof {
            index,
            path: inclusion_proof(index, size, tree.reader()).unwrap(),
            checkpoint: SignedCheckpoint::assemble(&checkpoint, &log.public, &signature),
        }
    }

    fn log() -> LogKey {
        LogKey::new(ORIGIN, 1)
    }

    #[test]
    fn the_text_is_that_of_the_specification() {
        let receipt = receipt(2, 3);
        let [sibling] = receipt.path[..] else { panic!("{receipt}") };
        let expected = format!(
            "c2sp.org/tlog-proof@v1\nindex 2\n{}\n\n{}",
            hash_to_base64(&sibling),
            receipt.checkpoint
        );
        assert_eq!(receipt.to_string(), expected);
        assert!(receipt.checkpoint.starts_with(&format!("{ORIGIN}\n3\n")));
    }

    #[test]
    fn every_receipt_is_read_back_and_verifies_up_to_40_leaves() {
        let key = log().public;
        for size in 1..=40 {
            for index in 0..size {
                let receipt = receipt(index, size);
                assert_eq!(TlogProof::parse(&receipt.to_string()), Ok(receipt.clone()));
                let verified = receipt.verify(&entry(index), &key, ORIGIN).unwrap();
                assert_eq!((verified.origin(), verified.size()), (ORIGIN, size));
            }
        }
    }

    #[test]
    fn a_changed_entry_index_path_checkpoint_key_or_origin_is_refused() {
        let (good, key) = (receipt(5, 9), log().public);
        assert!(good.verify(&entry(5), &key, ORIGIN).is_ok());
        let wrong_root = Err(ReceiptError::Proof(ProofError::WrongRoot));
        assert_eq!(good.verify(&entry(4), &key, ORIGIN), wrong_root);
        assert_eq!(good.verify(b"", &key, ORIGIN), wrong_root);
        for index in [0, 4, 6, 8, 9, u64::MAX] {
            let bad = TlogProof { index, ..good.clone() };
            assert!(matches!(bad.verify(&entry(5), &key, ORIGIN), Err(ReceiptError::Proof(_))));
        }
        for i in 0..good.path.len() {
            let mut bad = good.clone();
            bad.path[i] = flipped(bad.path[i], 9);
            assert_eq!(bad.verify(&entry(5), &key, ORIGIN), wrong_root);
        }
        let bad = TlogProof { checkpoint: receipt(5, 10).checkpoint, ..good.clone() };
        assert_eq!(bad.verify(&entry(5), &key, ORIGIN), wrong_root);
        let bad =
            TlogProof { checkpoint: good.checkpoint.replacen("\n9\n", "\n8\n", 1), ..good.clone() };
        assert!(matches!(
            bad.verify(&entry(5), &key, ORIGIN),
            Err(ReceiptError::Checkpoint(CheckpointError::BadSignature { .. }))
        ));
        assert!(matches!(
            good.verify(&entry(5), &LogKey::new(ORIGIN, 2).public, ORIGIN),
            Err(ReceiptError::Checkpoint(CheckpointError::Unsigned { .. }))
        ));
        assert!(matches!(
            good.verify(&entry(5), &key, "mcp.example/evidence-log/2025"),
            Err(ReceiptError::Checkpoint(CheckpointError::WrongOrigin { .. }))
        ));
    }

    #[test]
    fn an_extra_line_is_checked_and_dropped() {
        let receipt = receipt(5, 9);
        let with =
            |line: &str| receipt.to_string().replacen("\nindex", &format!("\n{line}\nindex"), 1);
        assert_eq!(TlogProof::parse(&with("extra YWdl")), Ok(receipt.clone()));
        for (bad, error) in [
            ("extra ", ReceiptError::BadExtra),
            ("extra YWdl=", ReceiptError::BadExtra),
            ("extra YWdl ", ReceiptError::BadExtra),
            ("extra  YWdl", ReceiptError::BadExtra),
            ("extra YWdl\r", ReceiptError::BadExtra),
            ("extra YW-_", ReceiptError::BadExtra),
            ("extra", ReceiptError::BadIndex),
            ("Extra YWdl", ReceiptError::BadIndex),
            ("extra YWdl\nextra YWdl", ReceiptError::BadIndex),
        ] {
            assert_eq!(TlogProof::parse(&with(bad)), Err(error), "{bad:?}");
        }
        let late = receipt.to_string().replacen("index 5", "index 5\nextra YWdl", 1);
        assert_eq!(TlogProof::parse(&late), Err(ReceiptError::BadPath));
    }

    #[test]
    fn each_rule_has_its_refusal() {
        use ReceiptError::{BadIndex, BadPath, NotAReceipt, PathTooLong, TooLarge};
        let receipt = receipt(5, 9);
        let (good, hash) = (receipt.to_string(), hash_to_base64(&receipt.path[0]));
        for (from, to, error) in [
            ("@v1", "@v2", NotAReceipt),
            ("c2sp", "\nc2sp", NotAReceipt),
            ("c2sp", " c2sp", NotAReceipt),
            ("@v1\n", "@v1\r\n", NotAReceipt),
            ("@v1\n", "@v1 ", NotAReceipt),
            ("index 5\n", "", BadIndex),
            ("index 5", "index", BadIndex),
            ("index 5", "index ", BadIndex),
            ("index 5", "index  5", BadIndex),
            ("index 5", "index 5 ", BadIndex),
            ("index 5", "index 05", BadIndex),
            ("index 5", "index +5", BadIndex),
            ("index 5", "index -5", BadIndex),
            ("index 5", "index 18446744073709551616", BadIndex),
            ("index 5", "Index 5", BadIndex),
            (&hash, "AAAA", BadPath),
            (&hash, &format!("{hash} "), BadPath),
            (&hash, &format!("{hash}\r"), BadPath),
            (&hash, hash.trim_end_matches('='), BadPath),
            (&hash, &receipt.path[0].to_string(), BadPath),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_eq!(TlogProof::parse(&bad), Err(error), "{bad:?}");
        }
        let long = TlogProof { path: vec![receipt.path[0]; 65], ..receipt.clone() };
        assert_eq!(TlogProof::parse(&long.to_string()), Err(PathTooLong));
        let longest = TlogProof { path: vec![receipt.path[0]; 64], ..receipt.clone() };
        assert_eq!(TlogProof::parse(&longest.to_string()), Ok(longest));
        let extra = format!("@v1\nextra {}\n", "A".repeat(MAX_RECEIPT_BYTES));
        assert_eq!(TlogProof::parse(&good.replacen("@v1\n", &extra, 1)), Err(TooLarge));
        for bad in ["", HEADER, "c2sp.org/tlog-proof@v1\nindex 5\n"] {
            assert_eq!(TlogProof::parse(bad), Err(NotAReceipt));
        }
        for (from, to) in [("\n\n", "\n\n\n"), ("\n9\n", "\n09\n")] {
            let bad = good.replacen(from, to, 1);
            assert!(matches!(TlogProof::parse(&bad), Err(ReceiptError::Checkpoint(_))), "{bad:?}");
        }
    }

    #[test]
    fn a_receipt_with_as_many_signatures_as_allowed_is_read() {
        let mut receipt = receipt(5, 9);
        let witness = format!("\u{2014} witness.example {}\n", STANDARD.encode([1; 4 + 2420]));
        receipt.checkpoint += &witness.repeat(MAX_NOTE_SIGNATURES - 1);
        assert_eq!(TlogProof::parse(&receipt.to_string()), Ok(receipt.clone()));
        assert!(receipt.verify(&entry(5), &log().public, ORIGIN).is_ok());
    }

    #[test]
    fn no_altered_character_of_a_receipt_verifies() {
        let (text, key) = (receipt(5, 9).to_string(), log().public);
        for (at, c) in text.char_indices() {
            for other in ['A', 'z', '0', '6', '+', '/', '=', ' ', '\n'] {
                if other != c {
                    let altered = [&text[..at], &other.to_string(), &text[at + c.len_utf8()..]];
                    let verified = TlogProof::parse(&altered.concat())
                        .and_then(|receipt| receipt.verify(&entry(5), &key, ORIGIN));
                    assert!(verified.is_err(), "{}", altered.concat());
                }
            }
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_reading_panic(
            text in "(c2sp.org/tlog-proof@v1\n)?(extra |index |[0-9A=]|\n|\\PC){0,60}",
        ) {
            let _ = TlogProof::parse(&text);
        }

        #[test]
        fn a_receipt_of_a_large_log_verifies_by_our_code_and_the_independent_crates(
            size in 1..=LARGE, at: u64,
        ) {
            let index = at % size;
            let text = receipt(index, size).to_string();
            let parsed = TlogProof::parse(&text).unwrap();
            prop_assert!(parsed.verify(&entry(index), &log().public, ORIGIN).is_ok());

            let note = signed_note::Note::from_bytes(parsed.checkpoint.as_bytes()).unwrap();
            let body = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
            let path = parsed.path.iter().map(|hash| tlog_tiles::Hash(*hash.as_bytes())).collect();
            let leaf = tlog_tiles::record_hash(&entry(index));
            tlog_tiles::check_record(&path, body.size(), *body.hash(), index, leaf).unwrap();
        }
    }
}
