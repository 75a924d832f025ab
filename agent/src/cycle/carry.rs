//! What is carried, turned from one side's form into the other's. Nothing is judged here but the form.

use compliance_protocol::bytes::Bytes;
use compliance_protocol::evidence::SignedBundle;
use compliance_protocol::feed::Ticket;
use compliance_protocol::local::Request;
use compliance_protocol::wire::{PollAnswer, Problem, Upload, UploadAnswer};
use serde_json::value::RawValue;

use super::{Call, Reply};
use crate::report::{Cause, Failure};

/// The poll that a ticket permits.
pub(super) fn poll(ticket: &Ticket) -> Call {
    let Ticket { nonce, after, log_size, pending, .. } = ticket;
    let path =
        format!("/api/v1/orders?after={after}&nonce={nonce}&log={log_size}&pending={pending}");
    Call { path, body: None }
}

/// The upload of `bundles`, asking for proofs from the log's size in the ticket.
pub(super) fn upload(log_size: u64, bundles: Vec<SignedBundle>) -> Result<Call, Failure> {
    let body = serde_json::to_vec(&Upload { bundles }).map_err(|error| {
        Failure::new(Cause::Executor, &format!("evidence has no JSON form: {error}"))
    })?;
    Ok(Call { path: format!("/api/v1/evidence?log={log_size}"), body: Some(body) })
}

/// The answer to a poll as it is handed to the executor, and the control plane's wish for the next one.
pub(super) fn feed(reply: &Reply) -> Result<(Request, u32), Failure> {
    let answer: PollAnswer = read(reply)?;
    // The very bytes that came: what was signed must not be written anew.
    let raw = |json: &RawValue| Bytes::from(json.get().as_bytes().to_vec());
    let request = Request::Feed {
        head: raw(&answer.feed),
        orders: answer.orders.iter().map(|order| raw(order)).collect(),
        checkpoint: answer.checkpoint,
        consistency: answer.consistency,
    };
    Ok((request, answer.poll_after_s))
}

/// The answer to an upload as it is handed to the executor.
pub(super) fn receipts(reply: &Reply) -> Result<Request, Failure> {
    let UploadAnswer { results, checkpoint, consistency } = read(reply)?;
    Ok(Request::Receipts { results, checkpoint, consistency })
}

fn read<'a, T: serde::Deserialize<'a>>(reply: &'a Reply) -> Result<T, Failure> {
    if reply.status != 200 {
        let detail = match serde_json::from_slice::<Problem>(&reply.body) {
            Ok(problem) => {
                format!("the control plane answered {}: {}", reply.status, problem.detail)
            }
            Err(_) => format!("the control plane answered {}", reply.status),
        };
        return Err(Failure::new(Cause::Server, &detail));
    }
    serde_json::from_slice(&reply.body).map_err(|error| {
        let detail =
            format!("the control plane's answer is not in the form of this protocol: {error}");
        Failure::new(Cause::Server, &detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply { status, retry_after: None, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn orders_are_handed_in_as_the_very_bytes_that_came() {
        let odd = r#"{ "z":1,"a" : "\u0041","a":2,  "unknown": [1.0] }"#;
        let body = format!(
            r#"{{"feed":{odd},"orders":[{odd},"no order",null],"checkpoint":"c","consistency":[],"poll_after_s":7}}"#
        );
        let (request, poll_after) = feed(&reply(200, &body)).unwrap();
        let Request::Feed { head, orders, .. } = request else { panic!("{request:?}") };
        assert_eq!(head.as_slice(), odd.as_bytes());
        let orders: Vec<_> = orders.iter().map(Bytes::as_slice).collect();
        assert_eq!(orders, [odd.as_bytes(), b"\"no order\"", b"null"]);
        assert_eq!(poll_after, 7);
    }

    #[test]
    fn an_error_is_told_with_the_detail_that_the_server_gives() {
        let problem =
            r#"{"type":"about:blank","title":"x","status":503,"detail":"the store is full"}"#;
        let failure = feed(&reply(503, problem)).unwrap_err();
        assert_eq!(failure.cause, Cause::Server);
        assert_eq!(failure.detail, "the control plane answered 503: the store is full");
        assert_eq!(
            receipts(&reply(500, "<html>")).unwrap_err().detail,
            "the control plane answered 500"
        );
    }

    #[test]
    fn what_is_not_in_the_form_of_the_protocol_is_a_failure_of_the_server() {
        for body in ["", "{}", "[]", "null", r#"{"feed":1}"#] {
            assert_eq!(feed(&reply(200, body)).unwrap_err().cause, Cause::Server, "{body}");
            assert_eq!(receipts(&reply(200, body)).unwrap_err().cause, Cause::Server, "{body}");
        }
    }
}
