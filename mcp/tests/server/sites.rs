//! Sites and their trust files.

use compliance_protocol::key::KeySet;
use compliance_signing::{PrivateKey, sign};
use hyper::{Method, StatusCode};

use crate::bundles::Ledger;
use crate::process::{Mcp, binary, init, new_order};

#[tokio::test]
async fn a_site_is_registered_by_a_trust_file_of_the_configured_root() {
    let mcp = Mcp::start();
    mcp.register("clinic-a").await;
    let sites = mcp.get("/api/v1/sites").await;
    let site = &sites["sites"][0];
    assert_eq!(site["site"], "clinic-a");
    assert_eq!(site["epoch"], 1);
    assert_eq!(site["bundles"], 0);
    assert_eq!(site["open_orders"], 0);
    assert!(site["last_seen"].is_null() && site["evidence_head"].is_null());
    let envelope = mcp.get("/api/v1/sites/clinic-a/trust").await;
    assert_eq!(envelope["payloadType"], "application/vnd.compliance.trust.v1+json");
    // The same file again changes nothing.
    let again = mcp.operate(Method::PUT, "/api/v1/sites/clinic-a", mcp.signed_trust("clinic-a"));
    assert_eq!(again.await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_first_trust_file_is_refused_unless_it_is_ours() {
    let mcp = Mcp::start();
    let stranger = PrivateKey::from_seed(&[99; 32]).unwrap();
    let good = mcp.trust("clinic-a");
    let put = async |bytes: Vec<u8>| {
        mcp.operate(Method::PUT, "/api/v1/sites/clinic-a", bytes).await.problem(422, "refused")
    };

    let mut other_root = good.clone();
    other_root.roles.root = KeySet::new(vec![stranger.public()], 1).unwrap();
    let detail = put(sign(&other_root, &[&stranger]).unwrap()).await;
    assert!(detail.contains("[root] in mcp.toml"), "{detail}");

    let detail = put(sign(&good, &[&stranger]).unwrap()).await;
    assert!(detail.contains("no trusted key signed"), "{detail}");

    let detail = put(mcp.signed_trust("clinic-b")).await;
    assert!(detail.contains("another site"), "{detail}");

    let mut other_tenant = good.clone();
    other_tenant.tenant = "umbrella".parse().unwrap();
    let detail = put(sign(&other_tenant, &[&mcp.keys.root]).unwrap()).await;
    assert!(detail.contains("another tenant"), "{detail}");

    let mut other_feed = good.clone();
    other_feed.roles.feed = KeySet::new(vec![stranger.public()], 1).unwrap();
    let detail = put(sign(&other_feed, &[&mcp.keys.root]).unwrap()).await;
    assert!(detail.contains("feed key"), "{detail}");

    let detail = put(b"{}".to_vec()).await;
    assert!(detail.contains("not a DSSE envelope"), "{detail}");
    assert_eq!(mcp.get("/api/v1/sites").await["sites"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn a_later_trust_file_is_the_next_version_and_a_new_epoch_withdraws_open_orders() {
    let mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    let order = mcp.signed(&new_order("clinic-a", 1, None));
    let pushed = mcp.operate(Method::POST, "/api/v1/sites/clinic-a/orders", order).await;
    assert_eq!(pushed.status, StatusCode::CREATED, "{}", pushed.text());

    let mut next = mcp.trust("clinic-a");
    next.version = 3;
    let put = async |bytes| mcp.operate(Method::PUT, "/api/v1/sites/clinic-a", bytes).await;
    let detail = put(sign(&next, &[&mcp.keys.root]).unwrap()).await.problem(422, "refused");
    assert!(detail.contains("version 3 does not follow version 1"), "{detail}");

    (next.version, next.epoch) = (2, 2);
    let replaced = put(sign(&next, &[&mcp.keys.root]).unwrap()).await;
    assert_eq!(replaced.status, StatusCode::OK, "{}", replaced.text());
    let orders = mcp.get("/api/v1/orders?site=clinic-a").await;
    assert_eq!(orders["orders"][0]["state"], "withdrawn");
    let answer = mcp.poll(&appliance, 0, 0).await.json();
    assert_eq!(answer["orders"].as_array().unwrap().len(), 0);
    let next = mcp.get("/api/v1/sites/clinic-a/next-order").await;
    assert_eq!((&next["epoch"], &next["sequence"]), (&2.into(), &1.into()));
}

#[tokio::test]
async fn what_a_machine_said_is_not_said_of_the_one_that_replaced_it() {
    let mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    mcp.upload(&appliance, &Ledger::new("clinic-a").make(1), 0).await;
    let states = async || mcp.get("/api/v1/sites/clinic-a").await["states"].clone();
    assert_eq!(states().await["backups"]["state"], "compliant");
    let session = mcp.session().await;
    let page = async || mcp.browse("/sites/clinic-a", Some(&session)).await.text().to_owned();
    assert!(page().await.contains("synchronised"));

    let mut next = mcp.trust("clinic-a");
    (next.version, next.epoch) = (2, 2);
    let next = sign(&next, &[&mcp.keys.root]).unwrap();
    let replaced = mcp.operate(Method::PUT, "/api/v1/sites/clinic-a", next).await;
    assert_eq!(replaced.status, StatusCode::OK, "{}", replaced.text());
    mcp.poll(&appliance, 0, 0).await;
    assert_eq!(states().await, serde_json::json!({}));
    let page = page().await;
    assert!(!page.contains("synchronised") && !page.contains("<p>Every backup is fresh.</p>"));
    assert!(page.contains("not known yet") && page.contains(">Every backup is fresh. <code>"));
    mcp.upload(&appliance, &Ledger::with_id("clinic-a", 2).make(1), 0).await;
    assert_eq!(states().await, serde_json::json!({}), "late evidence of the old machine");
}

#[tokio::test]
async fn an_appliance_that_makes_checks_up_fills_no_table() {
    let mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    let mut ledger = Ledger::new("clinic-a");
    for letters in ["ab", "cd"] {
        let mut round = ledger.bundle();
        (round.check, round.state, round.reason) = (None, None, "round".to_owned());
        let names = letters.chars().flat_map(|a| ('a'..='z').map(move |b| format!("{a}{b}")));
        let states = names.map(|name| (name, "compliant".into()));
        round.post.insert("states".to_owned(), serde_json::Value::Object(states.collect()));
        let signed = ledger.append(&round);
        mcp.upload(&appliance, &[signed], 0).await;
    }
    let site = mcp.get("/api/v1/sites/clinic-a").await;
    assert_eq!(site["states"].as_object().unwrap().len(), 16);
}

#[tokio::test]
async fn states_come_from_the_newest_evidence_and_what_is_no_state_is_unknown() {
    let mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    let mut ledger = Ledger::new("clinic-a");
    let mut round = ledger.bundle();
    round.reason = "round".to_owned();
    (round.check, round.state) = (None, None);
    let states = serde_json::json!({
        "patching": "drifted", "backups": "drifted", "firewall": "unknown", "logging": "hacked",
        "encryption": "not_applicable",
    });
    round.post.insert("states".to_owned(), states);
    let older = ledger.append(&round);
    mcp.upload(&appliance, &ledger.make(1), 0).await;
    mcp.upload(&appliance, &[older], 0).await;
    let site = mcp.get("/api/v1/sites/clinic-a").await;
    for (check, state) in [
        ("patching", "drifted"),
        ("backups", "compliant"),
        ("firewall", "unknown"),
        ("logging", "unknown"),
        ("encryption", "not_applicable"),
    ] {
        assert_eq!(site["states"][check]["state"], state, "{check}");
    }
    assert!(site["states"]["services"].is_null());
    assert!(site["last_seen"].is_string() && site["last_head_at"].is_null());
    assert_eq!(site["evidence_head"]["sequence"], 2);
}

#[test]
fn init_makes_private_files_private_and_never_changes_a_folder() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let root = PrivateKey::from_seed(&[1; 32]).unwrap();
    let (dir, root_pub) = (folder.path().join("mcp"), folder.path().join("root.pub"));
    std::fs::write(&root_pub, root.public().to_pem().unwrap()).unwrap();
    assert!(init(&dir, &root_pub).status.success());
    for (file, mode) in [
        ("tls/server.key", 0o600),
        ("keys/feed.key", 0o600),
        ("keys/checkpoint.key", 0o600),
        ("offline/ca.key", 0o600),
        ("offline/operator-admin.key", 0o600),
        ("tls/ca.pem", 0o644),
        ("keys/feed.pub", 0o644),
    ] {
        let found = std::fs::metadata(dir.join(file)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{file}");
    }
    let before = std::fs::read(dir.join("keys/feed.key")).unwrap();
    let again = init(&dir, &root_pub);
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("is not empty"));
    assert_eq!(std::fs::read(dir.join("keys/feed.key")).unwrap(), before);

    let check = |config: &std::path::Path| {
        binary().arg("check-config").arg("--config").arg(config).output().unwrap()
    };
    assert_eq!(check(&dir.join("mcp.toml")).status.code(), Some(0));
    assert_eq!(check(&dir.join("none.toml")).status.code(), Some(2));
    let config = std::fs::read_to_string(dir.join("mcp.toml")).unwrap();
    std::fs::write(dir.join("bad.toml"), config.replace("poll_after_s", "poll_after")).unwrap();
    let bad = check(&dir.join("bad.toml"));
    assert_eq!(bad.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&bad.stderr).contains("did you mean `poll_after_s`"));
}
