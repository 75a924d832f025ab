//! Which system is expected to run, before anything was activated.

use compliance_protocol::evidence::{Outcome, Trigger, TriggerKind};

use super::Engine;
use crate::evidence::Moment;
use crate::ledger::LedgerError;

impl Engine {
    /// Before any activation of our own, the system that is expected is the one the profile names at the
    /// first start.
    pub(super) fn adopt_system(&mut self, moment: Moment) -> Result<(), LedgerError> {
        let (None, Some(profile)) = (&self.expected_system, self.machine.profile.clone()) else {
            return Ok(());
        };
        let trigger = Trigger::of(TriggerKind::Boot);
        let detail = format!(
            "{profile} is expected from here on: it is the system profile at the first start"
        );
        let draft = self.draft(trigger, Outcome::Alert, "system_adopted", detail, moment);
        self.proven = self.record(moment, |tx, author| {
            tx.append(author, draft)?;
            tx.expect_system(&profile)
        })?;
        self.expected_system = Some(profile);
        Ok(())
    }
}
