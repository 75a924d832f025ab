//! What the executor says about itself.

use compliance_protocol::gate::{Gate, GateState};
use compliance_protocol::status::{Status, WaitingOrder};

use super::Engine;
use crate::evidence::Moment;
use crate::gates;
use crate::ledger::{Fact, LedgerError};

impl Engine {
    pub(super) fn status(&self, moment: Moment) -> Result<Status, LedgerError> {
        let doing = self.doing_title();
        let gates = vec![
            gates::clock(moment.now),
            gates::busy(doing.as_deref()),
            gates::pause(self.ledger.fact(Fact::PauseUntil)?, moment.stamp()),
            gates::window(&self.windows, moment.now),
            gates::space(self.disk_full),
        ];
        let waiting = self.waiting()?;
        Ok(Status {
            at: moment.stamp(),
            tenant: self.author.tenant.clone(),
            site: self.author.site.clone(),
            epoch: self.author.epoch,
            mode: self.author.mode,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            clock: moment.clock(),
            checks: self.board.clone(),
            why_not_now: self.why_not_now(&waiting, &gates),
            gates,
            waiting,
            pending_bundles: self.ledger.pending_count()?,
            evidence_head: self.ledger.evidence_head()?,
            last_head_at: self.head.map(|mark| mark.issued_at),
            doing: self.under_way(),
            activation: self.activation_status(moment),
        })
    }

    fn waiting(&self) -> Result<Vec<WaitingOrder>, LedgerError> {
        let rows = self.ledger.open_orders()?.into_iter().filter(|row| !row.started);
        Ok(rows
            .map(|row| WaitingOrder {
                id: row.id,
                sequence: row.sequence,
                action: self.action_name(&row.envelope),
                reason: row.hold.unwrap_or_else(|| "first_look".to_owned()),
                retry_after: row.retry_after,
            })
            .collect())
    }

    fn action_name(&self, envelope: &[u8]) -> String {
        crate::admit::identify(envelope, &self.trust)
            .map(|order| order.header().action.name.clone())
            .unwrap_or_default()
    }

    /// One sentence for each thing that should be done and is not.
    fn why_not_now(&self, waiting: &[WaitingOrder], gates: &[Gate]) -> Vec<String> {
        let closed: Vec<_> = gates.iter().filter(|gate| gate.state != GateState::Open).collect();
        let why = closed.iter().map(|gate| gate.why.as_str()).collect::<Vec<_>>().join("; ");
        let orders = waiting.iter().map(|order| {
            format!("order {} ({}) waits, {}: {why}", order.sequence, order.action, order.reason)
        });
        let unbound = self.baseline.as_ref().err();
        let nothing = unbound.map(|why| format!("nothing is checked or healed: {why}"));
        nothing.into_iter().chain(orders).collect()
    }
}
