//! SIGKILL at any moment: at most one start of each order, one end, and no evidence lost.

use std::time::Duration;

use compliance_protocol::local::Request;
use compliance_testkit::OrderForm;

use crate::site::{Courier, Site, within_patience};

/// Polls until the order has ended, and some more.
fn settle(site: &Site, form: &OrderForm) -> (String, String) {
    let mut courier = Courier::connect(site);
    let ended = |told: &(String, String)| told.0 != "deferred";
    let end = within_patience(|| {
        courier.poll(site);
        site.about(form).into_iter().find(ended)
    });
    let status = courier.status();
    let story: Vec<_> = site.evidence().into_iter().map(|b| (b.reason, b.detail)).collect();
    assert!(end.is_some(), "order {} does not end: {status:?}, {story:?}", form.sequence());
    courier.poll(site);
    let told: Vec<_> = site.about(form).into_iter().filter(ended).collect();
    assert_eq!(told.len(), 1, "one terminal outcome: {told:?}");
    told[0].clone()
}

#[test]
fn killed_while_an_order_runs_it_is_not_started_again_and_how_it_ended_is_seen() {
    for (stage, expected) in [
        ("begun", ("failed", "interrupted")),
        ("half", ("failed", "interrupted")),
        ("done", ("success", "recovered")),
    ] {
        let mut site = Site::new();
        let running = site.serve();
        site.hold(stage);
        let form = site.issue();
        let mut courier = Courier::connect(&site);
        courier.poll(&site);
        site.wait_for_job(stage);
        drop(running);
        let running = site.serve();
        let told = settle(&site, &form);
        assert_eq!((told.0.as_str(), told.1.as_str()), expected, "killed at {stage}");
        assert_eq!(site.starts(), 1, "killed at {stage}");
        // The job outlives the executor here; under systemd it would not. Its end changes nothing.
        site.let_go(stage);
        drop(running);
        let _running = site.serve();
        settle(&site, &form);
        assert_eq!(site.starts(), 1);
    }
}

#[test]
fn killed_at_any_moment_each_order_is_started_at_most_once_and_ends_once() {
    let mut site = Site::new();
    let mut forms = Vec::new();
    for round in 0..8_u64 {
        let running = site.serve();
        let mut courier = Courier::connect(&site);
        let form = site.issue();
        let feed = courier.feed(&site);
        std::io::Write::write_all(
            &mut courier.0,
            &compliance_protocol::local::encode(&feed).unwrap(),
        )
        .unwrap();
        // Somewhere between the first byte read and the evidence written.
        std::thread::sleep(Duration::from_micros(round * round * 700));
        drop(running);
        forms.push(form);
    }
    let _running = site.serve();
    // The last killed executor's job may still run; what it does is seen as it is.
    let told: Vec<_> = forms.iter().map(|form| settle(&site, form)).collect();
    assert!(site.starts() <= forms.len(), "{} starts of {} orders", site.starts(), forms.len());
    let succeeded = told.iter().filter(|told| told.0 == "success").count();
    assert!(succeeded <= site.starts(), "{told:?}");
}

#[test]
fn evidence_that_was_handed_out_or_receipted_survives_a_kill() {
    let mut site = Site::new();
    let mut handed_out = Vec::new();
    for _ in 0..3 {
        let running = site.serve();
        let mut courier = Courier::connect(&site);
        site.issue();
        courier.poll(&site);
        handed_out.extend(courier.pending());
        drop(running);
        let running = site.serve();
        let mut courier = Courier::connect(&site);
        courier.upload(&mut site);
        let count = site.plane.stored.len();
        drop(running);
        let _running = site.serve();
        let mut courier = Courier::connect(&site);
        assert!(courier.pending().iter().all(|b| !handed_out.contains(b)), "receipts are kept");
        assert_eq!(site.plane.stored.len(), count);
    }
    let kept: Vec<_> = site.evidence().iter().map(|bundle| bundle.id).collect();
    for signed in handed_out {
        let key = &site.plane.trust.roles.evidence;
        assert!(kept.contains(&signed.verify(key).unwrap().bundle().id));
    }
}

#[test]
fn a_ticket_from_before_a_kill_is_worth_nothing() {
    let mut site = Site::new();
    let running = site.serve();
    let form = site.issue();
    let feed = Courier::connect(&site).feed(&site);
    drop(running);
    let _running = site.serve();
    let mut courier = Courier::connect(&site);
    let answer = courier.ask(&feed);
    assert!(matches!(answer, compliance_protocol::local::Answer::Feed { fresh: false, .. }));
    courier.ask(&Request::Status {});
    assert!(site.about(&form).is_empty());
}
