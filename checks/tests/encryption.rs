//! The encryption check on machines that were captured from a real kernel.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod given;
mod scenes;

use std::rc::Rc;
use std::time::Duration;

use compliance_checks::encryption::luks::{Header, NotLuks2, Prefix};
use compliance_checks::encryption::{
    self, Device, Encryption, EncryptionBaseline, EncryptionFacts, Kind,
};
use compliance_checks::{Check, Circumstances, HostError, Report, Verdict};
use compliance_protocol::clock::{ClockDoubt, TrustedNow};
use compliance_protocol::evidence::Finding;
use compliance_protocol::name::AbsPath;
use compliance_protocol::time::Span;
use compliance_testkit::host::FakeHost;
use given::baseline;
use proptest::prelude::*;
use scenes::{folder, head, scene};
use serde_json::{Value, json};

fn check(host: &FakeHost, expected: &Value) -> Report {
    Encryption::default().run(host, &baseline(&json!({ "encryption": expected })), &anytime())
}

fn anytime() -> Circumstances {
    Circumstances {
        now: TrustedNow::Unknown(ClockDoubt::NoSource),
        uptime: Span::ZERO,
        expected_system: None,
        nonce: [0; 16],
    }
}

fn verdict(scene_name: &str, mounts: &[&str]) -> Verdict {
    check(&scene(scene_name), &json!({ "mounts": mounts })).verdict
}

#[track_caller]
fn drifts(verdict: &Verdict, subject: &str, actual: &str) {
    let has = |f: &&Finding| f.subject == subject && f.actual == actual && !f.expected.is_empty();
    assert!(verdict.findings().iter().any(|f| has(&f)), "{verdict:?}");
}

#[track_caller]
fn is_unknown(verdict: &Verdict, why: &str) {
    assert!(matches!(verdict, Verdict::Unknown(_)) && verdict.why().contains(why), "{verdict:?}");
}

#[test]
fn what_stands_on_luks2_is_compliant_however_it_is_stacked() {
    for (name, mounts) in [
        ("luks-lvm", vec!["/", "/home", "/nix/store"]),
        ("luks-partition", vec!["/", "/srv/patient records"]),
        ("btrfs", vec!["/", "/home", "/nix", "/mnt"]),
        ("luks-on-md", vec!["/"]),
        ("md-on-luks", vec!["/"]),
        ("thin", vec!["/"]),
        ("memory", vec!["/"]),
    ] {
        assert_eq!(verdict(name, &mounts), Verdict::Compliant, "{name}");
    }
}

#[test]
fn what_does_not_stand_on_luks2_is_drift() {
    let disk = "it stands on a disk without encryption";
    drifts(&verdict("plain", &["/"]), "/", disk);
    drifts(&verdict("plain", &["/"]), "swap", disk);
    drifts(&verdict("luks-lvm", &["/", "/boot"]), "/boot", disk);
    drifts(&verdict("md-half-luks", &["/"]), "/", disk);
    drifts(&verdict("btrfs-half-plain", &["/"]), "/", disk);
    drifts(&verdict("spanned", &["/"]), "/", disk);
    drifts(&verdict("hidden", &["/", "/srv"]), "/srv", disk);
    drifts(&verdict("luks1", &["/"]), "/", "it stands on LUKS1");
    drifts(&verdict("random-swap", &["/"]), "swap", "it stands on dm-crypt without a LUKS header");
}

#[test]
fn a_mount_that_is_not_there_or_not_seen_is_drift() {
    drifts(&verdict("luks-lvm", &["/", "/srv"]), "/srv", "nothing is mounted there");
    drifts(&verdict("hidden", &["/srv/deep"]), "/srv/deep", "nothing is mounted there");
    drifts(&verdict("memory", &["/srv/data"]), "/srv/data", "nothing is mounted there");
}

#[test]
fn a_weak_cipher_a_short_key_and_an_unfinished_encryption_are_drift() {
    let weak = verdict("weak", &["/", "/half"]);
    drifts(&weak, "/", "aes-cbc-essiv:sha256");
    drifts(&weak, "/", "256 bits");
    drifts(&weak, "/half", "256 bits");
    let half = json!({ "mounts": ["/half"], "min_key_bits": 256 });
    assert_eq!(check(&scene("weak"), &half).verdict, Verdict::Compliant);
    drifts(&verdict("reencrypt", &["/"]), "/", "(linear)");
}

#[test]
fn what_may_be_encrypted_in_a_way_that_we_do_not_see_is_unknown() {
    is_unknown(&verdict("memory", &["/loop"]), "loop");
    is_unknown(&verdict("memory", &["/m"]), "overlay");
    is_unknown(&verdict("memory", &["/srv"]), "tmpfs");
    is_unknown(&verdict("detached", &["/"]), "there is no LUKS header");
    is_unknown(&verdict("integrity", &["/"]), "LUKS header");
}

#[test]
fn swap_counts_only_when_the_baseline_asks() {
    let expected = json!({ "mounts": ["/"], "swap": false });
    assert_eq!(check(&scene("random-swap"), &expected).verdict, Verdict::Compliant);
}

#[test]
fn each_way_of_not_knowing_is_unknown() {
    let what = || "/dev/some-device".to_owned();
    let errors = [
        HostError::NotFound(what()),
        HostError::Denied(what()),
        HostError::TooLarge { what: what(), limit: 1 },
        HostError::TimedOut { what: what(), limit: Duration::from_secs(1) },
        HostError::ToolMissing(what()),
        HostError::Garbage { what: what(), why: "garbage".to_owned() },
        HostError::Io { what: what(), why: "I/O error".to_owned() },
    ];
    for path in [
        "/proc/1/mountinfo",
        "/proc/swaps",
        "/sys/class/block/dm-0/dm/uuid",
        "/sys/class/block/dm-1/dm/uuid",
        "/sys/class/block/ubda2/uevent",
        "/dev/ubda2",
    ] {
        for error in &errors {
            let host = scene("luks-lvm");
            host.fail(path, error.clone());
            let report = check(&host, &json!({ "mounts": ["/", "/home"] }));
            is_unknown(&report.verdict, "");
            let said = format!("{}{}", report.verdict.why(), Value::Object(report.facts));
            for secret in ["some-device", "ubda", "dm-", "vg-", "sysfs"] {
                assert!(!said.contains(secret), "{path}, {error}: {said} names {secret}");
            }
        }
    }
    for path in ["/proc/1/mountinfo", "/proc/swaps", "/dev/ubda2", "/sys/class/block/dm-0/dm/uuid"]
    {
        for garbage in [vec![], b"\xff\xfe garbage".to_vec(), vec![b'x'; 5 * 1024 * 1024]] {
            let host = scene("luks-lvm");
            host.write(path, garbage);
            is_unknown(&check(&host, &json!({ "mounts": ["/"] })).verdict, "");
        }
    }
    let host = scene("luks-lvm");
    host.unlink("/sys/dev/block/254:3");
    is_unknown(
        &check(&host, &json!({ "mounts": ["/"] })).verdict,
        "what it stands on is not there",
    );
    is_unknown(&check(&scene("plain"), &json!({ "mounts": [] })).verdict, "names no mount");
}

#[test]
fn drift_is_not_hidden_by_doubt() {
    let host = scene("luks-lvm");
    host.fail("/dev/ubda2", HostError::Denied("x".to_owned()));
    let report = check(&host, &json!({ "mounts": ["/", "/boot"] }));
    drifts(&report.verdict, "/boot", "it stands on a disk without encryption");
}

#[test]
fn another_volumes_header_below_is_not_believed() {
    let host = scene("luks-lvm");
    host.write("/dev/ubda2", head(&folder("thin").join("ubda.head")));
    is_unknown(&check(&host, &json!({ "mounts": ["/"] })).verdict, "another volume's");
}

#[test]
fn the_header_is_read_again_when_it_changed_and_only_then() {
    let host = scene("reencrypt");
    let baseline = baseline(&json!({ "encryption": { "mounts": ["/"] } }));
    let mut check = Encryption::default();
    let first = check.run(&host, &baseline, &anytime());
    let header = host.files()["/dev/ubda1"].clone().unwrap();
    // Only the binary part is there: enough for a header that is known.
    host.write("/dev/ubda1", &header[..4096]);
    assert_eq!(check.run(&host, &baseline, &anytime()), first);
    let mut changed = header;
    changed[23] += 1;
    host.write("/dev/ubda1", changed);
    is_unknown(&check.run(&host, &baseline, &anytime()).verdict, "checksum");
}

#[test]
fn facts_are_counts_and_ciphers_and_nothing_else() {
    let report = check(&scene("luks-lvm"), &json!({ "mounts": ["/"] }));
    let luks = json!({
        "luks2": 1, "ciphers": ["aes-xts-plain64"], "key_bits": 512, "keyslots": 1,
        "headers_unread": 0, "in_memory": false, "not_luks2": [], "unseen": [],
    });
    assert_eq!(Value::Object(report.facts), json!({ "/": luks, "swap": [luks] }));
}

#[test]
fn what_is_captured_is_compliant_at_once_or_says_why_not() {
    for (name, mounts) in [
        ("luks-lvm", Some(vec!["/", "/home"])),
        ("luks-partition", Some(vec!["/"])),
        ("btrfs", Some(vec!["/", "/home", "/nix"])),
        ("hidden", Some(vec!["/"])),
        ("detached", Some(vec!["/"])),
        ("plain", None),
        ("spanned", None),
        ("luks1", None),
    ] {
        let host = scene(name);
        let captured = encryption::capture(&host).expected;
        let Some(mounts) = mounts else {
            assert!(captured.unwrap_err().contains("LUKS2"), "{name}");
            continue;
        };
        let captured = captured.unwrap();
        let paths: Vec<_> = captured.mounts.iter().map(AbsPath::as_str).collect();
        assert_eq!(paths, mounts, "{name}");
        let verdict = check(&host, &serde_json::to_value(&captured).unwrap()).verdict;
        assert_eq!(verdict == Verdict::Compliant, name != "detached", "{name}: {verdict:?}");
    }
}

#[test]
fn what_does_not_stand_on_luks2_is_told_and_what_holds_no_files_is_not() {
    let remarks = |name: &str| encryption::capture(&scene(name)).remarks.join("\n");
    for (name, told) in [
        ("plain", "/ is not encrypted by LUKS2: it stands on a disk without encryption"),
        ("luks1", "it stands on LUKS1"),
        (
            "random-swap",
            "swap is not encrypted by LUKS2: it stands on dm-crypt without a LUKS header",
        ),
    ] {
        assert!(remarks(name).contains(told), "{name}: {}", remarks(name));
    }
    let boot = "/boot is not encrypted by LUKS2: it stands on a disk without encryption";
    assert_eq!(remarks("luks-lvm"), boot, "all else is, or holds no files");
}

#[test]
fn the_defaults_are_those_that_the_documentation_names() {
    let short: EncryptionBaseline = serde_json::from_value(json!({ "mounts": ["/"] })).unwrap();
    let long = json!({
        "mounts": ["/"], "swap": true, "ciphers": ["aes-xts-plain64"], "min_key_bits": 512,
    });
    assert_eq!(serde_json::to_value(short).unwrap(), long);
    let typo =
        serde_json::from_value::<EncryptionBaseline>(json!({ "mounts": ["/"], "cipher": [] }));
    assert!(typo.unwrap_err().to_string().contains("unknown field"));
}

#[test]
fn real_headers_are_read_and_others_refused_for_what_they_are() {
    let header = |scene: &str, device: &str| Header::parse(&head(&folder(scene).join(device)));
    let plain = header("luks-lvm", "ubda2.head").unwrap();
    assert_eq!((plain.ciphers, plain.key_bits), (vec!["aes-xts-plain64".to_owned()], Some(512)));
    assert_eq!(header("luks1", "ubda.head"), Err(NotLuks2::Version(1)));
    assert_eq!(header("detached", "ubda.head"), Err(NotLuks2::Magic));
    let mut bytes = head(&folder("luks-lvm").join("ubda2.head"));
    bytes[5000] ^= 1;
    assert_eq!(Header::parse(&bytes), Err(NotLuks2::Checksum));
    assert_eq!(Header::parse(&bytes[..8000]), Err(NotLuks2::Length));
    bytes[72] = b'S';
    assert_eq!(Prefix::parse(&bytes), Err(NotLuks2::ChecksumKind));
    bytes[8..16].copy_from_slice(&u64::MAX.to_be_bytes());
    assert_eq!(Prefix::parse(&bytes), Err(NotLuks2::Length));
}

/// A tree of devices, and whether every path from its top to a disk crosses LUKS2.
fn tree() -> impl Strategy<Value = (Rc<Device>, bool)> {
    let luks2 = || Header {
        uuid: String::new(),
        ciphers: vec!["aes-xts-plain64".to_owned()],
        key_bits: Some(512),
        keyslots: 1,
    };
    let device = |kind, below| Rc::new(Device { kind, below });
    let disk = Just((device(Kind::Disk, Vec::new()), false));
    disk.prop_recursive(6, 40, 4, move |inner| {
        let layer = (prop_oneof![Just(Kind::Layer), Just(Kind::OtherCrypt("LUKS1"))],
            proptest::collection::vec(inner.clone(), 1..4));
        prop_oneof![
            2 => layer.prop_map(move |(kind, below)| {
                let crosses = below.iter().all(|(_, crosses)| *crosses);
                (device(kind, below.into_iter().map(|(device, _)| device).collect()), crosses)
            }),
            1 => inner.prop_map(move |(below, _)| (device(Kind::Luks2(Ok(luks2())), vec![below]), true)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_mount_is_compliant_exactly_when_every_path_to_a_disk_crosses_luks2((device, crosses) in tree()) {
        let expected: EncryptionBaseline = serde_json::from_value(json!({ "mounts": ["/"] })).unwrap();
        let mounts = vec![("/".parse().unwrap(), Some(Ok(device)))];
        let seen = EncryptionFacts { mounts, swaps: Ok(Vec::new()) };
        match encryption::judge(&expected, &seen) {
            Verdict::Compliant => prop_assert!(crosses),
            Verdict::Drifted(_) => prop_assert!(!crosses),
            other => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn any_bytes_in_place_of_a_header_are_refused_or_read_without_a_panic(
        at in 0..6000_usize,
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        let mut header = head(&folder("luks-lvm").join("ubda2.head"));
        let end = (at + bytes.len()).min(header.len());
        header[at..end].copy_from_slice(&bytes[..end - at]);
        let _ = Header::parse(&header);
        let _ = Header::parse(&bytes);
    }
}
