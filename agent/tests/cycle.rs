//! The cycle, led by hand: one event in, one list of actions out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

mod support;

use compliance_agent::cycle::{Action, BATCH, Call, Event, Work};
use compliance_agent::report::Cause;
use compliance_protocol::feed::Nonce;
use compliance_protocol::local::{Answer, Connectivity, ConnectivityCause, Request};
use compliance_protocol::time::Span;
use support::{
    Courier, HEAD, ORDER, TODAY, bundle, ok, pending, poll_answer, recorded, reply, status_answer,
    ticket, to_the_evidence, to_the_poll, unreached, upload_answer,
};

const MINUTE: Span = Span::from_secs(60);

fn courier() -> Courier {
    Courier::new(MINUTE)
}

fn wait(work: Work) -> Span {
    match work {
        Work::Wait(span) => span,
        other => panic!("expected a wait, got {other:?}"),
    }
}

fn seconds(work: Work) -> i64 {
    wait(work).as_millis() / 1000
}

#[test]
fn a_poll_begins_with_a_ticket_and_asks_for_what_the_ticket_says() {
    let mut courier = courier();
    assert_eq!(courier.work(Event::Woke), Work::Ask(Request::Ticket {}));
    let work = courier.work(Event::Answered(Answer::Ticket { ticket: ticket(TODAY) }));
    let nonce = Nonce::from_random([7; 16]);
    let path = format!("/api/v1/orders?after=16&nonce={nonce}&log=5&pending=3");
    assert_eq!(work, Work::Send(Call { path, body: None }));
}

#[test]
fn the_clock_for_certificates_is_set_by_the_ticket_before_the_poll() {
    let mut courier = courier();
    courier.work(Event::Woke);
    let actions = courier.take(Event::Answered(Answer::Ticket { ticket: ticket(TODAY) }));
    let clock = actions.iter().position(|action| *action == Action::SetClock(TODAY)).unwrap();
    let poll = actions.iter().position(|action| matches!(action, Action::Begin(_))).unwrap();
    assert!(clock < poll, "{actions:?}");
}

#[test]
fn what_the_control_plane_answers_is_handed_in_byte_for_byte() {
    let mut courier = courier();
    courier.lead(to_the_poll());
    let Work::Ask(Request::Feed { head, orders, checkpoint, consistency }) =
        courier.work(ok(&poll_answer(60)))
    else {
        panic!()
    };
    assert_eq!(head.as_slice(), HEAD.as_bytes());
    assert_eq!(orders.len(), 1);
    assert_eq!(orders.first().unwrap().as_slice(), ORDER.as_bytes());
    assert_eq!((checkpoint.as_str(), consistency.len()), ("log\n5\n", 0));
}

#[test]
fn evidence_goes_out_batch_by_batch_and_receipts_come_in() {
    let mut courier = courier();
    assert_eq!(courier.lead(to_the_evidence()), Work::Ask(Request::Pending { bytes: BATCH }));
    let Work::Send(Call { path, body: Some(body) }) = courier.work(pending(vec![bundle(1)])) else {
        panic!()
    };
    assert_eq!(path, "/api/v1/evidence?log=5");
    let sent: compliance_protocol::wire::Upload = serde_json::from_slice(&body).unwrap();
    assert_eq!(sent.bundles, [bundle(1)]);
    let work = courier.work(ok(&upload_answer(1)));
    let Work::Ask(Request::Receipts { results, checkpoint, .. }) = work else { panic!("{work:?}") };
    assert_eq!((results.len(), checkpoint.as_str()), (1, "log\n6\n"));
    assert_eq!(courier.work(recorded(1)), Work::Ask(Request::Pending { bytes: BATCH }));
    assert_eq!(courier.work(pending(Vec::new())), Work::Ask(Request::Status {}));
    assert!(wait(courier.work(status_answer())) > Span::ZERO);
}

#[test]
fn a_full_cycle_ends_as_a_success_with_the_next_poll_after_the_interval() {
    let mut courier = courier();
    courier.lead(to_the_evidence());
    courier.work(pending(Vec::new()));
    let actions = courier.take(status_answer());
    assert!(actions.contains(&Action::Note(None)) && actions.contains(&Action::Save));
    let polls = courier.state().polls();
    assert_eq!((polls.failures, &polls.last_failure), (0, &None));
    assert!(polls.last_success.is_some() && polls.next.is_some());
    assert!(courier.state().executor().is_some());
}

#[test]
fn a_long_queue_does_not_keep_the_next_poll_waiting() {
    let mut courier = courier();
    courier.lead(to_the_evidence());
    let mut batches = 0;
    loop {
        courier.lead([pending(vec![bundle(1)]), ok(&upload_answer(1))]);
        batches += 1;
        // The hand-led clock moves on by a second with each event.
        match courier.work(recorded(1)) {
            Work::Ask(Request::Pending { .. }) => {}
            Work::Ask(Request::Status {}) => break,
            other => panic!("{other:?}"),
        }
    }
    assert!((15..=25).contains(&batches), "{batches}");
}

#[test]
fn evidence_without_a_receipt_that_holds_is_not_sent_again_at_once() {
    let mut courier = courier();
    courier.lead(to_the_evidence());
    courier.lead([pending(vec![bundle(1)]), ok(&upload_answer(1))]);
    assert_eq!(courier.work(recorded(0)), Work::Ask(Request::Status {}));
    courier.work(status_answer());
    assert_eq!(courier.state().polls().last_failure.as_ref().unwrap().cause, Cause::Refused);
}

#[test]
fn evidence_is_acknowledged_only_by_an_answer_in_the_form_of_the_protocol() {
    let answers = [
        unreached(Cause::Timeout),
        ok("{}"),
        ok("garbage"),
        reply(201, None, &upload_answer(1)),
        reply(500, None, &upload_answer(1)),
    ];
    for answer in answers {
        let mut courier = courier();
        courier.lead(to_the_evidence());
        courier.work(pending(vec![bundle(1)]));
        let shown = format!("{answer:?}");
        assert_eq!(courier.work(answer), Work::Ask(Request::Status {}), "{shown}");
        courier.work(status_answer());
        assert_eq!(courier.state().polls().failures, 1, "{shown}");
    }
}

#[test]
fn garbage_in_answer_to_a_poll_is_a_failure_and_nothing_is_handed_in() {
    for answer in [ok(""), ok("{}"), ok("[1]"), reply(302, None, ""), reply(404, None, "x")] {
        let mut courier = courier();
        courier.lead(to_the_poll());
        let told =
            Request::Event { connectivity: Connectivity::Lost, cause: ConnectivityCause::Server };
        assert_eq!(courier.work(answer), Work::Ask(told));
    }
}

#[test]
fn a_lost_connection_is_reported_once_and_its_return_once() {
    let mut courier = courier();
    let event = |connectivity, cause| Work::Ask(Request::Event { connectivity, cause });
    let lost = event(Connectivity::Lost, ConnectivityCause::Dns);
    let restored = event(Connectivity::Restored, ConnectivityCause::None);
    courier.lead(to_the_poll());
    assert_eq!(courier.work(unreached(Cause::Dns)), lost);
    courier.lead([Event::Answered(Answer::Event {}), status_answer()]);
    courier.lead(to_the_poll());
    assert_eq!(courier.work(unreached(Cause::Tls)), Work::Ask(Request::Status {}));
    courier.work(status_answer());
    assert_eq!(courier.lead(to_the_evidence()), restored);
    let work = courier.work(Event::Answered(Answer::Event {}));
    assert_eq!(work, Work::Ask(Request::Pending { bytes: BATCH }));
    courier.lead([pending(Vec::new()), status_answer()]);
    assert_eq!(courier.lead(to_the_evidence()), Work::Ask(Request::Pending { bytes: BATCH }));
}

#[test]
fn what_the_executor_could_not_be_told_is_told_in_the_next_cycle() {
    let mut courier = courier();
    courier.lead(to_the_poll());
    courier.work(unreached(Cause::Connect));
    wait(courier.work(Event::Unanswered("restarting".to_owned())));
    courier.lead(to_the_poll());
    let work = courier.work(unreached(Cause::Connect));
    assert!(matches!(work, Work::Ask(Request::Event { .. })), "{work:?}");
}

#[test]
fn a_head_that_the_executor_does_not_accept_is_a_failure_and_evidence_goes_out_all_the_same() {
    let mut courier = courier();
    courier.lead(to_the_poll());
    courier.work(ok(&poll_answer(60)));
    let work = courier.work(Event::Answered(Answer::Feed { fresh: false, log_size: 0 }));
    assert_eq!(work, Work::Ask(Request::Pending { bytes: BATCH }));
    courier.lead([pending(Vec::new()), status_answer()]);
    let polls = courier.state().polls();
    assert_eq!(polls.last_failure.as_ref().unwrap().cause, Cause::Refused);
    assert_eq!((polls.failures, polls.last_success), (1, None));
}

#[test]
fn without_the_executor_there_is_no_poll_and_it_is_asked_again_soon() {
    let mut courier = courier();
    courier.random = u64::MAX;
    courier.work(Event::Woke);
    assert_eq!(seconds(courier.work(Event::Unanswered("away".to_owned()))), 1);
    courier.work(Event::Woke);
    assert_eq!(seconds(courier.work(Event::Unanswered("away".to_owned()))), 2);
    let polls = courier.state().polls();
    assert_eq!((polls.failures, polls.last), (2, None));
    assert_eq!(polls.last_failure.as_ref().unwrap().cause, Cause::Executor);
}

#[test]
fn an_error_or_an_answer_to_another_question_ends_the_cycle() {
    let error = || Answer::Error { detail: "the ledger is locked".to_owned() };
    for answer in [error(), Answer::Event {}, Answer::Pending { bundles: vec![bundle(1)] }] {
        let mut courier = courier();
        courier.work(Event::Woke);
        wait(courier.work(Event::Answered(answer)));
        assert_eq!(courier.state().polls().last_failure.as_ref().unwrap().cause, Cause::Executor);
    }
}

#[test]
fn the_control_planes_wish_sets_the_interval_within_bounds() {
    for (wish, waits) in [(0, 5), (90, 90), (3600, 3600), (u32::MAX, 3600)] {
        let mut courier = courier();
        courier.lead(to_the_poll());
        courier.lead([
            ok(&poll_answer(wish)),
            Event::Answered(Answer::Feed { fresh: true, log_size: 0 }),
        ]);
        let seconds = seconds(courier.lead([pending(Vec::new()), status_answer()]));
        assert!((seconds - waits).abs() <= 1, "{wish}: {seconds}");
        assert_eq!(courier.state().polls().interval, Span::from_secs(waits));
    }
}

#[test]
fn retry_after_takes_the_place_of_the_backoff_within_bounds() {
    for (wish, waits) in [(1, 5), (600, 600), (u32::MAX, 3600)] {
        let mut courier = courier();
        courier.lead(to_the_poll());
        courier.work(reply(503, Some(wish), ""));
        let seconds = seconds(courier.lead([Event::Answered(Answer::Event {}), status_answer()]));
        assert!((seconds - waits).abs() <= 1, "{wish}: {seconds}");
    }
}

#[test]
fn whether_the_executor_answers_is_known_after_each_cycle_whatever_else_fails() {
    let mut courier = courier();
    assert!(!courier.state().executor_answers(), "nothing is known yet");
    courier.lead(to_the_poll());
    courier.lead([unreached(Cause::Dns), Event::Answered(Answer::Event {}), status_answer()]);
    assert!(courier.state().executor_answers());
    courier.lead(to_the_poll());
    courier.lead([unreached(Cause::Dns), Event::Unanswered("away".to_owned())]);
    assert_eq!(courier.state().polls().last_failure.as_ref().unwrap().cause, Cause::Dns);
    assert!(!courier.state().executor_answers() && courier.state().executor().is_some());
    courier.lead(to_the_evidence());
    courier.lead([Event::Answered(Answer::Event {}), pending(Vec::new()), status_answer()]);
    assert!(courier.state().executor_answers());
    courier.lead([Event::Woke, Event::Answered(Answer::Error { detail: "no".to_owned() })]);
    assert!(!courier.state().executor_answers());
}

#[test]
fn a_demonstration_keeps_its_own_interval() {
    let mut courier = Courier::new(Span::from_millis(200));
    courier.lead(to_the_poll());
    courier
        .lead([ok(&poll_answer(60)), Event::Answered(Answer::Feed { fresh: true, log_size: 0 })]);
    let waits = wait(courier.lead([pending(Vec::new()), status_answer()]));
    assert!((180..=220).contains(&waits.as_millis()), "{waits:?}");
}

#[test]
fn only_changes_are_noted() {
    let mut courier = courier();
    let mut notes = Vec::new();
    for cause in [Cause::Dns, Cause::Dns, Cause::Tls] {
        courier.lead(to_the_poll());
        let told = courier.work(unreached(cause));
        if matches!(told, Work::Ask(Request::Event { .. })) {
            courier.work(Event::Answered(Answer::Event {}));
        }
        notes.extend(courier.take(status_answer()).into_iter().filter_map(|action| match action {
            Action::Note(note) => Some(note.map(|failure| failure.cause)),
            _ => None,
        }));
    }
    assert_eq!(notes, [Some(Cause::Dns), Some(Cause::Tls)]);
}

#[test]
fn the_process_is_ready_when_the_executor_has_answered_and_only_once() {
    let mut courier = courier();
    courier.work(Event::Woke);
    assert!(!courier.take(Event::Unanswered("away".to_owned())).contains(&Action::Ready));
    courier.work(Event::Woke);
    let answered = || Event::Answered(Answer::Ticket { ticket: ticket(TODAY) });
    assert!(courier.take(answered()).contains(&Action::Ready));
    courier.work(ok(&poll_answer(60)));
    let fed = courier.take(Event::Answered(Answer::Feed { fresh: true, log_size: 0 }));
    assert!(!fed.contains(&Action::Ready));
}

#[test]
fn asked_to_stop_while_it_sleeps_it_ends_at_once() {
    let mut courier = courier();
    courier.work(Event::Woke);
    courier.work(Event::Unanswered("away".to_owned()));
    assert_eq!(courier.take(Event::Stop), [Action::Save, Action::Exit]);
    assert_eq!(courier.state().polls().next, None);
}

#[test]
fn asked_to_stop_it_delivers_what_is_in_flight_and_begins_nothing_else() {
    let mut poll = courier();
    poll.lead(to_the_poll());
    assert_eq!(poll.take(Event::Stop), []);
    assert!(matches!(poll.work(ok(&poll_answer(60))), Work::Ask(Request::Feed { .. })));
    let ended = poll.take(Event::Answered(Answer::Feed { fresh: true, log_size: 0 }));
    assert_eq!(ended, [Action::Save, Action::Exit]);

    let mut upload = courier();
    upload.lead(to_the_evidence());
    upload.work(pending(vec![bundle(1)]));
    assert_eq!(upload.take(Event::Stop), []);
    assert!(matches!(upload.work(ok(&upload_answer(1))), Work::Ask(Request::Receipts { .. })));
    assert_eq!(upload.take(recorded(1)), [Action::Save, Action::Exit]);
}
