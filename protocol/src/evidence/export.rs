//! The layout of exported evidence: which file holds what, for those who write it and who verify it.
//!
//! `<yyyy>/<mm>/<dd>/<sequence, 8 digits>-<id>` and one of the endings of [`Part`]; at the top
//! [`EVIDENCE_KEY_FILE`] and [`LOG_KEY_FILE`].

use super::{Bundle, SignedBundle};
use crate::key::{KeyError, PublicKey};
use crate::tlog::VerifierKey;

/// The site's evidence key, SPKI PEM, at the top of an export.
pub const EVIDENCE_KEY_FILE: &str = "evidence.pub";

/// The evidence log's key, a C2SP vkey and a newline, at the top of an export.
pub const LOG_KEY_FILE: &str = "checkpoint.vkey";

/// One file of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportFile {
    /// Its path, relative to the top, with `/`.
    pub path: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What a file of a bundle holds; its ending says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// `.json`: the bundle's exact bytes.
    Json,
    /// `.json.sig`: the raw signature over them.
    Signature,
    /// `.dsse.json`: the DSSE envelope of the statement about them.
    Envelope,
    /// `.tlog-proof`: the receipt, if there is one.
    Receipt,
}

impl Part {
    /// All parts, the bundle first.
    pub const ALL: [Self; 4] = [Self::Json, Self::Signature, Self::Envelope, Self::Receipt];

    /// The ending of the file's name.
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Json => ".json",
            Self::Signature => ".json.sig",
            Self::Envelope => ".dsse.json",
            Self::Receipt => ".tlog-proof",
        }
    }

    /// Splits a file's name into the bundle's stem and the part.
    pub fn of_name(name: &str) -> Option<(&str, Self)> {
        // `.dsse.json` also ends with `.json`: the longest ending decides.
        [Self::Envelope, Self::Signature, Self::Receipt, Self::Json]
            .into_iter()
            .find_map(|part| Some((name.strip_suffix(part.ending())?, part)))
    }
}

impl Bundle {
    /// The path of one of the bundle's files in an export, relative to the top.
    pub fn export_path(&self, part: Part) -> String {
        format!("{}/{}{}", self.folder(), self.file_stem(), part.ending())
    }
}

/// The files of one bundle: `bundle` is what `signed` holds, `receipt` its C2SP tlog-proof, if any.
pub fn bundle_files(
    bundle: &Bundle,
    signed: &SignedBundle,
    receipt: Option<&str>,
) -> Vec<ExportFile> {
    let file =
        |part, bytes: &[u8]| ExportFile { path: bundle.export_path(part), bytes: bytes.to_vec() };
    let mut files = vec![
        file(Part::Json, signed.json.as_slice()),
        file(Part::Signature, signed.sig.as_slice()),
        file(Part::Envelope, signed.dsse.as_slice()),
    ];
    files.extend(receipt.map(|text| file(Part::Receipt, text.as_bytes())));
    files
}

/// The two key files at the top.
pub fn key_files(evidence: &PublicKey, log: &VerifierKey) -> Result<[ExportFile; 2], KeyError> {
    let file =
        |path: &str, text: String| ExportFile { path: path.to_owned(), bytes: text.into_bytes() };
    Ok([file(EVIDENCE_KEY_FILE, evidence.to_pem()?), file(LOG_KEY_FILE, format!("{log}\n"))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ending_is_read_back_as_its_part() {
        for part in Part::ALL {
            let name = format!("00000204-x{}", part.ending());
            assert_eq!(Part::of_name(&name), Some(("00000204-x", part)));
        }
        for other in ["evidence.pub", "00000204-x", "00000204-x.sig", "x.json.bak", ""] {
            assert_eq!(Part::of_name(other), None, "{other}");
        }
    }
}
