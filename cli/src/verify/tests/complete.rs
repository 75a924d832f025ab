//! What an export must have to be all of it: every receipt, the end of each chain, and each chain.

use super::*;

#[test]
fn only_the_newest_bundles_may_be_without_receipt_and_only_if_allowed() {
    let dir = export();
    remove_receipts(dir.path(), [4, 5]);
    let refused = check_with(dir.path(), &[], false);
    assert_eq!((refused.verdict(), refused.problems.len()), (Verdict::Fails, 1));
    assert!(refused.problems[0].detail.contains("and so are 1 more"), "{:?}", refused.problems);
    let allowed = check_with(dir.path(), &[], true);
    assert_eq!(
        (allowed.verdict(), allowed.receipts, allowed.without_receipt),
        (Verdict::Holds, 3, 2)
    );
    assert!(text(&allowed).contains("2 without receipt"), "{}", text(&allowed));

    remove_receipts(dir.path(), [2]);
    let lost = check_with(dir.path(), &[], true);
    assert_eq!((lost.verdict(), lost.problems.len()), (Verdict::Fails, 1));
    assert!(lost.problems[0].detail.contains("although bundle 3 has one"), "{:?}", lost.problems);

    remove_receipts(dir.path(), [1, 3]);
    let none = check_with(dir.path(), &[], true);
    assert_eq!((none.verdict(), none.without_receipt), (Verdict::Holds, 5), "and it says so");
}

#[test]
fn a_bundle_named_alone_needs_its_receipt_too() {
    let dir = export();
    remove_receipts(dir.path(), [5]);
    let path = at(dir.path(), 5, ".json");
    let refused = check_with(&path, &[], false);
    assert_eq!((refused.verdict(), refused.verified.len()), (Verdict::Fails, 0));
    assert_eq!(check_with(&path, &[], true).verdict(), Verdict::Holds);
}

#[test]
fn a_demanded_head_shows_that_the_end_of_a_chain_was_cut_off() {
    let dir = export();
    let whole = check_with(dir.path(), &[head(5)], false);
    assert_eq!((whole.verdict(), whole.tail()), (Verdict::Holds, Some(Tail::Checked)));
    assert!(!text(&whole).contains("cannot be seen"), "{}", text(&whole));

    for sequence in [4, 5] {
        each_file(|ending| fs::remove_file(at(dir.path(), sequence, ending)).unwrap());
    }
    let cut = check_with(dir.path(), &[head(5)], false);
    assert_eq!(cut.verdict(), Verdict::Fails, "{:?}", cut.problems);
    let unseen = check_with(dir.path(), &[], false);
    assert_eq!((unseen.verdict(), unseen.tail()), (Verdict::Holds, Some(Tail::NotChecked)));
    let line = format!("whether anything follows bundle 3 of chain {}", id(99));
    assert!(text(&unseen).contains(&line), "{}", text(&unseen));
    let json = serde_json::to_value(&unseen).unwrap();
    assert_eq!(
        (&json["tail"], &json["chains"][0]["tail"]),
        (&"not_checked".into(), &"not_checked".into())
    );
}

#[test]
fn a_demanded_head_is_that_very_bundle() {
    let dir = export();
    for wrong in [Head { sequence: 4, ..head(5) }, Head { sequence: 5, ..head(4) }] {
        assert_eq!(check_with(dir.path(), &[wrong], false).verdict(), Verdict::Fails, "{wrong}");
    }
    let beyond = check_with(dir.path(), &[head(3)], false);
    assert_eq!((beyond.verdict(), beyond.tail()), (Verdict::Holds, Some(Tail::NotChecked)));
}

#[test]
fn a_head_for_each_chain_shows_that_a_whole_chain_was_removed() {
    let dir = export();
    let mut other = bundle(1, None);
    (other.ledger_id, other.id) = (id(98), id(97));
    let signed = sign_bundle(&other, &key(1)).unwrap();
    let heads = [head(5), Head { sequence: 1, sha256: Digest::of(signed.json.as_slice()) }];
    assert_eq!(check_with(dir.path(), &heads, false).verdict(), Verdict::Fails);
    add_chain(dir.path(), &[(other, signed)]);
    let both = check_with(dir.path(), &heads, false);
    assert_eq!((both.verdict(), both.tail()), (Verdict::Holds, Some(Tail::Checked)));
    assert_eq!(check_with(dir.path(), &heads[..1], false).tail(), Some(Tail::NotChecked));
}

#[test]
fn a_second_export_that_ends_before_the_demanded_head_fails() {
    let (whole, cut) = (export(), export());
    each_file(|ending| fs::remove_file(at(cut.path(), 5, ending)).unwrap());
    let paths = [whole.path().to_owned(), cut.path().to_owned()];
    let demands = Demands { heads: vec![head(5)], pending_ok: false };
    assert_eq!(verify(&paths, &keys(), &demands).verdict(), Verdict::Fails);
}

#[test]
fn a_head_in_what_cannot_be_read_could_not_be_checked() {
    let report = check_with(Path::new("/nonexistent/x"), &[head(5)], false);
    assert_eq!(report.verdict(), Verdict::Unchecked);
}

#[test]
fn a_head_is_a_sequence_a_colon_and_a_digest() {
    let written = head(5).to_string();
    assert_eq!(written.parse(), Ok(head(5)));
    let digest = head(5).sha256;
    for wrong in ["", "5", ":", "5:", "5:abc", &format!("0:{digest}"), &format!("x:{digest}")] {
        assert_eq!(wrong.parse::<Head>(), Err(NotAHead), "{wrong}");
    }
}
