mod complete;
mod pruned;

use std::collections::HashMap;
use std::convert::Infallible;
use std::os::unix::fs::symlink;

use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::export::{bundle_files, key_files};
use compliance_protocol::evidence::{Bundle, Outcome, SignedBundle};
use compliance_protocol::name::Id;
use compliance_protocol::time::Timestamp;
use compliance_protocol::tlog::{
    Checkpoint, TlogProof, VerifierKey, inclusion_proof, leaf_hash, root, stored_hashes,
};
use compliance_signing::{PrivateKey, sign_bundle, sign_checkpoint};
use tempfile::TempDir;

use super::*;
use crate::files::export as write;

const DAY: &str = "2026/11/20";

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(&[seed; 32]).unwrap()
}

fn log_key(seed: u8) -> VerifierKey {
    VerifierKey::new("mcp.example/log", key(seed).public()).unwrap()
}

fn id(n: u64) -> Id {
    let at: Timestamp = "2026-11-20T09:41:11.000Z".parse().unwrap();
    Id::new(at, [u8::try_from(n).unwrap(); 10])
}

fn bundle(sequence: u64, previous: Option<Digest>) -> Bundle {
    let system = serde_json::json!({ "running": null, "booted": null, "generation": null, "revision": null });
    let clock = serde_json::json!({
        "synchronised": true, "source": "kernel", "offset_ms": 0, "max_error_ms": 1, "stepped_back": false });
    serde_json::from_value(serde_json::json!({
        "$type": "urn:compliance-appliance:evidence:v1", "id": id(sequence), "ledger_id": id(99),
        "sequence": sequence, "previous_sha256": previous, "tenant": "acme", "site": "clinic-042", "epoch": 1,
        "mode": "direct", "reseller": null, "boot_id": "0b5b1e8c-5c1e-4d0e-9d4e-0123456789ab",
        "key_id": key(1).public().id(), "accepts": [], "started_at": "2026-11-20T09:41:11.000Z",
        "finished_at": "2026-11-20T09:41:12.000Z", "duration_ms": 1000, "clock": clock,
        "trigger": { "kind": "schedule", "order_id": null, "order_sequence": null, "order_sha256": null },
        "last_order_sequence": 0, "check": "backups", "check_version": 1, "mapping_version": 1, "controls": [],
        "baseline_sha256": null, "state": "compliant", "findings": [], "pre": {}, "actions": [], "post": {},
        "gates": [], "outcome": "success", "reason": "healed", "detail": "", "retry_after": null,
        "rollback": { "available": false, "performed": false, "to": null }, "system": system,
        "software": { "version": "0" } }))
    .unwrap()
}

fn chain(count: u64) -> Vec<(Bundle, SignedBundle)> {
    let mut previous = None;
    (1..=count)
        .map(|sequence| {
            let bundle = bundle(sequence, previous);
            let signed = sign_bundle(&bundle, &key(1)).unwrap();
            previous = Some(Digest::of(signed.json.as_slice()));
            (bundle, signed)
        })
        .collect()
}

fn receipts(chain: &[(Bundle, SignedBundle)], log: u8) -> Vec<String> {
    let mut nodes: HashMap<(u8, u64), Digest> = HashMap::new();
    let size = u64::try_from(chain.len()).unwrap();
    for (n, (_, signed)) in (0..).zip(chain) {
        let read = |level, index| Ok::<_, Infallible>(nodes[&(level, index)]);
        let new = stored_hashes(n, leaf_hash(signed.json.as_slice()), read).unwrap();
        nodes.extend(new.into_iter().map(|(level, index, hash)| ((level, index), hash)));
    }
    let read = |level, index| Ok::<_, Infallible>(nodes[&(level, index)]);
    let checkpoint = Checkpoint::new("mcp.example/log", size, root(size, read).unwrap()).unwrap();
    let checkpoint = sign_checkpoint(&checkpoint, &key(log)).unwrap();
    (0..size)
        .map(|index| {
            let path = inclusion_proof(index, size, read).unwrap();
            TlogProof { index, path, checkpoint: checkpoint.clone() }.to_string()
        })
        .collect()
}

/// A good export of five bundles, each with its receipt.
fn export() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    add_chain(dir.path(), &chain(5));
    for file in key_files(&key(1).public(), &log_key(2)).unwrap() {
        write(dir.path(), &file).unwrap();
    }
    dir
}

fn add_chain(top: &Path, chain: &[(Bundle, SignedBundle)]) {
    for ((bundle, signed), receipt) in chain.iter().zip(&receipts(chain, 2)) {
        for file in bundle_files(bundle, signed, Some(receipt)) {
            write(top, &file).unwrap();
        }
    }
}

fn remove_receipts(top: &Path, sequences: impl IntoIterator<Item = u64>) {
    for sequence in sequences {
        fs::remove_file(at(top, sequence, ".tlog-proof")).unwrap();
    }
}

/// The head of the chain as an operator knows it from elsewhere.
fn head(sequence: u64) -> Head {
    let (_, signed) = chain(sequence).pop().unwrap();
    Head { sequence, sha256: Digest::of(signed.json.as_slice()) }
}

fn keys() -> Keys {
    Keys::new(vec![key(1).public()], None, Some(log_key(2))).unwrap()
}

fn check(path: &Path, keys: &Keys) -> Report {
    verify(&[path.to_owned()], keys, &Demands::default())
}

fn check_with(path: &Path, heads: &[Head], pending_ok: bool) -> Report {
    let demands = Demands { heads: heads.to_vec(), pending_ok };
    verify(&[path.to_owned()], &keys(), &demands)
}

fn text(report: &Report) -> String {
    describe(report, crate::output::Output::new(false).paint())
}

/// The path of a bundle's file with this ending.
fn at(top: &Path, sequence: u64, ending: &str) -> PathBuf {
    top.join(DAY).join(format!("{}{ending}", bundle(sequence, None).file_stem()))
}

fn each_file(mut act: impl FnMut(&str)) {
    for part in Part::ALL {
        act(part.ending());
    }
}

#[test]
fn a_good_export_holds_and_says_what_was_verified() {
    let dir = export();
    let report = check(dir.path(), &keys());
    assert_eq!(report.problems, []);
    assert_eq!(report.verdict(), Verdict::Holds);
    assert_eq!((report.bundles, report.receipts, report.without_receipt), (5, 5, 0));
    assert_eq!((report.chains.len(), report.chains[0].last), (1, 5));
    assert!(text(&report).contains("5 bundles verified, 5 receipts verified"), "{}", text(&report));
}

type Damage = (&'static str, fn(&Path));

const DAMAGES: [Damage; 30] = [
    ("a signature is missing", |top| fs::remove_file(at(top, 2, ".json.sig")).unwrap()),
    ("a signature is empty", |top| fs::write(at(top, 2, ".json.sig"), "").unwrap()),
    ("a signature is garbage", |top| fs::write(at(top, 2, ".json.sig"), [7; 64]).unwrap()),
    ("a signature is too long", |top| fs::write(at(top, 2, ".json.sig"), [7; 65]).unwrap()),
    ("a signature is another bundle's", |top| {
        fs::copy(at(top, 3, ".json.sig"), at(top, 2, ".json.sig")).unwrap();
    }),
    ("a bundle is missing", |top| fs::remove_file(at(top, 2, ".json")).unwrap()),
    ("a bundle is empty", |top| fs::write(at(top, 2, ".json"), "").unwrap()),
    ("one byte of a bundle changed", |top| {
        let mut bytes = fs::read(at(top, 2, ".json")).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(at(top, 2, ".json"), bytes).unwrap();
    }),
    ("an envelope is missing", |top| fs::remove_file(at(top, 2, ".dsse.json")).unwrap()),
    ("an envelope is garbage", |top| fs::write(at(top, 2, ".dsse.json"), "{}").unwrap()),
    ("an envelope has no signature", |top| {
        let mut json: serde_json::Value =
            serde_json::from_slice(&fs::read(at(top, 2, ".dsse.json")).unwrap()).unwrap();
        json["signatures"] = serde_json::json!([]);
        fs::write(at(top, 2, ".dsse.json"), json.to_string()).unwrap();
    }),
    ("an envelope is another bundle's", |top| {
        fs::copy(at(top, 3, ".dsse.json"), at(top, 2, ".dsse.json")).unwrap();
    }),
    ("a receipt is garbage", |top| fs::write(at(top, 2, ".tlog-proof"), "received").unwrap()),
    ("a receipt is another bundle's", |top| {
        fs::copy(at(top, 3, ".tlog-proof"), at(top, 2, ".tlog-proof")).unwrap();
    }),
    ("a receipt is another log's", |top| {
        fs::write(at(top, 2, ".tlog-proof"), &receipts(&chain(5), 3)[1]).unwrap();
    }),
    ("a receipt is a link", |top| {
        fs::rename(at(top, 2, ".tlog-proof"), top.with_extension("moved")).unwrap();
        symlink(top.with_extension("moved"), at(top, 2, ".tlog-proof")).unwrap();
        fs::remove_file(top.with_extension("moved")).unwrap();
    }),
    ("a receipt in the middle is missing", |top| remove_receipts(top, [3])),
    ("the newest receipt is missing", |top| remove_receipts(top, [5])),
    ("all receipts are missing", |top| remove_receipts(top, 1..=5)),
    ("a bundle in the middle was taken out", |top| {
        each_file(|ending| fs::remove_file(at(top, 3, ending)).unwrap());
    }),
    ("the first bundle was taken out", |top| {
        each_file(|ending| fs::remove_file(at(top, 1, ending)).unwrap());
    }),
    ("a bundle was renamed", |top| {
        each_file(|ending| fs::rename(at(top, 5, ending), at(top, 6, ending)).unwrap());
    }),
    ("a bundle was moved to another day", |top| {
        fs::create_dir(top.join("2026/11/21")).unwrap();
        each_file(|ending| {
            let from = at(top, 5, ending);
            fs::rename(&from, top.join("2026/11/21").join(from.file_name().unwrap())).unwrap();
        });
    }),
    ("a foreign file lies at the top", |top| fs::write(top.join("README"), "").unwrap()),
    ("a hidden file lies among the bundles", |top| {
        fs::write(top.join(DAY).join(".x"), "").unwrap();
    }),
    ("a foreign folder lies at the top", |top| fs::create_dir(top.join("more")).unwrap()),
    ("the evidence key is missing", |top| fs::remove_file(top.join("evidence.pub")).unwrap()),
    ("the evidence key is another", |top| {
        fs::write(top.join("evidence.pub"), key(4).public().to_pem().unwrap()).unwrap();
    }),
    ("the log's key is another", |top| {
        fs::write(top.join("checkpoint.vkey"), format!("{}\n", log_key(4))).unwrap();
    }),
    ("all evidence was taken out", |top| fs::remove_dir_all(top.join("2026")).unwrap()),
];

#[test]
fn each_way_in_which_a_directory_can_be_wrong_fails() {
    for (name, damage) in DAMAGES {
        let dir = export();
        damage(dir.path());
        let report = check(dir.path(), &keys());
        assert_eq!(report.verdict(), Verdict::Fails, "{name}");
        assert!(!report.problems.is_empty(), "{name}");
    }
}

#[test]
fn whatever_else_is_damaged_fails_when_receipts_may_be_pending() {
    for (name, damage) in DAMAGES {
        let dir = export();
        damage(dir.path());
        let pending = ["the newest receipt is missing", "all receipts are missing"].contains(&name);
        let wanted = if pending { Verdict::Holds } else { Verdict::Fails };
        assert_eq!(check_with(dir.path(), &[head(5)], true).verdict(), wanted, "{name}");
    }
}

#[test]
fn evidence_forged_under_another_key_fails_although_that_key_lies_beside_it() {
    let dir = export();
    fs::write(dir.path().join("evidence.pub"), key(4).public().to_pem().unwrap()).unwrap();
    for sequence in 1..=5 {
        let json = fs::read(at(dir.path(), sequence, ".json")).unwrap();
        fs::write(at(dir.path(), sequence, ".json.sig"), key(4).sign(&json)).unwrap();
    }
    assert_eq!(check(dir.path(), &keys()).verdict(), Verdict::Fails);
}

#[test]
fn an_empty_directory_fails() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(check(dir.path(), &keys()).verdict(), Verdict::Fails);
}

#[test]
fn a_path_that_is_not_there_or_no_file_could_not_be_checked() {
    for path in ["/nonexistent/x", "/dev/null"] {
        assert_eq!(check(Path::new(path), &keys()).verdict(), Verdict::Unchecked, "{path}");
    }
}

#[test]
fn receipts_without_the_logs_key_are_reported_as_unchecked_and_never_skipped() {
    let dir = export();
    let keys = Keys::new(vec![key(1).public()], None, None).unwrap();
    let report = check(dir.path(), &keys);
    assert_eq!(report.verdict(), Verdict::Unchecked);
    assert_eq!((report.bundles, report.receipts, report.receipts_unchecked), (5, 0, 5));
    assert!(text(&report).contains("5 receipts NOT CHECKED"), "{}", text(&report));
    let one = check(&at(dir.path(), 2, ".json"), &keys);
    assert_eq!(one.verdict(), Verdict::Unchecked);
}

#[test]
fn any_file_of_a_bundle_stands_for_the_whole_bundle() {
    let dir = export();
    each_file(|ending| {
        let report = check(&at(dir.path(), 2, ending), &keys());
        assert_eq!((report.verdict(), report.bundles, report.receipts), (Verdict::Holds, 1, 1));
    });
    fs::remove_file(at(dir.path(), 2, ".json.sig")).unwrap();
    for ending in [".json", ".dsse.json", ".tlog-proof"] {
        assert_eq!(
            check(&at(dir.path(), 2, ending), &keys()).verdict(),
            Verdict::Fails,
            "{ending}"
        );
    }
}

#[test]
fn a_file_that_is_neither_evidence_nor_an_envelope_fails() {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in
        [("x", ""), ("x.json", "{}"), ("x", "{\"signed\":true}"), ("x.tlog-proof", "")]
    {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        assert_eq!(check(&path, &keys()).verdict(), Verdict::Fails, "{name} {content}");
    }
}

#[test]
fn nothing_verified_is_not_everything_verified() {
    assert_eq!(verify(&[], &keys(), &Demands::default()).verdict(), Verdict::Fails);
}
