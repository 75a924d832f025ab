//! Evidence in, receipts out.

use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::SignedBundle;
use compliance_protocol::tlog::{
    SignedCheckpoint, TlogProof, VerifiedCheckpoint, verify_consistency,
};
use compliance_protocol::wire::{UploadAnswer, UploadStatus};
use compliance_signing::{PrivateKey, sign_bundle};
use hyper::Method;

use crate::bundles::Ledger;
use crate::process::Mcp;

impl Mcp {
    fn checkpoint(&self, text: &str) -> VerifiedCheckpoint {
        let log = self.log();
        SignedCheckpoint::parse(text).unwrap().verify(&log, log.name()).unwrap()
    }

    /// Each receipt of `answer` proves that its bundle is in the log.
    fn verify_receipts(&self, bundles: &[SignedBundle], answer: &UploadAnswer) {
        let log = self.log();
        for (bundle, result) in bundles.iter().zip(&answer.results) {
            let receipt = TlogProof::parse(result.receipt.as_ref().unwrap()).unwrap();
            receipt.verify(bundle.json.as_slice(), &log, log.name()).unwrap();
            assert!(receipt.verify(b"{}", &log, log.name()).is_err());
        }
    }
}

fn statuses(answer: &UploadAnswer) -> Vec<UploadStatus> {
    answer.results.iter().map(|result| result.status).collect()
}

#[tokio::test]
async fn stored_bundles_and_duplicates_have_receipts_that_verify() {
    let mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    let bundles = Ledger::new("clinic-a").make(7);
    let answer = mcp.upload(&appliance, &bundles, 0).await;
    assert_eq!(statuses(&answer), [UploadStatus::Stored; 7]);
    mcp.verify_receipts(&bundles, &answer);
    let again = mcp.upload(&appliance, &bundles, 7).await;
    assert_eq!(statuses(&again), [UploadStatus::Duplicate; 7]);
    mcp.verify_receipts(&bundles, &again);
    assert_eq!(mcp.checkpoint(&again.checkpoint).size(), 7);
    assert_eq!(again.checkpoint, answer.checkpoint);
}

#[tokio::test]
async fn each_checkpoint_extends_the_last_in_uploads_and_in_polls() {
    let mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    let mut ledger = Ledger::new("clinic-a");
    let mut seen: Vec<VerifiedCheckpoint> = Vec::new();
    for count in [1, 3, 1, 8, 2, 17] {
        let known = seen.last().map_or(0, VerifiedCheckpoint::size);
        let answer = mcp.upload(&appliance, &ledger.make(count), known).await;
        let new = mcp.checkpoint(&answer.checkpoint);
        if let Some(old) = seen.last() {
            let proof = &answer.consistency;
            verify_consistency(old.size(), &old.root(), new.size(), &new.root(), proof).unwrap();
        }
        seen.push(new);
    }
    let last = seen.last().unwrap().clone();
    for old in &seen {
        let answer = mcp.poll(&appliance, 0, old.size()).await.json();
        let proof: Vec<Digest> = serde_json::from_value(answer["consistency"].clone()).unwrap();
        assert_eq!(mcp.checkpoint(answer["checkpoint"].as_str().unwrap()), last);
        verify_consistency(old.size(), &old.root(), last.size(), &last.root(), &proof).unwrap();
    }
    // Whoever claims to have seen more is shown the smaller log, and judges for itself.
    let answer = mcp.poll(&appliance, 0, 1000).await.json();
    assert_eq!(answer["consistency"].as_array().unwrap().len(), 0);
    assert_eq!(mcp.checkpoint(answer["checkpoint"].as_str().unwrap()).size(), 32);
}

#[tokio::test]
async fn what_is_not_the_sites_own_is_refused_with_the_reason() {
    let mcp = Mcp::start();
    let (a, b) = (mcp.register("clinic-a").await, mcp.register("clinic-b").await);
    let ledger = Ledger::new("clinic-a");
    let bundle = ledger.bundle();
    let good = sign_bundle(&bundle, &ledger.key).unwrap();
    let stranger = PrivateKey::from_seed(&[99; 32]).unwrap();
    let changed = |change: &dyn Fn(&mut compliance_protocol::evidence::Bundle)| {
        let mut bundle = bundle.clone();
        change(&mut bundle);
        sign_bundle(&bundle, &ledger.key).unwrap()
    };
    let mut json = good.json.as_slice().to_vec();
    let at = json.iter().position(|byte| *byte == b'E').unwrap();
    json[at] = b'e';
    for (reason, bundle) in [
        ("bad_signature", sign_bundle(&bundle, &stranger).unwrap()),
        ("bad_signature", SignedBundle { json: json.into(), ..good.clone() }),
        ("wrong_site", changed(&|b| b.site = "clinic-b".parse().unwrap())),
        ("wrong_tenant", changed(&|b| b.tenant = "umbrella".parse().unwrap())),
        ("wrong_epoch", changed(&|b| b.epoch = 2)),
        ("malformed", changed(&|b| b.sequence = 0)),
        ("malformed", SignedBundle { dsse: b"{}".to_vec().into(), ..good.clone() }),
    ] {
        let answer = mcp.upload(&a, &[bundle], 0).await;
        assert_eq!(statuses(&answer), [UploadStatus::Refused], "{reason}");
        assert_eq!(answer.results[0].reason.as_deref(), Some(reason));
        assert!(answer.results[0].receipt.is_none());
    }
    // The same good bundle, by the certificate of another site.
    let answer = mcp.upload(&b, std::slice::from_ref(&good), 0).await;
    assert_eq!(answer.results[0].reason.as_deref(), Some("bad_signature"));
    assert_eq!(answer.results[0].id, Some(bundle.id));
    let stored = mcp.get("/api/v1/evidence").await;
    assert_eq!(stored["evidence"].as_array().unwrap().len(), 0);
    // A refused bundle does not hold up the others.
    let bad = sign_bundle(&bundle, &stranger).unwrap();
    let answer = mcp.upload(&a, &[bad, good], 0).await;
    assert_eq!(statuses(&answer), [UploadStatus::Refused, UploadStatus::Stored]);
}

#[tokio::test]
async fn a_fork_is_refused_whichever_end_contradicts() {
    let mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    let mut ledger = Ledger::new("clinic-a");
    let mut bundles = ledger.make(5);
    let last = bundles.pop().unwrap();
    let withheld = bundles.remove(1);
    mcp.upload(&appliance, &bundles, 0).await;

    let fork = |sequence: u64, previous: Option<Digest>| {
        let mut bundle = ledger.bundle();
        (bundle.sequence, bundle.previous_sha256) = (sequence, previous);
        bundle.detail = "Another story.".to_owned();
        sign_bundle(&bundle, &ledger.key).unwrap()
    };
    let sha256 = |bundle: &SignedBundle| Some(Digest::of(bundle.json.as_slice()));
    for bad in [
        fork(1, None),                   // other bytes at a taken place
        fork(2, sha256(&bundles[0])),    // bundle 3 names another predecessor
        fork(2, Some(Digest::of(b"x"))), // and so does this one
        fork(5, Some(Digest::of(b"x"))), // bundle 4 is another one
        fork(6, None),                   // only the first has none before it
    ] {
        let answer = mcp.upload(&appliance, &[bad], 0).await;
        assert_eq!(statuses(&answer), [UploadStatus::Refused]);
    }
    let answer = mcp.upload(&appliance, &[last, withheld], 0).await;
    assert_eq!(statuses(&answer), [UploadStatus::Stored; 2]);
}

#[tokio::test]
async fn a_missing_predecessor_is_no_reason_to_refuse_and_shows_as_a_gap() {
    let mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    let mut ledger = Ledger::new("clinic-a");
    let bundles = ledger.make(9);
    let some: Vec<_> = [0, 4, 5, 8].map(|i: usize| bundles[i].clone()).to_vec();
    let answer = mcp.upload(&appliance, &some, 0).await;
    assert_eq!(statuses(&answer), [UploadStatus::Stored; 4]);
    mcp.verify_receipts(&some, &answer);
    let site = mcp.get("/api/v1/sites/clinic-a").await;
    let gap =
        |from: u64, to: u64| serde_json::json!({ "ledger_id": ledger.id, "from": from, "to": to });
    assert_eq!(site["gaps"], serde_json::json!([gap(2, 4), gap(7, 8)]));
    assert_eq!(site["evidence_head"]["sequence"], 9);
    mcp.upload(&appliance, &bundles, 0).await;
    let site = mcp.get("/api/v1/sites/clinic-a").await;
    assert_eq!(site["gaps"], serde_json::json!([]));
    assert_eq!(site["bundles"], 9);
}

#[tokio::test]
async fn the_evidence_head_is_the_end_of_the_newest_ledger() {
    let mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    let (mut first, mut second) = (Ledger::new("clinic-a"), Ledger::with_id("clinic-a", 2));
    mcp.upload(&appliance, &first.make(5), 0).await;
    mcp.upload(&appliance, &second.make(2), 0).await;
    mcp.upload(&appliance, &first.make(1), 0).await;
    let head = mcp.get("/api/v1/sites/clinic-a").await["evidence_head"].clone();
    assert_eq!(head["ledger_id"], second.id.to_string());
    assert_eq!(
        (&head["sequence"], &head["sha256"]),
        (&2.into(), &second.previous.unwrap().to_string().into())
    );
}

#[tokio::test]
async fn operators_list_evidence_in_pages_and_fetch_exact_bytes() {
    let mcp = Mcp::start();
    let (a, b) = (mcp.register("clinic-a").await, mcp.register("clinic-b").await);
    let mut ledger = Ledger::new("clinic-a");
    let bundles = ledger.make(5);
    mcp.upload(&b, &Ledger::new("clinic-b").make(2), 0).await;
    mcp.upload(&a, &bundles, 0).await;
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = mcp.get(&format!("/api/v1/evidence?site=clinic-a&limit=2{after}")).await;
        found.extend(
            page["evidence"].as_array().unwrap().iter().map(|e| e["sequence"].as_u64().unwrap()),
        );
        match page["next"].as_u64() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(found, [1, 2, 3, 4, 5]);
    let all = mcp.get("/api/v1/evidence").await;
    assert_eq!(all["evidence"].as_array().unwrap().len(), 7);
    assert_eq!(all["evidence"][2]["outcome"], "success");
    assert_eq!(all["evidence"][2]["check"], "backups");

    let path = format!("/api/v1/sites/clinic-a/evidence/{}/3", ledger.id);
    let files = mcp.get(&path).await;
    let signed: SignedBundle = serde_json::from_value(serde_json::json!({
        "json": files["json"], "sig": files["sig"], "dsse": files["dsse"],
    }))
    .unwrap();
    assert_eq!(signed, bundles[2]);
    let receipt = TlogProof::parse(files["receipt"].as_str().unwrap()).unwrap();
    let log = mcp.log();
    receipt.verify(signed.json.as_slice(), &log, log.name()).unwrap();
    assert_eq!(mcp.get("/api/v1/log").await["vkey"], log.to_string());
    for none in [
        format!("{path}99"),
        path.replace("clinic-a", "clinic-b"),
        path.replace(&ledger.id.to_string(), "x"),
    ] {
        mcp.operate(Method::GET, &none, "").await.problem(404, "not-found");
    }
}
