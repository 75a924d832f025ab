//! One bundle: its bytes, both signatures, its name, and its receipt.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use compliance_daemon::files;
use compliance_protocol::envelope::MAX_ENVELOPE;
use compliance_protocol::evidence::export::Part;
use compliance_protocol::evidence::{BundleError, MAX_BUNDLE, SignedBundle, VerifiedBundle};
use compliance_protocol::tlog::{MAX_RECEIPT_BYTES, TlogProof};

use super::{Keys, Report};

/// What both signatures of a bundle cover, also when the file's name or the receipt is wrong.
pub(super) struct Checked {
    pub(super) verified: VerifiedBundle,
    pub(super) receipt: Receipt,
}

/// Whether a bundle has a receipt, good or not.
pub(super) enum Receipt {
    Here,
    /// There should be one at this path.
    Absent(PathBuf),
}

/// Verifies the bundle `folder/stem`; what is wrong goes into `report`. That it has no receipt may be
/// allowed: that is for the caller to judge, who sees the whole chain.
pub(super) fn verify(
    folder: &Path,
    stem: &str,
    keys: &Keys,
    report: &mut Report,
) -> Option<Checked> {
    let path = folder.join(format!("{stem}{}", Part::Json.ending()));
    let problems = report.problems.len();
    let parts =
        [Part::Json, Part::Signature, Part::Envelope].map(|part| read(folder, stem, part, report));
    let [Some(json), Some(sig), Some(dsse)] = parts else { return None };
    let signed = SignedBundle { json: json.into(), sig: sig.into(), dsse: dsse.into() };
    let verified = match under_any_key(&signed, keys) {
        Ok(verified) => verified,
        Err(why) => {
            report.fails(&path, why);
            return None;
        }
    };
    let named = verified.bundle().file_stem();
    if named != stem {
        report.fails(&path, format!("holds the bundle {named} under another name"));
    }
    if let Some(why) = elsewhere(&verified, keys) {
        report.fails(&path, why);
    }
    let receipt = check_receipt(folder, stem, signed.json.as_slice(), keys, report);
    if report.problems.len() == problems {
        report.bundles += 1;
        match (&receipt, keys.log()) {
            (Receipt::Here, Some(_)) => report.receipts += 1,
            (Receipt::Here, None) => report.receipts_unchecked += 1,
            (Receipt::Absent(_), _) => report.without_receipt += 1,
        }
    }
    Some(Checked { verified, receipt })
}

/// The bundle under the first key that made both its signatures and that it names.
fn under_any_key(signed: &SignedBundle, keys: &Keys) -> Result<VerifiedBundle, String> {
    let mut why = "is not looked at: --key and --trust name different evidence keys".to_owned();
    for key in keys.evidence() {
        match signed.verify(key) {
            Ok(verified) if verified.bundle().key_id == key.id() => return Ok(verified),
            Ok(_) => return Err("names another key than the one that signed it".to_owned()),
            Err(error @ BundleError::BadSignature) => why = format!("does not verify: {error}"),
            Err(error) => return Err(format!("does not verify: {error}")),
        }
    }
    Err(why)
}

fn elsewhere(verified: &VerifiedBundle, keys: &Keys) -> Option<String> {
    let (bundle, trust) = (verified.bundle(), keys.trust()?);
    let same = (&bundle.tenant, &bundle.site) == (&trust.tenant, &trust.site);
    (!same)
        .then(|| format!("is of {}/{}, not of the trust file's site", bundle.tenant, bundle.site))
}

/// Without the log's key nobody looks into it, which the caller counts.
fn check_receipt(
    folder: &Path,
    stem: &str,
    json: &[u8],
    keys: &Keys,
    report: &mut Report,
) -> Receipt {
    let path = folder.join(format!("{stem}{}", Part::Receipt.ending()));
    match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Receipt::Absent(path),
        _ => {}
    }
    let Some(bytes) = read(folder, stem, Part::Receipt, report) else { return Receipt::Here };
    let Some(log) = keys.log() else { return Receipt::Here };
    let text = String::from_utf8_lossy(&bytes);
    let proof = TlogProof::parse(&text).and_then(|proof| proof.verify(json, log, log.name()));
    if let Err(error) = proof {
        report.fails(&path, format!("does not verify: {error}"));
    }
    Receipt::Here
}

/// Reads one file of the bundle: a plain file within its bound, or a problem.
fn read(folder: &Path, stem: &str, part: Part, report: &mut Report) -> Option<Vec<u8>> {
    let path = folder.join(format!("{stem}{}", part.ending()));
    let limit = match part {
        Part::Json => MAX_BUNDLE,
        Part::Signature => 64,
        Part::Envelope => MAX_ENVELOPE,
        Part::Receipt => MAX_RECEIPT_BYTES,
    };
    let plain = fs::symlink_metadata(&path).map(|metadata| metadata.is_file());
    match plain.and_then(|plain| plain.then(|| files::read(&path, limit)).transpose()) {
        Ok(Some(bytes)) => return Some(bytes),
        Ok(None) => report.fails(&path, "is not a plain file".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            report.fails(&path, "is missing".to_owned());
        }
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            report.fails(&path, error.to_string());
        }
        Err(error) => report.unread(&path, &error),
    }
    None
}
