//! The real carrier between a real control plane and a real `nats-server`.
//!
//! Where there is no `nats-server`, each test says `skipped: why`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub
)]

#[path = "../../../mcp/tests/server/bundles.rs"]
#[allow(dead_code)] // Here each bundle is made with its outcome.
mod bundles;
mod carrier;
mod plane;
mod server;

use std::time::Duration;

use compliance_nats::broker::{Broker, BrokerError};
use compliance_nats::config::Config;
use compliance_nats::control_plane::ControlPlane;
use compliance_protocol::evidence::Outcome;

use carrier::{Process, expect_all_once};
use plane::Plane;
use server::{Server, is_missing};

const MULTI: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn a_nats_server_that_is_killed_in_the_middle_has_each_event_once() {
    if is_missing("a_nats_server_that_is_killed_in_the_middle_has_each_event_once") {
        return;
    }
    let mut plane = Plane::start().await;
    let mut server = Server::start();
    let config = plane.carrier(&server.plain());
    let carrier = Process::start("run", &config);
    for round in 0..4 {
        plane.upload("clinic-a", MULTI, Outcome::Success).await;
        plane.upload("clinic-b", MULTI, Outcome::Alert).await;
        // In the first round nothing need have arrived yet; in each later one some of it has.
        server.wait_for_messages(round * MULTI).await;
        server.kill();
        plane.upload("clinic-a", MULTI, Outcome::Failed).await;
        server.start_again();
    }
    plane.wait_until_carried().await;
    expect_all_once(&plane, &server).await;
    assert_eq!(carrier.terminate(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_that_is_killed_before_it_acknowledges_stores_nothing_twice() {
    if is_missing("a_carrier_that_is_killed_before_it_acknowledges_stores_nothing_twice") {
        return;
    }
    let mut plane = Plane::start().await;
    let server = Server::start();
    let config = plane.carrier(&server.plain());
    plane.upload("clinic-a", MULTI, Outcome::Alert).await;

    // All that a carrier does up to the acknowledgement; there it ends.
    let settings = Config::read(&config).unwrap();
    let events = ControlPlane::new(&settings).unwrap().events().await.unwrap();
    let count = events.len();
    assert_eq!(count, 2 * MULTI);
    let published = Broker::open(&settings.nats).await.unwrap().publish(events).await.unwrap();
    assert_eq!((published.stored, published.duplicates), (count, 0));
    assert_eq!(plane.waiting().await.len(), count);

    // The next one brings them all again.
    let carrier = Process::start("run", &config);
    plane.wait_until_carried().await;
    expect_all_once(&plane, &server).await;
    drop(carrier);

    // And killed wherever it happens to be, again and again, while more comes in.
    for _ in 0..10 {
        let carrier = Process::start("run", &config);
        plane.upload("clinic-a", MULTI, Outcome::Alert).await;
        carrier.kill();
    }
    let carrier = Process::start("run", &config);
    plane.wait_until_carried().await;
    expect_all_once(&plane, &server).await;
    assert_eq!(carrier.terminate(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nats_is_down_events_wait_and_the_carrier_can_be_stopped() {
    if is_missing("while_nats_is_down_events_wait_and_the_carrier_can_be_stopped") {
        return;
    }
    let mut plane = Plane::start().await;
    let mut server = Server::start();
    let config = plane.carrier(&server.plain());
    server.kill();
    plane.upload("clinic-a", 3, Outcome::Success).await;
    let carrier = Process::start("run", &config);
    carrier.wait_for_log(&["events wait at the control plane", "no connection"]);
    assert_eq!(carrier.terminate(), 0);
    assert_eq!(plane.waiting().await.len(), 3);
    let carrier = Process::start("run", &config);
    carrier.wait_for_log(&["events wait at the control plane"]);
    server.start_again();
    plane.wait_until_carried().await;
    carrier.wait_for_log(&["events are carried again"]);
    expect_all_once(&plane, &server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_that_forgets_the_mark_is_told_of_and_each_event_is_stored_once() {
    if is_missing("a_control_plane_that_forgets_the_mark_is_told_of_and_each_event_is_stored_once")
    {
        return;
    }
    let mut plane = Plane::start().await;
    let server = Server::start();
    plane.upload("clinic-a", 3, Outcome::Success).await;
    let carrier = Process::start("run", &plane.carrier(&server.plain()));
    plane.wait_until_carried().await;
    plane.forget_what_was_acknowledged();
    plane.upload("clinic-a", 1, Outcome::Success).await;
    carrier.wait_for_log(&["gives event 1 again, after 3 was acknowledged"]);
    plane.wait_until_carried().await;
    expect_all_once(&plane, &server).await;
    assert_eq!(carrier.terminate(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_would_forget_too_soon_gets_nothing_until_it_is_mended() {
    if is_missing("a_stream_that_would_forget_too_soon_gets_nothing_until_it_is_mended") {
        return;
    }
    let mut plane = Plane::start().await;
    let server = Server::start();
    let config = plane.carrier(&server.plain());
    let mut stream = async_nats::jetstream::stream::Config {
        name: "COMPLIANCE".to_owned(),
        subjects: vec!["compliance.>".to_owned()],
        duplicate_window: Duration::from_mins(2),
        ..Default::default()
    };
    let jetstream = server.jetstream().await;
    jetstream.create_stream(stream.clone()).await.unwrap();
    plane.upload("clinic-a", 3, Outcome::Success).await;
    let carrier = Process::start("run", &config);
    carrier.wait_for_log(&["the stream COMPLIANCE is not fit", "duplicate window is 120 s"]);
    assert_eq!(server.messages().await.len(), 0);
    stream.duplicate_window = Duration::from_hours(720);
    jetstream.update_stream(stream).await.unwrap();
    plane.wait_until_carried().await;
    expect_all_once(&plane, &server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_alert_is_one_ticket_also_after_the_printer_was_away() {
    if is_missing("each_alert_is_one_ticket_also_after_the_printer_was_away") {
        return;
    }
    let mut plane = Plane::start().await;
    let server = Server::start();
    let config = plane.carrier(&server.plain());
    let _carrier = Process::start("run", &config);
    plane.upload("clinic-a", 2, Outcome::Alert).await;
    plane.upload("clinic-a", 5, Outcome::Success).await;
    plane.wait_until_carried().await;
    let tickets = Process::start("tickets", &config);
    let first = [tickets.next_line(), tickets.next_line()];
    assert_eq!(tickets.terminate(), 0);
    plane.upload("clinic-a", 1, Outcome::Reverted).await;
    plane.wait_until_carried().await;
    let tickets = Process::start("tickets", &config);
    let third = tickets.next_line();
    assert!(first[0].starts_with("TICKET ") && first[0].contains(" acme/clinic-a backups alert "));
    assert!(first[0] != first[1] && third.contains(" backups reverted "), "{first:?} {third}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_documents_say_that_a_login_needs_is_enough() {
    if is_missing("what_the_documents_say_that_a_login_needs_is_enough") {
        return;
    }
    let mut plane = Plane::start().await;
    let server = Server::start_with_permissions();
    let carrier = Process::start("run", &plane.carrier(&server.as_user("carrier")));
    plane.upload("clinic-a", 2, Outcome::Alert).await;
    plane.wait_until_carried().await;
    assert_eq!(carrier.terminate(), 0);
    let config = plane.carrier(&server.as_user("tickets"));
    let tickets = Process::start("tickets", &config);
    let first = [tickets.next_line(), tickets.next_line()];
    assert_ne!(first[0], first[1]);
    server.wait_until_acknowledged("tickets", 2).await;
    assert_eq!(tickets.terminate(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_only_the_right_broker_and_the_right_password_will_do() {
    if is_missing("over_tls_only_the_right_broker_and_the_right_password_will_do") {
        return;
    }
    let mut plane = Plane::start().await;
    let server = Server::start_with_tls(&plane);
    let good = server.tls(&plane, "correct horse");
    plane.upload("clinic-a", 3, Outcome::Alert).await;
    let refused = async |nats: &str| {
        let config = Config::read(&plane.carrier(nats)).unwrap();
        match Broker::open(&config.nats).await {
            Err(BrokerError::Connect { detail, .. }) => detail,
            other => panic!("{other:?}"),
        }
    };
    let wrong = server.tls(&plane, "wrong");
    let said = refused(&wrong).await;
    assert!(said.contains("authorization"), "{said}");
    let other = Plane::start().await;
    let stranger = good.replace(plane.ca().to_str().unwrap(), other.ca().to_str().unwrap());
    let said = refused(&stranger).await;
    assert!(said.to_lowercase().contains("certificate"), "{said}");
    // A plain address gets nowhere at a broker that asks for TLS.
    refused(&server.plain()).await;

    let carrier = Process::start("run", &plane.carrier(&good));
    plane.wait_until_carried().await;
    assert_eq!(carrier.terminate(), 0);
}
