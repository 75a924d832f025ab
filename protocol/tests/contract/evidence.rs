//! A bundle's two signatures and its chain: each single tamper and each gap is seen.

use compliance_protocol::bytes::Bytes;
use compliance_protocol::envelope::Envelope;
use compliance_protocol::evidence::{
    Bundle, BundleError, Chain, ChainBreak, MAX_BUNDLE, Outcome, STATEMENT_TYPE, SignedBundle,
    VerifiedBundle, statement,
};
use compliance_protocol::json;
use compliance_signing::{seal, sign_bundle};
use proptest::prelude::*;
use serde_json::Value;

use crate::given::{bundle, id, key, keys, public};

fn signed(bundle: &Bundle) -> SignedBundle {
    sign_bundle(bundle, &key(50)).unwrap()
}

fn verified(bundle: &Bundle) -> VerifiedBundle {
    signed(bundle).verify(&public(50)).unwrap()
}

fn verify(bundle: &SignedBundle) -> Result<VerifiedBundle, BundleError> {
    bundle.verify(&public(50))
}

/// The chain of the first `length` bundles.
fn chain(length: u64) -> Vec<VerifiedBundle> {
    let mut chain: Vec<VerifiedBundle> = Vec::new();
    for sequence in 1..=length {
        let before = chain.last().map(VerifiedBundle::sha256);
        chain.push(verified(&bundle(sequence, before)));
    }
    chain
}

fn breaks(chain: &[VerifiedBundle]) -> Vec<ChainBreak> {
    let mut followed = Chain::new();
    chain.iter().filter_map(|bundle| followed.follow(bundle).err()).collect()
}

#[test]
fn a_bundle_verifies_with_its_key_and_reads_back() {
    let made = bundle(1, None);
    let read = verified(&made);
    assert_eq!(read.bundle(), &made);
    assert!(matches!(signed(&made).verify(&public(51)), Err(BundleError::BadSignature)));
}

#[test]
fn no_single_flipped_bit_in_any_of_its_three_files_goes_unseen_but_in_the_keyid() {
    let good = signed(&bundle(1, None));
    let expected = verify(&good).unwrap();
    let files = [&good.json, &good.sig, &good.dsse].map(|file| file.as_slice().to_vec());
    for (file, bytes) in files.iter().enumerate() {
        // Every byte; of its bits one, in turn, to stay quick.
        for i in 0..bytes.len() {
            let mut bad = files.clone();
            bad[file][i] ^= 1 << (i % 8);
            let [json, sig, dsse] = bad.map(Bytes::from);
            match verify(&SignedBundle { json, sig, dsse }) {
                Err(_) => {}
                Ok(read) => assert!(file == 2 && read == expected, "file {file}, byte {i}"),
            }
        }
    }
}

#[test]
fn each_part_is_bound_to_the_others() {
    let (one, two) = (signed(&bundle(1, None)), signed(&bundle(2, None)));
    let mixed = |json: &SignedBundle, sig: &SignedBundle, dsse: &SignedBundle| {
        let (json, sig, dsse) = (json.json.clone(), sig.sig.clone(), dsse.dsse.clone());
        verify(&SignedBundle { json, sig, dsse })
    };
    assert!(mixed(&one, &one, &one).is_ok());
    assert!(matches!(mixed(&one, &two, &one), Err(BundleError::BadSignature)));
    assert!(matches!(mixed(&two, &one, &one), Err(BundleError::BadSignature)));
    assert!(matches!(mixed(&one, &one, &two), Err(BundleError::OtherSubject)));
}

#[test]
fn a_statement_that_says_anything_else_about_the_same_bytes_is_refused() {
    let made = bundle(1, None);
    let good = signed(&made);
    let sealed = |kind: &str, statement: Vec<u8>, seed| {
        let dsse = seal(kind, statement, &[&key(seed)]).unwrap().into();
        verify(&SignedBundle { dsse, ..good.clone() })
    };
    let statement = statement(&made, good.json.as_slice()).unwrap();
    assert!(sealed(STATEMENT_TYPE, statement.clone(), 50).is_ok());
    assert!(matches!(
        sealed(STATEMENT_TYPE, statement.clone(), 51),
        Err(BundleError::EnvelopeSignature(_))
    ));
    assert!(matches!(
        sealed("application/json", statement.clone(), 50),
        Err(BundleError::EnvelopeSignature(_))
    ));
    for (pointer, value) in [
        ("/subject/0/name", "another.json"),
        ("/predicate/outcome", "failed"),
        ("/predicate/site", "clinic-043"),
        ("/predicateType", "https://slsa.dev/provenance/v1"),
    ] {
        let mut other: Value = json::from_canonical(&statement).unwrap();
        *other.pointer_mut(pointer).unwrap() = value.into();
        let result = sealed(STATEMENT_TYPE, json::to_canonical(&other).unwrap(), 50);
        assert!(matches!(result, Err(BundleError::OtherSubject)), "{pointer}: {result:?}");
    }
}

#[test]
fn signed_bytes_that_are_no_bundle_are_refused() {
    let good = json::to_canonical(&bundle(1, None)).unwrap();
    let text = String::from_utf8(good.clone()).unwrap();
    for bad in [
        text.replacen(
            "\"$type\":\"urn:compliance-appliance:evidence:v1\"",
            "\"$type\":\"urn:other\"",
            1,
        ),
        text.replacen("{\"$type\"", "{\"$comment\":1,\"$type\"", 1),
        text.replacen("\"outcome\":\"success\"", "\"outcome\":\"perfect\"", 1),
        text.replacen("\"duration_ms\":812", "\"duration_ms\":812.5", 1),
        text.replacen("\"duration_ms\":812", "\"duration_ms\":-1", 1),
        text.replacen("\"reason\":\"healed\",", "", 1),
        text.replacen(',', ", ", 1),
        "{}".to_owned(),
    ] {
        assert_ne!(bad.as_bytes(), good, "the replacement must have found its place");
        let sig = key(50).sign(bad.as_bytes()).to_vec().into();
        let bad = SignedBundle { json: bad.into_bytes().into(), sig, dsse: Bytes::from(vec![]) };
        let result = verify(&bad);
        assert!(matches!(result, Err(BundleError::Shape(_))), "{result:?}");
    }
}

#[test]
fn a_bundle_over_the_bound_is_not_parsed() {
    let json = vec![b' '; MAX_BUNDLE + 1];
    let sig = key(50).sign(&json).to_vec().into();
    let result = verify(&SignedBundle { json: json.into(), sig, dsse: Bytes::from(vec![]) });
    assert!(matches!(result, Err(BundleError::Size(n)) if n == MAX_BUNDLE + 1));
}

#[test]
fn a_bundles_envelope_is_not_an_order_whoever_signed_it() {
    let dsse = signed(&bundle(1, None)).dsse;
    let envelope = Envelope::parse(dsse.as_slice()).unwrap();
    assert!(envelope.open::<compliance_protocol::order::Order>(&keys(&[50], 1)).is_err());
    assert!(envelope.open::<compliance_protocol::trust::Trust>(&keys(&[50], 1)).is_err());
}

#[test]
fn of_the_outcomes_only_deferred_is_not_terminal_and_codes_are_as_written() {
    use Outcome::{Alert, Deferred, Expired, Failed, Rejected, Reverted, Success};
    for outcome in [Success, Failed, Reverted, Deferred, Alert, Rejected, Expired] {
        assert_eq!(outcome.is_terminal(), outcome != Deferred);
        assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.code());
    }
}

#[test]
fn a_whole_chain_holds() {
    assert_eq!(breaks(&chain(6)), []);
}

#[test]
fn a_missing_bundle_is_named_once_at_the_start_or_in_the_middle() {
    let all = chain(6);
    assert_eq!(breaks(&all[2..]), [ChainBreak::Missing { from: 1, to: 2 }]);
    let gap = [&all[..2], &all[4..]].concat();
    assert_eq!(breaks(&gap), [ChainBreak::Missing { from: 3, to: 4 }]);
}

#[test]
fn two_bundles_in_one_place_a_changed_predecessor_or_a_step_back_is_a_fork() {
    let all = chain(3);
    let fork = |sequence, before| vec![ChainBreak::Fork { sequence, before }];
    let again = [&all[..2], &all[1..]].concat();
    assert_eq!(breaks(&again), fork(2, 2));
    let mut other = bundle(2, Some(all[0].sha256()));
    other.reason = "rewritten".to_owned();
    let rewritten = [&all[..1], &[verified(&other)], &all[2..]].concat();
    assert_eq!(breaks(&rewritten), fork(3, 2));
    let unlinked = [&all[..1], &[verified(&bundle(2, None))]].concat();
    assert_eq!(breaks(&unlinked), fork(2, 1));
    let late = verified(&bundle(1, Some(all[0].sha256())));
    assert_eq!(breaks(&[late]), fork(1, 0), "the first has no predecessor");
}

#[test]
fn sequences_start_at_1() {
    assert_eq!(
        breaks(&[verified(&bundle(0, None))]),
        [ChainBreak::Fork { sequence: 0, before: 0 }]
    );
}

#[test]
fn another_ledger_epoch_or_site_is_another_chain() {
    let all = chain(2);
    let mut ledger = bundle(1, None);
    ledger.ledger_id = id(201);
    let mut epoch = bundle(1, None);
    epoch.epoch = 2;
    let mut site = bundle(1, None);
    site.site = "clinic-043".parse().unwrap();
    for other in [ledger, epoch, site] {
        assert_eq!(breaks(&[&all[..], &[verified(&other)]].concat()), []);
        let mut second = other;
        second.sequence = 2;
        second.previous_sha256 = Some(all[1].sha256());
        let breaks = breaks(&[&all[..], &[verified(&second)]].concat());
        assert_eq!(breaks, [ChainBreak::Missing { from: 1, to: 1 }]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_left_out_of_a_chain_before_its_last_bundle_shows(
        kept in prop::collection::vec(any::<bool>(), 7),
    ) {
        let all = chain(8);
        let mut part: Vec<_> = all.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(b, _)| b.clone()).collect();
        part.push(all[7].clone());
        let missing: u64 = breaks(&part).iter().map(|broken| match broken {
            ChainBreak::Missing { from, to } => to - from + 1,
            ChainBreak::Fork { .. } => 1000,
        }).sum();
        prop_assert_eq!(missing, kept.iter().filter(|kept| !**kept).count() as u64);
    }
}
