//! Evidence that was kept long enough leaves the ledger, a few hundred bundles at a time, and that is evidence.

use compliance_protocol::clock::{ClockSource, TrustedNow};
use compliance_protocol::evidence::{Outcome, Pruned, Trigger, TriggerKind};
use compliance_protocol::time::Span;

use super::{Engine, after};
use crate::evidence::Moment;
use crate::ledger::LedgerError;
use crate::retention::cutoff;

/// So many bundles at most are pruned at once.
const BATCH: u64 = 500;

/// How soon there may be more, when there was more than that.
const MORE: Span = Span::from_hours(1);

/// How often it is looked otherwise: each time that something is pruned makes a bundle.
const DAILY: Span = Span::from_hours(24);

impl Engine {
    /// Prunes, if it is time to look. The control plane's word about the time is not enough for it: an owner could
    /// have all appliances forget. Nor is anything pruned while an order is open or anything under way.
    pub(super) fn prune(&mut self, moment: Moment) -> Result<(), LedgerError> {
        let TrustedNow::Known { at, source: ClockSource::Kernel } = moment.now else {
            return Ok(());
        };
        let boottime = moment.reading.boottime;
        if boottime < self.next_pruning || self.disk_full || !self.ledger.is_quiet()? {
            return Ok(());
        }
        let prefix = self.ledger.to_prune(cutoff(self.retention_days, at), BATCH)?;
        let was_full = prefix.as_ref().is_some_and(|prefix| prefix.count() >= BATCH);
        if let Some(prefix) = prefix {
            let pruned = Pruned {
                ledger_id: prefix.chain,
                first: prefix.first,
                last: prefix.last,
                count: prefix.count(),
                last_sha256: prefix.last_sha256,
                retention_days: self.retention_days,
            };
            let Pruned { first, last, ledger_id, retention_days, .. } = &pruned;
            let detail = format!(
                "bundles {first} to {last} of chain {ledger_id} were kept for over {retention_days} days, and each has its receipt: they are no longer on the appliance"
            );
            let trigger = Trigger::of(TriggerKind::Schedule);
            let draft = self
                .draft(trigger, Outcome::Success, Pruned::REASON, detail, moment)
                .post(pruned.facts());
            self.record(moment, |tx, author| {
                tx.prune(&prefix)?;
                tx.append(author, draft)
            })?;
        }
        self.next_pruning = after(boottime, if was_full { MORE } else { DAILY });
        Ok(())
    }
}
