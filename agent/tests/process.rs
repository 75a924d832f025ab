//! The agent as a process, between an executor and a control plane that are played.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use compliance_agent::report::{Cause, Report};
use compliance_protocol::local::{Connectivity, ConnectivityCause, Request};
use compliance_protocol::time::Timestamp;
use compliance_protocol::wire::Upload;
use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use support::agent::{Site, listens};
use support::tls::{Asked, IN_2026, answer};
use support::{HEAD, ORDER, poll_answer, upload_answer};

/// The control plane as it should be.
fn good(asked: &Asked) -> Vec<u8> {
    if asked.head.starts_with("post") {
        let upload: Upload = serde_json::from_slice(&asked.body).unwrap();
        answer("200 OK", "", upload_answer(upload.bundles.len()).as_bytes())
    } else {
        answer("200 OK", "", poll_answer(1).as_bytes())
    }
}

fn succeeded(report: &Report) -> bool {
    report.polls.last_failure.is_none() && report.polls.last_success.is_some()
}

/// Polls, and has no evidence left.
fn delivered(report: &Report) -> bool {
    let queue = report.executor.as_ref().map(|seen| seen.status.pending_bundles);
    succeeded(report) && queue == Some(0)
}

fn failed(cause: Cause) -> impl Fn(&Report) -> bool {
    move |report| report.polls.last_failure.as_ref().is_some_and(|failure| failure.cause == cause)
}

fn feed(request: &Request) -> Option<()> {
    matches!(request, Request::Feed { .. }).then_some(())
}

fn connectivity(request: &Request) -> Option<(Connectivity, ConnectivityCause)> {
    match request {
        Request::Event { connectivity, cause } => Some((*connectivity, *cause)),
        _ => None,
    }
}

#[tokio::test]
async fn orders_go_in_and_all_evidence_comes_out() {
    let site = Site::new(5).await;
    let (mut executor, server) = (site.executor(), site.control_plane(good).await);
    let agent = site.run();
    let (head, orders) = executor
        .next(|request| match request {
            Request::Feed { head, orders, .. } => Some((head.clone(), orders.clone())),
            _ => None,
        })
        .await;
    assert_eq!(head.as_slice(), HEAD.as_bytes());
    assert_eq!(orders.first().unwrap().as_slice(), ORDER.as_bytes());
    site.report(delivered).await;
    let (polls, connections) = (&server.requests, &server.connections);
    assert!(connections.load(Ordering::SeqCst) < polls.load(Ordering::SeqCst), "they are shared");
    let (status, log) = agent.stopped().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(log.lines().count(), 2, "what it logs is changes: {log}");
}

#[tokio::test]
async fn it_holds_no_socket_that_listens() {
    let site = Site::new(0).await;
    let (_executor, _server) = (site.executor(), site.control_plane(good).await);
    let agent = site.run();
    site.report(succeeded).await;
    assert!(!listens(agent.id()));
    // The same eyes see one that does.
    let _listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    assert!(listens(std::process::id()));
}

#[tokio::test]
async fn a_control_plane_that_goes_and_comes_again_is_noticed_both_times() {
    let site = Site::new(0).await;
    let mut executor = site.executor();
    let server = site.control_plane(good).await;
    let _agent = site.run();
    executor.next(feed).await;
    drop(server);
    let lost = executor.next(connectivity).await;
    assert_eq!(lost, (Connectivity::Lost, ConnectivityCause::Connect));
    site.report(failed(Cause::Connect)).await;
    site.ledger.lock().unwrap().pending = 3;
    let _server = site.control_plane(good).await;
    let restored = executor.next(connectivity).await;
    assert_eq!(restored, (Connectivity::Restored, ConnectivityCause::None));
    site.report(delivered).await;
    assert_eq!(site.ledger.lock().unwrap().pending, 0, "what was queued meanwhile is out");
}

#[tokio::test]
async fn an_executor_that_restarts_is_found_again() {
    let site = Site::new(0).await;
    let _server = site.control_plane(good).await;
    let agent = site.run();
    site.report(failed(Cause::Executor)).await;
    let mut executor = site.executor();
    executor.next(feed).await;
    drop(executor);
    site.report(failed(Cause::Executor)).await;
    let mut executor = site.executor();
    executor.next(feed).await;
    site.report(succeeded).await;
    assert_eq!(agent.stopped().await.0.code(), Some(0));
}

#[tokio::test]
async fn nothing_is_told_to_a_socket_of_another_user() {
    let site = Site::new(0).await;
    site.put("agent.toml", &site.config(geteuid().as_raw() + 1));
    let (mut executor, _server) = (site.executor(), site.control_plane(good).await);
    let _agent = site.run();
    let report = site.report(failed(Cause::Executor)).await;
    let detail = report.polls.last_failure.unwrap().detail;
    assert!(detail.contains("not told anything"), "{detail}");
    assert!(executor.asked.try_recv().is_err());
}

/// A control plane that keeps each poll waiting until it is told to answer.
fn holding() -> (mpsc::Receiver<()>, mpsc::Sender<()>, impl support::tls::Answers) {
    let (arrived, seen) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let (arrived, released) = (Mutex::new(arrived), Mutex::new(released));
    let answers = move |asked: &Asked| {
        arrived.lock().unwrap().send(()).unwrap();
        let _ = released.lock().unwrap().recv_timeout(support::DEADLINE);
        good(asked)
    };
    (seen, release, answers)
}

#[tokio::test]
async fn asked_to_stop_during_a_poll_it_delivers_the_answer_and_ends_well() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let site = Site::new(3).await;
        let mut executor = site.executor();
        let (seen, release, answers) = holding();
        let server = site.control_plane(answers).await;
        let agent = site.run();
        let seen = tokio::task::spawn_blocking(move || {
            seen.recv_timeout(support::DEADLINE).map(|()| seen)
        });
        let _seen = seen.await.unwrap().expect("a poll arrives");
        let agent = agent.asked_to_stop(signal).await;
        release.send(()).unwrap();
        let (status, log) = agent.ended().await;
        assert_eq!(status.code(), Some(0), "{log}");
        executor.next(feed).await;
        assert!(executor.asked.try_recv().is_err(), "nothing is asked after that");
        assert_eq!(server.requests.load(Ordering::SeqCst), 1, "nothing is sent after that");
        assert_eq!(site.report(|_| true).await.polls.next, None);
        assert_eq!(site.ask(&["health"]).status.code(), Some(1));
    }
}

#[tokio::test]
async fn garbage_and_answers_over_the_limit_are_failures_of_the_server() {
    let huge = format!("{{\"feed\":\"{}\"}}", "x".repeat(1024 * 1024));
    for body in ["<html>".to_owned(), "{}".to_owned(), String::new(), huge] {
        let site = Site::new(1).await;
        let mut executor = site.executor();
        let bad = Arc::new(AtomicBool::new(true));
        let answers = {
            let bad = bad.clone();
            move |asked: &Asked| {
                let body = body.as_bytes();
                if bad.load(Ordering::SeqCst) { answer("200 OK", "", body) } else { good(asked) }
            }
        };
        let _server = site.control_plane(answers).await;
        let _agent = site.run();
        site.report(failed(Cause::Server)).await;
        let told = executor.next(connectivity).await;
        assert_eq!(told, (Connectivity::Lost, ConnectivityCause::Server));
        assert_eq!(site.ledger.lock().unwrap().pending, 1);
        bad.store(false, Ordering::SeqCst);
        site.report(delivered).await;
        assert_eq!(site.ledger.lock().unwrap().pending, 0);
    }
}

#[tokio::test]
async fn certificates_are_checked_for_the_time_of_the_ticket() {
    let site = Site::new(0).await;
    let years = |years: i64| Timestamp::from_millis(IN_2026 + years * 365 * 86_400_000);
    site.ledger.lock().unwrap().time = years(4);
    let (_executor, server) = (site.executor(), site.control_plane(good).await);
    let _agent = site.run();
    let report = site.report(failed(Cause::Tls)).await;
    assert!(report.polls.last_failure.unwrap().detail.contains("expired"));
    assert_eq!(server.requests.load(Ordering::SeqCst), 0);
    site.ledger.lock().unwrap().time = years(0);
    site.report(succeeded).await;
}

#[tokio::test]
async fn status_and_health_tell_how_it_is() {
    let site = Site::new(0).await;
    assert_eq!(site.ask(&["health"]).status.code(), Some(2), "nothing to judge by");
    assert_eq!(site.ask(&["status"]).status.code(), Some(2));
    let (_executor, _server) = (site.executor(), site.control_plane(good).await);
    let agent = site.run();
    site.report(succeeded).await;
    let health = site.ask(&["health"]);
    let sentence = String::from_utf8(health.stdout).unwrap();
    assert_eq!((health.status.code(), sentence.lines().count()), (Some(0), 1), "{sentence}");
    let text = String::from_utf8(site.ask(&["status"]).stdout).unwrap();
    for part in
        ["acme/clinic-042", "last success", "queue          0 bundles", "the control plane's"]
    {
        assert!(text.contains(part), "{part} is in\n{text}");
    }
    let json = site.ask(&["status", "--json"]).stdout;
    let document: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert!(document["age_ms"].as_i64().unwrap() < 60_000);
    assert_eq!(document["executor"]["status"]["site"], "clinic-042");
    agent.stopped().await;
}

#[tokio::test]
async fn a_configuration_is_checked_with_the_files_that_it_names() {
    let site = Site::new(0).await;
    assert_eq!(site.ask(&["check-config"]).status.code(), Some(0));
    site.put("tls.key", "no key");
    let refused = site.ask(&["check-config"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("private key"));
    assert_eq!(site.ask(&["polll"]).status.code(), Some(2));
    assert_eq!(site.ask(&["health", "--json"]).status.code(), Some(2));
}

#[tokio::test]
async fn what_prometheus_is_told_is_there_with_each_report_and_for_everyone_to_read() {
    let site = Site::new(2).await;
    let path = site.path("compliance.prom");
    site.put("agent.toml", &site.config_with_metrics(&path));
    let _server = site.control_plane(good).await;
    let agent = site.run();
    let metrics = |line: &str| {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.lines().any(|is| is == line), "{line} is in\n{text}");
    };
    site.report(failed(Cause::Executor)).await;
    metrics("compliance_executor_reachable 0");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    let _executor = site.executor();
    site.report(delivered).await;
    metrics("compliance_executor_reachable 1");
    metrics("compliance_evidence_pending_bundles 0");
    agent.stopped().await;
}

#[tokio::test]
async fn an_agent_whose_files_cannot_be_written_polls_all_the_same() {
    let site = Site::new(1).await;
    let config = site.config_with_metrics(&site.path("none/compliance.prom"));
    site.put("agent.toml", &config.replace("/state.json", "/none/state.json"));
    let (mut executor, _server) = (site.executor(), site.control_plane(good).await);
    let agent = site.run();
    for _ in 0..3 {
        executor.next(feed).await;
    }
    let (status, log) = agent.stopped().await;
    assert_eq!(status.code(), Some(0));
    for name in ["state.json", "compliance.prom"] {
        let told = log.lines().filter(|line| line.contains("cannot write") && line.contains(name));
        assert_eq!(told.count(), 1, "said once: {log}");
    }
    assert_eq!(site.ledger.lock().unwrap().pending, 0);
}
