use proptest::prelude::*;

use super::*;
use crate::tlog::empty_root;
use crate::tlog::testing::{LogKey, MemoryTree};

const ORIGIN: &str = "mcp.example/evidence-log/2026";

/// A tree head of Go's checksum database, as quoted in the tests of transparency-dev/formats.
const SUMDB: &str = "go.sum database tree\n6476701\n\
    mb8QLQIs0Z0yP5Cstq6guj87oXWeC9gEM8oVikmm9Wk=\n\n\
    \u{2014} sum.golang.org Az3grsLX85Gz+s1SiTbgkuqxgItqFq7gsMUEyVnrsa9LM7Us9S+1xbFIGu95949rj4nPRYf\
    vimWEPWL+o3GeoWwOoAw=\n";
const SUMDB_KEY: &str = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";

fn checkpoint() -> Checkpoint {
    Checkpoint::new(ORIGIN, 70, MemoryTree::of(70).root_at(70)).unwrap()
}

fn log() -> LogKey {
    LogKey::new(ORIGIN, 1)
}

fn signed(checkpoint: &Checkpoint, log: &LogKey) -> String {
    let signature = log.sign(&note_to_sign(checkpoint));
    SignedCheckpoint::assemble(checkpoint, &log.public, &signature)
}

/// Only the signature lines of a note.
fn lines(note: &str) -> &str {
    note.rsplit_once("\n\n").unwrap().1
}

fn verify(note: &str, key: &VerifierKey) -> Result<VerifiedCheckpoint, CheckpointError> {
    SignedCheckpoint::parse(note)?.verify(key, ORIGIN)
}

#[test]
fn a_checkpoint_of_sum_golang_org_verifies() {
    let key: VerifierKey = SUMDB_KEY.parse().unwrap();
    let signed = SignedCheckpoint::parse(SUMDB).unwrap();
    let verified = signed.verify(&key, "go.sum database tree").unwrap();
    assert_eq!(verified.size(), 6_476_701);
    assert_eq!(verified.checkpoint().body(), SUMDB.split_once("\n\n").unwrap().0.to_owned() + "\n");
    assert!(matches!(signed.verify(&key, ORIGIN), Err(CheckpointError::WrongOrigin { .. })));
}

#[test]
fn the_example_of_the_specification_is_read() {
    let body =
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    let checkpoint = Checkpoint::parse(body).unwrap();
    assert_eq!(checkpoint.origin(), "example.com/behind-the-sofa");
    assert_eq!(checkpoint.size(), 20_852_163);
    assert_eq!(checkpoint.body(), body);
}

#[test]
fn what_is_assembled_verifies_and_the_independent_crates_agree() {
    let (checkpoint, log) = (checkpoint(), log());
    let note = signed(&checkpoint, &log);
    let verified = verify(&note, &log.public).unwrap();
    assert_eq!(verified.checkpoint(), &checkpoint);

    let theirs = signed_note::Note::from_bytes(note.as_bytes()).unwrap();
    let key = signed_note::StandardVerifier::new(&log.public.to_string()).unwrap();
    let (by_log, others) =
        theirs.verify(&signed_note::VerifierList::new(vec![Box::new(key)])).unwrap();
    assert_eq!((by_log.len(), others.len()), (1, 0));
    let body = tlog_tiles::Checkpoint::from_bytes(theirs.text()).unwrap();
    assert_eq!((body.origin(), body.size(), body.extension()), (ORIGIN, 70, ""));
    assert_eq!(&body.hash().0, checkpoint.root().as_bytes());
}

#[test]
fn a_note_that_the_independent_crate_signs_verifies() {
    let skey = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    let vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let signer = signed_note::StandardSigner::new(skey).unwrap();
    let mut note = signed_note::Note::new(checkpoint().body().as_bytes(), &[]).unwrap();
    note.add_sigs(&[&signer]).unwrap();
    let note = String::from_utf8(note.to_bytes()).unwrap();
    let verified = verify(&note, &vkey.parse().unwrap()).unwrap();
    assert_eq!(verified.checkpoint(), &checkpoint());
}

#[test]
fn each_rule_of_the_body_has_its_refusal() {
    use CheckpointError::{BadOrigin, BadRoot, BadSize, Extension, NotThreeLines};
    let root = hash_to_base64(&empty_root());
    let good = format!("{ORIGIN}\n0\n{root}\n");
    assert_eq!(Checkpoint::parse(&good).unwrap().body(), good);
    let with_size = |size: &str| format!("{ORIGIN}\n{size}\n{root}\n");
    let with_root = |root: &str| format!("{ORIGIN}\n0\n{root}\n");
    // 32 bytes end in 2 unused bits: "FU=" here, of which "FV=" would be another spelling.
    let alias = root.replace("FU=", "FV=");
    assert_ne!(alias, root);
    for (bad, error) in [
        (String::new(), NotThreeLines),
        ("\n".to_owned(), NotThreeLines),
        (format!("{ORIGIN}\n0\n"), NotThreeLines),
        (format!("{ORIGIN}\n0\n{root}"), NotThreeLines),
        (format!("{good}extension\n"), Extension),
        (format!("{good}\n"), Extension),
        (format!("\n0\n{root}\n"), BadOrigin),
        (format!("a\tb\n0\n{root}\n"), BadOrigin),
        (format!("{ORIGIN}\r\n0\n{root}\n"), BadOrigin),
        (with_size(""), BadSize),
        (with_size("00"), BadSize),
        (with_size("07"), BadSize),
        (with_size("+7"), BadSize),
        (with_size("-7"), BadSize),
        (with_size(" 7"), BadSize),
        (with_size("7 "), BadSize),
        (with_size("7\r"), BadSize),
        (with_size("0x7"), BadSize),
        (with_size("7e1"), BadSize),
        (with_size("\u{667}"), BadSize),
        (with_size("18446744073709551616"), BadSize),
        (with_root(""), BadRoot),
        (with_root(root.trim_end_matches('=')), BadRoot),
        (with_root(&format!("{root}=")), BadRoot),
        (with_root(&format!("{root} ")), BadRoot),
        (with_root(&alias), BadRoot),
        (with_root(&root.replace('/', "_")), BadRoot),
        (with_root(&STANDARD.encode([0; 31])), BadRoot),
        (with_root(&STANDARD.encode([0; 33])), BadRoot),
        (with_root(&empty_root().to_string()), BadRoot),
    ] {
        assert_eq!(Checkpoint::parse(&bad), Err(error), "{bad:?}");
    }
    let largest = with_size("18446744073709551615");
    assert_eq!(Checkpoint::parse(&largest).unwrap().size(), u64::MAX);
}

#[test]
fn we_write_no_origin_that_cannot_be_a_key_name() {
    for bad in ["", "a b", "a+b", "a\nb", "a\tb", "a\u{2003}b", "a\u{1}b"] {
        let refused = Checkpoint::new(bad, 0, empty_root());
        assert_eq!(refused, Err(CheckpointError::BadOrigin), "{bad:?}");
    }
}

#[test]
fn each_rule_of_the_note_has_its_refusal() {
    use CheckpointError::{
        BadSignatureLine, ControlCharacter, Extension, NotANote, NotThreeLines, TooLarge,
        TooManySignatures,
    };
    let (body, note) = (checkpoint().body(), signed(&checkpoint(), &log()));
    let with_line = |line: &str| format!("{body}\n{line}\n");
    let five = STANDARD.encode([0; 5]);
    assert!(SignedCheckpoint::parse(&with_line(&format!("\u{2014} a {five}"))).is_ok());
    for (bad, error) in [
        (String::new(), NotANote),
        (body.clone(), NotANote),
        (format!("{body}\n"), NotANote),
        (note.trim_end().to_owned(), NotANote),
        (body.clone() + lines(&note), NotANote),
        (note.replace("\n\n", "\n\n\n"), Extension),
        (format!("{note}\n"), NotANote),
        // A second block of signatures makes the first one part of the text.
        (format!("{note}\n{}", lines(&note)), Extension),
        (note.replace('\n', "\r\n"), ControlCharacter),
        (note.replace(ORIGIN, "a\u{0}b"), ControlCharacter),
        (note.replace(ORIGIN, "a\tb"), ControlCharacter),
        (format!("\n\n{}", lines(&note)), NotThreeLines),
        (with_line(""), NotANote),
        (with_line(&format!("- a {five}")), BadSignatureLine),
        (with_line(&format!("\u{2014}a {five}")), BadSignatureLine),
        (with_line(&format!(" \u{2014} a {five}")), BadSignatureLine),
        (with_line(&format!("\u{2014} {five}")), BadSignatureLine),
        (with_line(&format!("\u{2014}  {five}")), BadSignatureLine),
        (with_line(&format!("\u{2014} a  {five}")), BadSignatureLine),
        (with_line(&format!("\u{2014} a {five} ")), BadSignatureLine),
        (with_line(&format!("\u{2014} a {five} b")), BadSignatureLine),
        (with_line(&format!("\u{2014} a+b {five}")), BadSignatureLine),
        (with_line(&format!("\u{2014} a\u{a0}b {five}")), BadSignatureLine),
        (with_line("\u{2014} a "), BadSignatureLine),
        (with_line("\u{2014} a"), BadSignatureLine),
        (with_line("\u{2014} a !!!!"), BadSignatureLine),
        (with_line(&format!("\u{2014} a {}", STANDARD.encode([0; 4]))), BadSignatureLine),
        (format!("{note}{}", "\u{2014} a AAAAAAA=\n".repeat(16)), TooManySignatures),
        (format!("{}{note}", " ".repeat(MAX_NOTE_BYTES)), TooLarge),
    ] {
        assert_eq!(SignedCheckpoint::parse(&bad), Err(error), "{bad:?}");
    }
}

#[test]
fn the_limits_are_the_last_that_is_read() {
    let log = log();
    let (note, line) = (signed(&checkpoint(), &log), "\u{2014} a AAAAAAA=\n");
    let full = format!("{note}{}", line.repeat(MAX_NOTE_SIGNATURES - 1));
    assert!(verify(&full, &log.public).is_ok());
    let refused = Err(CheckpointError::TooManySignatures);
    assert_eq!(verify(&format!("{full}{line}"), &log.public), refused);

    let name = "a".repeat(MAX_NOTE_BYTES - note.len() - line.len());
    let longest = format!("{note}\u{2014} a{name} AAAAAAA=\n");
    assert_eq!(longest.len(), MAX_NOTE_BYTES);
    assert!(verify(&longest, &log.public).is_ok());
    let longer = format!("{note}\u{2014} aa{name} AAAAAAA=\n");
    assert_eq!(verify(&longer, &log.public), Err(CheckpointError::TooLarge));
}

#[test]
fn signatures_of_unknown_keys_are_ignored_even_with_the_same_name_or_id() {
    let (checkpoint, log) = (checkpoint(), log());
    let note = signed(&checkpoint, &log);
    let same_name = LogKey::new(ORIGIN, 2);
    let mut same_id = log.public.id().to_vec();
    same_id.extend([0; 64]);
    let unknown = format!(
        "{}\u{2014} another.example/log {}\n\u{2014} witness.example AAAAAAAA\n",
        lines(&signed(&checkpoint, &same_name)),
        STANDARD.encode(same_id)
    );
    let body = checkpoint.body();
    assert!(verify(&format!("{body}\n{unknown}{}", lines(&note)), &log.public).is_ok());
    assert!(verify(&format!("{note}{unknown}"), &log.public).is_ok());
    let refused = verify(&format!("{body}\n{unknown}"), &log.public);
    assert_eq!(refused, Err(CheckpointError::Unsigned { key: log.public.to_string() }));
}

#[test]
fn a_bad_signature_of_the_known_key_spoils_a_good_one() {
    let (checkpoint, log) = (checkpoint(), log());
    let good = signed(&checkpoint, &log);
    let other = Checkpoint::new(ORIGIN, 71, checkpoint.root()).unwrap();
    let short = STANDARD.encode([&log.public.id()[..], &[7; 63]].concat());
    let short = format!("\u{2014} {ORIGIN} {short}\n");
    let refused = Err(CheckpointError::BadSignature { name: ORIGIN.to_owned() });
    for bad in [lines(&signed(&other, &log)), &short] {
        assert_eq!(verify(&format!("{good}{bad}"), &log.public), refused);
        let first = format!("{}\n{bad}{}", checkpoint.body(), lines(&good));
        assert_eq!(verify(&first, &log.public), refused);
        assert_eq!(verify(&format!("{}\n{bad}", checkpoint.body()), &log.public), refused);
    }
    assert!(verify(&format!("{good}{}", lines(&good)), &log.public).is_ok());
}

#[test]
fn no_altered_character_of_a_signed_checkpoint_verifies() {
    let log = log();
    let note = signed(&checkpoint(), &log);
    for (at, c) in note.char_indices() {
        for other in ['A', 'B', '0', '9', '+', '/', '=', ' ', '\n', '\u{2014}'] {
            if other != c {
                let altered =
                    [&note[..at], &other.to_string(), &note[at + c.len_utf8()..]].concat();
                assert!(verify(&altered, &log.public).is_err(), "{altered}");
            }
        }
    }
}

#[test]
fn another_log_of_the_same_key_is_refused() {
    let log = log();
    let other = Checkpoint::new("mcp.example/evidence-log/2025", 1, empty_root()).unwrap();
    assert_eq!(
        verify(&signed(&other, &log), &log.public),
        Err(CheckpointError::WrongOrigin {
            found: "mcp.example/evidence-log/2025".to_owned(),
            expected: ORIGIN.to_owned(),
        })
    );
}

proptest! {
    #[test]
    fn every_checkpoint_has_one_spelling(size: u64, root: [u8; 32], name in "[!-*,-~]{1,40}") {
        let checkpoint = Checkpoint::new(&name, size, Digest::from_bytes(root)).unwrap();
        prop_assert_eq!(Checkpoint::parse(&checkpoint.body()), Ok(checkpoint.clone()));
        let log = LogKey::new(&name, 3);
        let note = SignedCheckpoint::parse(&signed(&checkpoint, &log)).unwrap();
        let verified = note.verify(&log.public, &name).unwrap();
        prop_assert_eq!(verified.checkpoint(), &checkpoint);
    }

    #[test]
    fn what_we_read_is_what_the_independent_crates_read(
        origin in "[a-c +\u{a0}]{0,3}", size in "[1-9][0-9]{0,3}|0|[0-9]{0,2}|\\+1",
        extra in prop_oneof![4 => Just(""), 1 => Just("\n"), 1 => Just("x\n")],
        signatures in proptest::collection::vec(prop_oneof![
            4 => "\u{2014} [ab\u{e9}]{1,2} (AAAAAAA=|AAAAAAAA)",
            1 => "(\u{2014} ?)?[ab+\u{a0}]{0,2} ?(AAAAAAA=|AAAAAA==|AAAAAAB=|A)?",
        ], 0..4),
    ) {
        let root = hash_to_base64(&empty_root());
        let lines = signatures.join("\n");
        let note = format!("{origin}\n{size}\n{root}\n{extra}\n{lines}\n");
        let theirs = signed_note::Note::from_bytes(note.as_bytes()).ok().and_then(|note| {
            let body = tlog_tiles::Checkpoint::from_bytes(note.text()).ok()?;
            body.extension().is_empty().then(|| body.to_bytes())
        });
        let ours = SignedCheckpoint::parse(&note).ok().map(|n| n.checkpoint.body().into_bytes());
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn no_text_makes_reading_panic(text in "(\u{2014} |\n|\n\n|[a0=+/ ]|\\PC){0,60}") {
        let _ = SignedCheckpoint::parse(&text);
        let _ = Checkpoint::parse(&text);
        let _ = text.parse::<VerifierKey>();
    }
}
