//! A chain whose beginning was pruned by the appliance.

use compliance_protocol::evidence::Pruned;

use super::*;

/// Bundles 4 to 7; the last one says what was pruned, changed so.
fn export_after(change: impl FnOnce(&mut Pruned, &mut Bundle)) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut all = chain(6);
    let sha256 = |signed: &SignedBundle| Digest::of(signed.json.as_slice());
    let mut last = bundle(7, Some(sha256(&all[5].1)));
    let mut pruned = Pruned {
        ledger_id: id(99),
        first: 2,
        last: 3,
        count: 2,
        last_sha256: sha256(&all[2].1),
        retention_days: 2557,
    };
    (last.check, last.check_version, last.state) = (None, None, None);
    last.reason = Pruned::REASON.to_owned();
    change(&mut pruned, &mut last);
    last.post = pruned.facts();
    let signed = sign_bundle(&last, &key(1)).unwrap();
    all.push((last, signed));
    add_chain(dir.path(), &all[3..]);
    for file in key_files(&key(1).public(), &log_key(2)).unwrap() {
        write(dir.path(), &file).unwrap();
    }
    dir
}

#[test]
fn a_chain_whose_beginning_was_pruned_holds_and_says_where_it_begins() {
    let dir = export_after(|_, _| ());
    let report = check(dir.path(), &keys());
    assert_eq!(report.problems, []);
    assert_eq!(report.verdict(), Verdict::Holds);
    assert_eq!((report.chains[0].first, report.chains[0].last), (4, 7));
    let text = text(&report);
    assert!(text.contains("bundles 4 to 7") && text.contains("bundles 1 to 3 of chain"), "{text}");
}

#[test]
fn a_chain_begins_late_only_where_a_bundle_says_exactly_that() {
    type Change = fn(&mut Pruned, &mut Bundle);
    let changes: [(&str, Change); 5] = [
        ("less was pruned", |pruned, _| pruned.last = 2),
        ("more was pruned", |pruned, _| pruned.last = 4),
        ("another bundle was the last", |pruned, _| pruned.last_sha256 = Digest::of(b"another")),
        ("another chain was pruned", |pruned, _| pruned.ledger_id = id(98)),
        ("it was not pruned after all", |_, bundle| bundle.outcome = Outcome::Failed),
    ];
    for (what, change) in changes {
        let dir = export_after(change);
        let report = check(dir.path(), &keys());
        assert_eq!(report.verdict(), Verdict::Fails, "{what}");
        let why = &report.problems[0].detail;
        assert!(why.contains("bundles 1 to 3 are missing"), "{what}: {why}");
    }
}

#[test]
fn what_was_pruned_excuses_no_gap_after_it() {
    let dir = export_after(|_, _| ());
    each_file(|ending| fs::remove_file(at(dir.path(), 5, ending)).unwrap());
    let report = check(dir.path(), &keys());
    assert_eq!(report.verdict(), Verdict::Fails);
    let gone = export_after(|_, _| ());
    each_file(|ending| fs::remove_file(at(gone.path(), 4, ending)).unwrap());
    let report = check(gone.path(), &keys());
    assert!(report.problems[0].detail.contains("bundles 1 to 4 are missing"), "{report:?}");
}
