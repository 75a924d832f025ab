//! What was answered is on disk.

use compliance_protocol::tlog::TlogProof;
use compliance_protocol::wire::UploadStatus;
use hyper::{Method, StatusCode};
use rustls::version::TLS13;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::bundles::Ledger;
use crate::process::{Mcp, binary, new_order};

#[tokio::test]
async fn a_restart_keeps_everything() {
    let mut mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    let order = mcp.signed(&new_order("clinic-a", 1, None));
    mcp.operate(Method::POST, "/api/v1/sites/clinic-a/orders", order).await;
    mcp.upload(&appliance, &Ledger::new("clinic-a").make(3), 0).await;
    mcp.poll(&appliance, 0, 0).await;
    let before = (mcp.get("/api/v1/sites").await, mcp.get("/api/v1/orders").await);
    let log = mcp.get("/api/v1/log").await;
    mcp.restart();
    assert_eq!((mcp.get("/api/v1/sites").await, mcp.get("/api/v1/orders").await), before);
    assert_eq!(mcp.get("/api/v1/log").await, log);
    assert!(before.0["sites"][0]["last_head_at"].is_string());
}

#[tokio::test]
async fn what_was_reported_stored_is_there_after_a_kill() {
    let mut mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    let mut ledger = Ledger::new("clinic-a");
    let (mut reported, mut known) = (Vec::new(), 0);
    for round in 0..4 {
        // One upload is answered, another is under way when the process dies.
        let answered = ledger.make(5);
        let answer = mcp.upload(&appliance, &answered, known).await;
        known = u64::try_from(reported.len() + 5).unwrap();
        reported.extend(answered.into_iter().zip(answer.results));
        let under_way = ledger.make(8);
        let body =
            serde_json::to_vec(&compliance_protocol::wire::Upload { bundles: under_way.clone() });
        let tls = mcp.connect("appliance", Some(&appliance), &TLS13).await.unwrap();
        let sent = tokio::spawn(crate::client::request(
            tls,
            Method::POST,
            "/api/v1/evidence",
            hyper::HeaderMap::new(),
            body.unwrap(),
        ));
        if round % 2 == 1 {
            tokio::task::yield_now().await;
        }
        mcp.crash_and_start();
        let _ = sent.await;
        // Now they are all there, each once.
        let again = mcp.upload(&appliance, &under_way, 0).await;
        reported.extend(under_way.into_iter().zip(again.results));
        for (bundle, result) in &reported {
            let again = mcp.upload(&appliance, std::slice::from_ref(bundle), 0).await;
            assert_eq!(again.results[0].status, UploadStatus::Duplicate);
            let old = TlogProof::parse(result.receipt.as_ref().unwrap()).unwrap();
            let new = TlogProof::parse(again.results[0].receipt.as_ref().unwrap()).unwrap();
            assert_eq!(old.index, new.index);
            new.verify(bundle.json.as_slice(), &mcp.log(), mcp.log().name()).unwrap();
        }
    }
    let site = mcp.get("/api/v1/sites/clinic-a").await;
    assert_eq!((&site["bundles"], &site["gaps"]), (&52.into(), &serde_json::json!([])));
}

#[tokio::test]
async fn a_request_in_flight_is_finished_when_the_server_is_told_to_stop() {
    let mut mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    let bundles = Ledger::new("clinic-a").make(1);
    let body = serde_json::to_vec(&compliance_protocol::wire::Upload { bundles }).unwrap();
    let mut tls = mcp.connect("appliance", Some(&appliance), &TLS13).await.unwrap();
    let head = format!(
        "POST /api/v1/evidence HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    tls.write_all(head.as_bytes()).await.unwrap();
    // The server asks for the body: the request is in flight.
    let mut go_on = [0; 25];
    tls.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    mcp.terminate();
    mcp.wait_for_log(&["stopping"]);
    tls.write_all(&body).await.unwrap();
    let mut answer = Vec::new();
    // The end may come without a close_notify; what counts is the answer.
    let _ = tls.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("\"stored\""), "{answer}");
    assert_eq!(mcp.wait(), 0);
}

#[tokio::test]
async fn a_second_server_on_the_same_data_is_refused() {
    let mcp = Mcp::start();
    let config = mcp.dir().join("mcp.toml");
    let second = binary().arg("serve").arg("--config").arg(config).output().unwrap();
    assert_eq!(second.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another compliance-mcp"));
    assert_eq!(mcp.operate(Method::GET, "/api/v1/health", "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn logs_are_json_when_the_configuration_says_so() {
    let mut mcp = Mcp::start();
    let path = mcp.dir().join("mcp.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, config.replace("format = \"text\"", "format = \"json\"")).unwrap();
    mcp.restart();
    let line: serde_json::Value = serde_json::from_str(&mcp.wait_for_log(&["ready"])).unwrap();
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["fields"]["appliance"], mcp.address("appliance"));
}
