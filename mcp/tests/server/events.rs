//! Events for a carrier: each once, in order, from where it left off.

use std::collections::BTreeSet;
use std::time::Duration;

use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::{Outcome, SignedBundle, TriggerKind};
use compliance_protocol::order::Order;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::bundles::Ledger;
use crate::client::Credentials;
use crate::process::{Mcp, new_order};

impl Mcp {
    async fn events(&self, query: &str) -> Vec<Value> {
        self.events_for(&self.carrier("nats"), query).await
    }

    async fn events_for(&self, carrier: &Credentials, query: &str) -> Vec<Value> {
        let path = format!("/api/v1/events{query}");
        let reply = self.call("operator", carrier, Method::GET, &path, "").await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
        reply.json()["events"].as_array().unwrap().clone()
    }

    async fn acknowledge(&self, who: &Credentials, through: u64) -> StatusCode {
        let body = json!({ "through": through }).to_string();
        let path = "/api/v1/events/acknowledge";
        self.call("operator", who, Method::POST, path, body).await.status
    }

    async fn push_order(&self, order: &Order) -> Digest {
        let path = format!("/api/v1/sites/{}/orders", order.site);
        let reply = self.operate(Method::POST, &path, self.signed(order)).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text());
        let path = format!("/api/v1/sites/{}/next-order", order.site);
        serde_json::from_value(self.get(&path).await["previous_sha256"].clone()).unwrap()
    }
}

/// One bundle for each of these outcomes.
fn with_outcomes(ledger: &mut Ledger, outcomes: &[Outcome]) -> Vec<SignedBundle> {
    outcomes
        .iter()
        .map(|outcome| {
            let mut bundle = ledger.bundle();
            bundle.outcome = *outcome;
            ledger.append(&bundle)
        })
        .collect()
}

/// The evidence of how `order` ended.
fn ended(ledger: &mut Ledger, order: &Order, sha256: Digest, outcome: Outcome) -> SignedBundle {
    let mut bundle = ledger.bundle();
    bundle.trigger.kind = TriggerKind::Order;
    bundle.trigger.order_id = Some(order.id);
    bundle.trigger.order_sequence = Some(order.sequence);
    bundle.trigger.order_sha256 = Some(sha256);
    (bundle.outcome, bundle.reason) = (outcome, "because".to_owned());
    bundle.last_order_sequence = order.sequence;
    ledger.append(&bundle)
}

fn number(event: &Value) -> u64 {
    event["event"].as_u64().unwrap()
}

fn of_kind<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["kind"] == kind).collect()
}

#[tokio::test]
async fn each_bundle_is_one_event_and_what_a_person_should_look_at_an_alert_as_well() {
    let mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    let outcomes = [
        Outcome::Success,
        Outcome::Failed,
        Outcome::Reverted,
        Outcome::Deferred,
        Outcome::Alert,
        Outcome::Rejected,
        Outcome::Expired,
    ];
    let bundles = with_outcomes(&mut Ledger::new("clinic-a"), &outcomes);
    mcp.upload(&appliance, &bundles, 0).await;
    let events = mcp.events("").await;
    let evidence = of_kind(&events, "evidence");
    for (bundle, event) in bundles.iter().zip(&evidence) {
        assert_eq!(event["message_id"], Digest::of(bundle.json.as_slice()).to_string());
        assert_eq!(event["message_id"], event["sha256"]);
        assert_eq!((&event["tenant"], &event["site"]), (&json!("acme"), &json!("clinic-a")));
    }
    let outcomes: Vec<_> = of_kind(&events, "alert").iter().map(|e| &e["outcome"]).collect();
    assert_eq!(outcomes, ["failed", "reverted", "alert", "rejected"]);
    for alert in of_kind(&events, "alert") {
        let id = Digest::of(format!("alert:{}", alert["sha256"].as_str().unwrap()).as_bytes());
        assert_eq!(alert["message_id"], id.to_string());
    }
    // Uploading again makes nothing happen again.
    mcp.upload(&appliance, &bundles, 0).await;
    assert_eq!(mcp.events("").await, events);
    assert_eq!(events.len(), 7 + 4);
    // Pages follow each other without a gap.
    let (mut paged, mut after) = (Vec::new(), 0);
    while let Some(page) = Some(mcp.events(&format!("?after={after}&limit=3")).await)
        && !page.is_empty()
    {
        assert!(page.len() <= 3);
        after = number(page.last().unwrap());
        paged.extend(page);
    }
    assert_eq!(paged, events);
}

#[tokio::test]
async fn each_change_of_an_order_is_an_event() {
    let mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    let mut ledger = Ledger::new("clinic-a");
    let first = new_order("clinic-a", 1, None);
    let first_sha256 = mcp.push_order(&first).await;
    let second = new_order("clinic-a", 2, Some(first_sha256));
    let second_sha256 = mcp.push_order(&second).await;
    let third = new_order("clinic-a", 3, Some(second_sha256));
    mcp.push_order(&third).await;
    mcp.operate(Method::DELETE, "/api/v1/sites/clinic-a/orders/2", "").await;
    let done = ended(&mut ledger, &first, first_sha256, Outcome::Success);
    let over = ended(&mut ledger, &second, second_sha256, Outcome::Expired);
    mcp.upload(&appliance, &[done.clone(), over], 0).await;
    // Evidence that says it again, and a withdrawal of what is done, change nothing.
    let again = ended(&mut ledger, &first, first_sha256, Outcome::Failed);
    mcp.upload(&appliance, &[done, again], 0).await;
    mcp.operate(Method::DELETE, "/api/v1/sites/clinic-a/orders/1", "").await;
    // A new enrolment withdraws what is open.
    let mut trust = mcp.trust("clinic-a");
    (trust.version, trust.epoch) = (2, 2);
    let trust = compliance_signing::sign(&trust, &[&mcp.keys.root]).unwrap();
    let reply = mcp.operate(Method::PUT, "/api/v1/sites/clinic-a", trust).await;
    assert!(reply.status.is_success(), "{}", reply.text());

    let events = mcp.events("").await;
    let orders = of_kind(&events, "order");
    let told: Vec<_> = orders
        .iter()
        .map(|o| (o["sequence"].as_u64().unwrap(), &o["state"], &o["outcome"], &o["reason"]))
        .collect();
    let (open, withdrawn, null) = (&json!("open"), &json!("withdrawn"), &Value::Null);
    let because = &json!("because");
    assert_eq!(
        told,
        [
            (1, open, null, null),
            (2, open, null, null),
            (3, open, null, null),
            (2, withdrawn, null, null),
            (1, &json!("done"), &json!("success"), because),
            (2, withdrawn, &json!("expired"), because),
            (3, withdrawn, null, null),
        ]
    );
    let ids: BTreeSet<_> = events.iter().map(|e| e["message_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), events.len(), "no two events have one id");
    let id = Digest::of(format!("order:{first_sha256}:done:success").as_bytes());
    assert_eq!(orders[4]["message_id"], id.to_string());
    assert!(orders.iter().all(|order| order["at"].is_string()), "{orders:#?}");
}

#[tokio::test]
async fn a_carrier_goes_on_after_what_it_acknowledged_and_others_are_not_concerned() {
    let mut mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    let mut ledger = Ledger::new("clinic-a");
    mcp.upload(&appliance, &ledger.make(5), 0).await;
    let carrier = mcp.carrier("nats");
    assert_eq!(mcp.acknowledge(&carrier, 3).await, StatusCode::NO_CONTENT);
    // The mark is on disk, does not go back, and not beyond what has happened.
    mcp.crash_and_start();
    assert_eq!(mcp.acknowledge(&carrier, 2).await, StatusCode::NO_CONTENT);
    assert_eq!(mcp.acknowledge(&carrier, 6).await, StatusCode::CONFLICT);
    let events: Vec<_> = mcp.events("").await.iter().map(number).collect();
    assert_eq!(events, [4, 5]);
    let all: Vec<_> = mcp.events("?after=0").await.iter().map(number).collect();
    assert_eq!(all, [1, 2, 3, 4, 5]);
    assert_eq!(mcp.events_for(&mcp.carrier("siem"), "").await.len(), 5);
}

#[tokio::test]
async fn what_was_reported_stored_is_an_event_after_a_kill() {
    let mut mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    let mut ledger = Ledger::new("clinic-a");
    let mut bundles = Vec::new();
    for _ in 0..3 {
        let more = with_outcomes(&mut ledger, &[Outcome::Success, Outcome::Alert]);
        mcp.upload(&appliance, &more, 0).await;
        bundles.extend(more);
        mcp.crash_and_start();
    }
    let events = mcp.events("").await;
    let told: Vec<_> = of_kind(&events, "evidence").iter().map(|e| e["sha256"].clone()).collect();
    let stored: Vec<_> =
        bundles.iter().map(|b| json!(Digest::of(b.json.as_slice()).to_string())).collect();
    assert_eq!(told, stored);
    assert_eq!(of_kind(&events, "alert").len(), 3);
}

#[tokio::test]
async fn whoever_waits_is_answered_when_something_happens_or_the_server_stops() {
    let mut mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    let mut ledger = Ledger::new("clinic-a");
    let waiting = async |after: u64| {
        let began = tokio::time::Instant::now();
        let events = mcp.events(&format!("?after={after}&wait_s=20")).await;
        (events.len(), began.elapsed())
    };
    let bundles = ledger.make(1);
    // Ten handshakes later the one who began before the first of them waits, however busy the machine is.
    let later = async || {
        for _ in 0..10 {
            mcp.get("/api/v1/health").await;
        }
    };
    let upload = async {
        later().await;
        mcp.upload(&appliance, &bundles, 0).await;
    };
    let ((count, waited), ()) = tokio::join!(waiting(0), upload);
    assert_eq!(count, 1);
    assert!(waited < Duration::from_secs(15), "{waited:?}");
    let stop = async {
        later().await;
        mcp.terminate();
    };
    let ((count, waited), ()) = tokio::join!(waiting(1), stop);
    assert_eq!(count, 0);
    assert!(waited < Duration::from_secs(15), "{waited:?}");
    assert_eq!(mcp.wait(), 0);
}

#[tokio::test]
async fn no_appliance_can_fill_an_answer_with_words() {
    let mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    let mut ledger = Ledger::new("clinic-a");
    let mut bundle = ledger.bundle();
    (bundle.reason, bundle.detail) = ("r".repeat(50_000), "\u{1}".repeat(20_000));
    bundle.check = Some("c".repeat(1000));
    let bundle = ledger.append(&bundle);
    mcp.upload(&appliance, &[bundle], 0).await;
    let [event] = &mcp.events("").await[..] else { panic!("one event") };
    for text in ["reason", "detail", "check"] {
        assert_eq!(event[text].as_str().unwrap().chars().count(), 512, "{text}");
    }
}

#[tokio::test]
async fn events_are_for_carriers_and_a_carrier_gets_nothing_else() {
    let mcp = Mcp::start();
    let (appliance, carrier) = (mcp.register("clinic-a").await, mcp.carrier("nats"));
    for (method, path) in
        [(Method::GET, "/api/v1/events"), (Method::POST, "/api/v1/events/acknowledge")]
    {
        for who in [&appliance, &mcp.operator()] {
            let reply = mcp.call("operator", who, method.clone(), path, "").await;
            reply.problem(403, "forbidden");
        }
        let reply = mcp.call("appliance", &appliance, method, path, "").await;
        reply.problem(404, "not-found");
    }
    let path = "/api/v1/events/acknowledge";
    mcp.call("operator", &carrier, Method::POST, path, "{}").await.problem(400, "bad-request");
    for (method, path) in [
        (Method::GET, "/api/v1/sites"),
        (Method::GET, "/api/v1/sites/clinic-a"),
        (Method::PUT, "/api/v1/sites/clinic-a"),
        (Method::PUT, "/api/v1/sites/clinic-a/certificate"),
        (Method::GET, "/api/v1/certificates"),
        (Method::GET, "/api/v1/sites/clinic-a/trust"),
        (Method::GET, "/api/v1/sites/clinic-a/next-order"),
        (Method::POST, "/api/v1/sites/clinic-a/orders"),
        (Method::GET, "/api/v1/sites/clinic-a/orders/1"),
        (Method::DELETE, "/api/v1/sites/clinic-a/orders/1"),
        (Method::GET, "/api/v1/orders"),
        (Method::GET, "/api/v1/evidence"),
        (Method::GET, "/api/v1/sites/clinic-a/evidence/01930000-0000-7000-8000-000000000001/1"),
        (Method::GET, "/api/v1/log"),
        (Method::POST, "/api/v1/links"),
        (Method::GET, "/events"),
    ] {
        let detail =
            mcp.call("operator", &carrier, method, path, "").await.problem(403, "forbidden");
        assert!(detail.contains("a carrier is given events only"), "{path}: {detail}");
    }
    mcp.poll(&carrier, 0, 0).await.problem(403, "forbidden");
}
