//! Orders: pushed, listed in heads, handed over, ended, withdrawn.

use compliance_protocol::digest::Digest;
use compliance_protocol::envelope::Envelope;
use compliance_protocol::evidence::{Outcome, Trigger, TriggerKind};
use compliance_protocol::feed::FeedHead;
use compliance_protocol::order::{Order, When};
use compliance_protocol::time::Span;
use compliance_protocol::wire::PollAnswer;
use compliance_signing::{PrivateKey, seal, sign};
use hyper::{Method, StatusCode};
use serde_json::value::RawValue;

use crate::bundles::Ledger;
use crate::client::{Credentials, Reply};
use crate::process::{Mcp, new_order, now};

impl Mcp {
    async fn push(&self, site: &str, envelope: Vec<u8>) -> Reply {
        self.operate(Method::POST, &format!("/api/v1/sites/{site}/orders"), envelope).await
    }

    /// Pushes the next order of `site` and returns it with its payload's digest.
    async fn push_next(&self, site: &str) -> (Order, Digest) {
        let next = self.get(&format!("/api/v1/sites/{site}/next-order")).await;
        let previous = serde_json::from_value(next["previous_sha256"].clone()).unwrap();
        let order = new_order(site, next["sequence"].as_u64().unwrap(), previous);
        let reply = self.push(site, self.signed(&order)).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text());
        let payload = compliance_protocol::json::to_canonical(&order).unwrap();
        (order, Digest::of(&payload))
    }

    /// Polls and verifies the head.
    async fn head(&self, who: &Credentials, after: u64) -> (FeedHead, PollAnswer) {
        let reply = self.poll(who, after, 0).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
        let answer: PollAnswer = serde_json::from_slice(&reply.body).unwrap();
        let head = Envelope::parse(answer.feed.get().as_bytes()).unwrap();
        let head = head.open::<FeedHead>(&self.trust("any").roles.feed).unwrap();
        (head.into_value(), answer)
    }
}

fn sequences(answer: &PollAnswer, mcp: &Mcp) -> Vec<u64> {
    let keys = mcp.trust("any").roles.orders.any;
    let open = |order: &RawValue| {
        let envelope = Envelope::parse(order.get().as_bytes()).unwrap();
        envelope.open::<Order>(&keys).unwrap().value().sequence
    };
    answer.orders.iter().map(|order| open(order)).collect()
}

#[tokio::test]
async fn a_pushed_order_is_listed_and_handed_over_until_its_terminal_evidence_is_here() {
    let mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    let (first, digest) = mcp.push_next("clinic-a").await;
    mcp.push_next("clinic-a").await;

    let (head, answer) = mcp.head(&appliance, 0).await;
    assert_eq!(head.nonce.to_string(), "000102030405060708090a0b0c0d0e0f");
    assert_eq!((head.highest_sequence, head.epoch), (2, 1));
    assert_eq!(head.open.iter().map(|o| o.sequence).collect::<Vec<_>>(), [1, 2]);
    assert_eq!((head.open[0].id, head.open[0].payload_sha256), (first.id, digest));
    assert_eq!(sequences(&answer, &mcp), [1, 2]);
    let (head, answer) = mcp.head(&appliance, 1).await;
    assert_eq!(head.open.len(), 2);
    assert_eq!(sequences(&answer, &mcp), [2]);

    // A deferral is not the end; an outcome is; a second outcome changes nothing.
    let mut ledger = Ledger::new("clinic-a");
    for (outcome, state, shown) in [
        (Outcome::Deferred, "open", None),
        (Outcome::Success, "done", Some("success")),
        (Outcome::Failed, "done", Some("success")),
    ] {
        let mut bundle = ledger.bundle();
        bundle.outcome = outcome;
        bundle.last_order_sequence = 1;
        bundle.trigger = Trigger {
            kind: TriggerKind::Order,
            order_id: Some(first.id),
            order_sequence: Some(1),
            order_sha256: Some(digest),
        };
        let signed = ledger.append(&bundle);
        mcp.upload(&appliance, &[signed], 0).await;
        let order = mcp.get("/api/v1/sites/clinic-a/orders/1").await;
        assert_eq!(order["state"], state);
        assert_eq!(order["outcome"].as_str(), shown);
        assert_eq!(order["payload"]["reason"], "a test");
        assert_eq!(order["envelope"]["payloadType"], "application/vnd.compliance.order.v1+json");
    }
    let (head, answer) = mcp.head(&appliance, 0).await;
    assert_eq!(head.open.iter().map(|o| o.sequence).collect::<Vec<_>>(), [2]);
    assert_eq!(sequences(&answer, &mcp), [2]);
    assert_eq!(head.evidence_head.unwrap().sequence, 3);
}

#[tokio::test]
async fn evidence_that_names_only_an_orders_digest_does_not_end_the_order() {
    let mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    let (_, digest) = mcp.push_next("clinic-a").await;
    let mut ledger = Ledger::new("clinic-a");
    let mut bundle = ledger.bundle();
    bundle.outcome = Outcome::Rejected;
    bundle.trigger.order_sha256 = Some(digest);
    let signed = ledger.append(&bundle);
    mcp.upload(&appliance, &[signed], 0).await;
    assert_eq!(mcp.get("/api/v1/sites/clinic-a/orders/1").await["state"], "open");
}

#[tokio::test]
async fn an_appliance_gets_its_own_orders_only() {
    let mcp = Mcp::start();
    let (a, b) = (mcp.register("clinic-a").await, mcp.register("clinic-b").await);
    mcp.push_next("clinic-a").await;
    let (head, answer) = mcp.head(&b, 0).await;
    assert_eq!(head.site.as_str(), "clinic-b");
    assert!(head.open.is_empty() && answer.orders.is_empty() && head.highest_sequence == 0);
    assert_eq!(mcp.head(&a, 0).await.0.open.len(), 1);
    // Nothing in a request can name another site.
    let path = "/api/v1/orders?after=0&nonce=000102030405060708090a0b0c0d0e0f&log=0&site=clinic-a";
    mcp.call("appliance", &b, Method::GET, path, "").await.problem(400, "bad-request");
}

#[tokio::test]
async fn a_push_that_an_appliance_would_refuse_is_refused_with_the_same_code() {
    let mcp = Mcp::start();
    mcp.register("clinic-a").await;
    mcp.register("clinic-b").await;
    let good = new_order("clinic-a", 1, None);
    let stranger = PrivateKey::from_seed(&[99; 32]).unwrap();
    let changed = |change: &dyn Fn(&mut Order)| {
        let mut order = good.clone();
        change(&mut order);
        mcp.signed(&order)
    };
    let value = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut value = serde_json::to_value(&good).unwrap();
        change(&mut value);
        let bytes = compliance_protocol::json::to_canonical(&value).unwrap();
        seal("application/vnd.compliance.order.v1+json", bytes, &[&mcp.keys.orders[0]]).unwrap()
    };
    let mut unknown_outside: serde_json::Value =
        serde_json::from_slice(&mcp.signed(&good)).unwrap();
    unknown_outside["extra"] = 1.into();
    for (code, envelope) in [
        ("bad_signature", sign(&good, &[&stranger]).unwrap()),
        ("wrong_tenant", changed(&|o| o.tenant = "umbrella".parse().unwrap())),
        ("wrong_site", changed(&|o| o.site = "clinic-b".parse().unwrap())),
        ("wrong_epoch", changed(&|o| o.epoch = 2)),
        (
            "expired",
            changed(&|o| {
                o.issued_at = now().plus(Span::from_secs(-2000));
                o.expires_at = now().plus(Span::from_secs(-1000));
            }),
        ),
        ("unknown_action", value(&|o| o["action"]["type"] = "format_disk".into())),
        ("bad_parameter", value(&|o| o["colour"] = "red".into())),
        ("bad_parameter", changed(&|o| o.max_runtime_s = 0)),
        ("threshold", changed(&|o| o.when = When::Now)),
        ("malformed", b"not json".to_vec()),
        ("malformed", serde_json::to_vec(&unknown_outside).unwrap()),
    ] {
        let detail = mcp.push("clinic-a", envelope).await.problem(422, "refused");
        assert!(detail.starts_with(&format!("{code}: ")), "{code}: {detail}");
    }
    mcp.push("clinic-x", mcp.signed(&good)).await.problem(404, "not-found");
    // With both keys an order may override the window.
    let mut urgent = good.clone();
    urgent.when = When::Now;
    let keys: Vec<_> = mcp.keys.orders.iter().collect();
    let reply = mcp.push("clinic-a", sign(&urgent, &keys).unwrap()).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text());
}

#[tokio::test]
async fn sequences_are_taken_once_and_without_gaps() {
    let mcp = Mcp::start();
    mcp.register("clinic-a").await;
    let (first, digest) = mcp.push_next("clinic-a").await;
    mcp.push("clinic-a", mcp.signed(&first)).await.problem(409, "sequence-taken");
    let gap = new_order("clinic-a", 3, Some(digest));
    mcp.push("clinic-a", mcp.signed(&gap)).await.problem(409, "sequence-gap");
    let other = new_order("clinic-a", 2, Some(Digest::of(b"other")));
    mcp.push("clinic-a", mcp.signed(&other)).await.problem(409, "previous");
    let none = new_order("clinic-a", 2, None);
    mcp.push("clinic-a", mcp.signed(&none)).await.problem(409, "previous");
    let next = mcp.get("/api/v1/sites/clinic-a/next-order").await;
    assert_eq!(next["sequence"], 2);
    assert_eq!(next["previous_sha256"], digest.to_string());
}

#[tokio::test]
async fn the_next_sequence_follows_signed_evidence_when_the_database_knows_less() {
    let mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    let mut ledger = Ledger::new("clinic-a");
    let mut bundle = ledger.bundle();
    let order = new_order("clinic-a", 17, None);
    bundle.last_order_sequence = 17;
    bundle.trigger = Trigger {
        kind: TriggerKind::Order,
        order_id: Some(order.id),
        order_sequence: Some(17),
        order_sha256: Some(Digest::of(b"order 17")),
    };
    let signed = ledger.append(&bundle);
    mcp.upload(&appliance, &[signed], 0).await;
    let next = mcp.get("/api/v1/sites/clinic-a/next-order").await;
    assert_eq!(next["sequence"], 18);
    assert_eq!(next["previous_sha256"], Digest::of(b"order 17").to_string());
    assert_eq!(mcp.head(&appliance, 17).await.0.highest_sequence, 17);
    mcp.push("clinic-a", mcp.signed(&new_order("clinic-a", 1, None)))
        .await
        .problem(409, "sequence-taken");
    mcp.push_next("clinic-a").await;
}

#[tokio::test]
async fn at_most_32_orders_are_open_and_withdrawing_one_makes_room() {
    let mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    for _ in 0..32 {
        mcp.push_next("clinic-a").await;
    }
    let next = mcp.get("/api/v1/sites/clinic-a/next-order").await;
    let previous = serde_json::from_value(next["previous_sha256"].clone()).unwrap();
    let order = new_order("clinic-a", 33, previous);
    mcp.push("clinic-a", mcp.signed(&order)).await.problem(409, "too-many-open");
    assert_eq!(mcp.head(&appliance, 0).await.1.orders.len(), 32);

    let path = "/api/v1/sites/clinic-a/orders/5";
    let withdrawn = mcp.operate(Method::DELETE, path, "").await;
    assert_eq!(withdrawn.json()["state"], "withdrawn");
    mcp.operate(Method::DELETE, path, "").await.problem(409, "not-open");
    mcp.operate(Method::DELETE, "/api/v1/sites/clinic-a/orders/99", "")
        .await
        .problem(404, "not-found");
    mcp.operate(Method::GET, "/api/v1/sites/clinic-a/orders/x", "").await.problem(404, "not-found");
    mcp.operate(Method::PATCH, path, "").await.problem(405, "method");
    let (head, _) = mcp.head(&appliance, 0).await;
    assert!(head.open.len() == 31 && head.open.iter().all(|order| order.sequence != 5));
    let pushed = mcp.push("clinic-a", mcp.signed(&order)).await;
    assert_eq!(pushed.status, StatusCode::CREATED, "{}", pushed.text());
    let orders = mcp.get("/api/v1/orders").await;
    assert_eq!(orders["orders"].as_array().unwrap().len(), 33);
    mcp.operate(Method::GET, "/api/v1/orders?site=clinic-x", "").await.problem(404, "not-found");
}

#[tokio::test]
async fn an_answer_stays_within_a_mebibyte_and_hands_over_the_lowest_orders() {
    let mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    let mut previous = None;
    for sequence in 1..=8 {
        let mut order = new_order("clinic-a", sequence, previous);
        let envelope = serde_json::json!({ "padding": "x".repeat(120_000) });
        order.action = compliance_protocol::order::Action::UpdateBaseline { envelope };
        let pushed = mcp.push("clinic-a", mcp.signed(&order)).await;
        assert_eq!(pushed.status, StatusCode::CREATED, "{}", pushed.text());
        let payload = compliance_protocol::json::to_canonical(&order).unwrap();
        previous = Some(Digest::of(&payload));
    }
    let reply = mcp.poll(&appliance, 0, 0).await;
    assert!(reply.body.len() <= 1024 * 1024, "{}", reply.body.len());
    let answer: PollAnswer = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(sequences(&answer, &mcp), [1, 2, 3, 4, 5, 6]);
    assert_eq!(sequences(&mcp.head(&appliance, 6).await.1, &mcp), [7, 8]);
}
