//! What the agent claims about its connection.

use compliance_protocol::evidence::{Outcome, Trigger, TriggerKind};
use compliance_protocol::local::{Connectivity, ConnectivityCause};
use compliance_protocol::time::Span;

use super::Engine;
use crate::evidence::Moment;
use crate::ledger::LedgerError;

impl Engine {
    /// Records what the agent claims about its connection. Nothing follows from it, and an agent that is
    /// not ours any more can leave ten an hour at most.
    pub(super) fn note_connectivity(
        &mut self,
        connectivity: Connectivity,
        cause: ConnectivityCause,
        moment: Moment,
    ) -> Result<(), LedgerError> {
        let hour_ago = moment.reading.boottime.as_millis() - Span::from_hours(1).as_millis();
        self.events.retain(|at| at.as_millis() > hour_ago);
        if self.connectivity == Some(connectivity) || self.events.len() >= 10 {
            return Ok(());
        }
        self.connectivity = Some(connectivity);
        self.events.push_back(moment.reading.boottime);
        let (reason, detail) = match connectivity {
            Connectivity::Lost => {
                ("connectivity_lost", "the agent does not reach the control plane")
            }
            Connectivity::Restored => {
                ("connectivity_restored", "the agent reaches the control plane again")
            }
        };
        let claim = serde_json::json!({ "source": "agent", "cause": cause });
        let draft = self
            .draft(Trigger::of(TriggerKind::Event), Outcome::Alert, reason, detail, moment)
            .post(claim.as_object().cloned().unwrap_or_default());
        self.record(moment, |tx, author| tx.append(author, draft))
    }
}
