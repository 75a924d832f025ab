//! What a ticketing system would do: read alerts, open a ticket for each, and acknowledge it then.

use std::io::{self, Write};
use std::pin::{Pin, pin};

use async_nats::jetstream::{AckKind, Message};
use compliance_daemon::systemd;
use futures_util::StreamExt as _;
use serde::Deserialize;

use crate::backoff::Backoff;
use crate::broker::{Broker, BrokerError};
use crate::config::Nats;

/// The name under which the broker knows how far alerts were read.
const CONSUMER: &str = "tickets";

/// Why no further ticket is printed.
#[derive(Debug, thiserror::Error)]
pub enum TicketError {
    /// The broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// Nobody reads what is printed.
    #[error("a ticket cannot be printed: {0}")]
    Output(#[from] io::Error),
}

/// Prints a line for each alert, until `stop` is over.
pub async fn run(
    nats: &Nats,
    output: &mut impl Write,
    stop: impl Future<Output = ()>,
) -> Result<(), io::Error> {
    let mut backoff = Backoff::default();
    let mut stop = pin!(stop);
    systemd::ready();
    loop {
        match session(nats, output, &mut backoff, stop.as_mut()).await {
            Ok(()) => return Ok(()),
            Err(TicketError::Output(error)) => return Err(error),
            Err(error) => tracing::warn!(%error, "alerts wait at the broker"),
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.after_failure()) => {}
            () = stop.as_mut() => return Ok(()),
        }
    }
}

async fn session(
    nats: &Nats,
    output: &mut impl Write,
    backoff: &mut Backoff,
    mut stop: Pin<&mut impl Future<Output = ()>>,
) -> Result<(), TicketError> {
    let failed = |error: &dyn std::error::Error| BrokerError::Consume(error.to_string());
    let broker = tokio::select! {
        broker = Broker::open(nats) => broker?,
        () = stop.as_mut() => return Ok(()),
    };
    let consumer = broker.alerts(CONSUMER).await?;
    let mut alerts = consumer.messages().await.map_err(|error| failed(&error))?;
    loop {
        let alert = tokio::select! {
            alert = alerts.next() => alert,
            () = stop.as_mut() => return Ok(()),
        };
        let alert = alert.ok_or_else(|| BrokerError::Consume("the broker went away".to_owned()))?;
        let alert = alert.map_err(|error| failed(&error))?;
        let done = print(&alert, output)?;
        alert.ack_with(done).await.map_err(|error| failed(error.as_ref()))?;
        *backoff = Backoff::default();
    }
}

/// Prints the ticket; what is none is said and not asked for again.
fn print(alert: &Message, output: &mut impl Write) -> io::Result<AckKind> {
    let Some(ticket) = ticket(&alert.payload) else {
        tracing::warn!(subject = %alert.subject, "this is no alert");
        return Ok(AckKind::Term);
    };
    writeln!(output, "{ticket}")?;
    output.flush()?;
    Ok(AckKind::Ack)
}

#[derive(Deserialize)]
struct Alert {
    message_id: String,
    tenant: String,
    site: String,
    check: Option<String>,
    outcome: String,
    reason: String,
    detail: String,
    finished_at: String,
}

/// An alert as one line. Its end is the key by which a ticketing system knows that it has this ticket.
fn ticket(payload: &[u8]) -> Option<String> {
    let alert: Alert = serde_json::from_slice(payload).ok()?;
    let Alert { message_id, tenant, site, outcome, reason, detail, finished_at, .. } = &alert;
    let check = alert.check.as_deref().unwrap_or("appliance");
    let line = format!(
        "TICKET {finished_at} {tenant}/{site} {check} {outcome} {reason}: {detail} [{message_id}]"
    );
    // Whoever may publish at the broker may write anything; a terminal must not act on it.
    Some(line.chars().map(|c| if is_visible(c) { c } else { '\u{fffd}' }).collect())
}

fn is_visible(c: char) -> bool {
    !c.is_control()
        && !('\u{202a}'..='\u{202e}').contains(&c)
        && !('\u{2066}'..='\u{2069}').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(detail: &str) -> Vec<u8> {
        serde_json::to_vec(&serde_json::json!({
            "event": 7, "kind": "alert", "message_id": "ab12", "tenant": "acme", "site": "clinic-042",
            "check": "services", "outcome": "failed", "reason": "restart_failed", "detail": detail,
            "finished_at": "2026-11-30T03:00:00.000Z", "sha256": "cd",
        }))
        .unwrap()
    }

    #[test]
    fn a_ticket_is_one_line_with_its_key() {
        assert_eq!(
            ticket(&alert("nginx.service did not stay up")).unwrap(),
            "TICKET 2026-11-30T03:00:00.000Z acme/clinic-042 services failed restart_failed: \
             nginx.service did not stay up [ab12]"
        );
    }

    #[test]
    fn nothing_that_was_published_moves_the_terminal() {
        let line = ticket(&alert("a\nTICKET\u{1b}[2J\u{202e}b")).unwrap();
        assert!(line.contains("a\u{fffd}TICKET\u{fffd}[2J\u{fffd}b"), "{line}");
        assert!(ticket(b"{}").is_none() && ticket(b"x").is_none());
    }
}
