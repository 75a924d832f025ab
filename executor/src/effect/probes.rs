//! The probes of the appliance's owner: oneshot units that say whether what the machine is for works.

use std::time::Duration;

use compliance_checks::HostError;
use compliance_protocol::name::UnitName;

use super::activation::{ASKING, Hands, command};
use crate::activation::Health;

/// One probe ends by then.
const ONE: Duration = Duration::from_mins(1);

/// All of them together end by then.
const ALL: Duration = Duration::from_mins(3);

impl Hands<'_> {
    /// What the probes complain about: each that fails, does not end, or is not there.
    pub(super) fn probes(&self) -> Health {
        let probes = &self.switching.probes;
        let share = u32::try_from(probes.len()).ok().and_then(|count| ALL.checked_div(count));
        let limit = share.unwrap_or(ONE).min(ONE);
        let failing = probes.iter().filter(|probe| !self.passes(probe, limit));
        Health::of(failing.map(|probe| format!("probe {probe}")))
    }

    fn passes(&self, probe: &UnitName, limit: Duration) -> bool {
        let systemctl = self.switching.systemctl.to_string();
        let argv = [systemctl.as_str(), "--quiet", "start", "--", probe.as_str()];
        let Some(start) = command(&argv, limit) else { return false };
        match self.host.run(&start) {
            // One that stays active was not started: it says what was so at an earlier look.
            Ok(output) => output.code == Some(0) && self.has_ended(probe),
            Err(HostError::TimedOut { .. }) => {
                // Or else the next look would wait for this one.
                let argv =
                    [systemctl.as_str(), "--quiet", "--no-block", "stop", "--", probe.as_str()];
                let _ = self.ask_within(&argv, ASKING);
                false
            }
            Err(_) => false,
        }
    }

    fn has_ended(&self, probe: &UnitName) -> bool {
        let units = self.host.units(std::slice::from_ref(probe));
        let active = |unit: &compliance_checks::host::UnitState| {
            unit.unit == probe.as_str() && unit.active == "active"
        };
        units.is_ok_and(|units| !units.iter().any(active))
    }
}
