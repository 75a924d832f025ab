//! Who else is at the machine: somebody who switches the system, a dead-man that may, a shutdown.

use compliance_checks::{Host, HostError};
use compliance_protocol::gate::Gate;
use compliance_protocol::name::{AbsPath, Id, UnitName};

use super::lock;
use crate::activation::{nobody_switches, shutdown};

/// The unit that `nixos-rebuild` switches in.
const SWITCH: &str = "nixos-rebuild-switch-to-configuration.service";

/// The lock of the switch itself.
const LOCK: &str = "/run/nixos/switch-to-configuration.lock";

/// What a scheduled shutdown leaves.
const SCHEDULED: &str = "/run/systemd/shutdown/scheduled";

/// Looks whether nobody else is at the machine. What cannot be seen is not open.
pub fn look_around(host: &dyn Host) -> Vec<Gate> {
    vec![
        nobody_switches(is_switching(host), is_deadman_about(host, None)),
        shutdown(is_shutdown_scheduled(host)),
    ]
}

/// Whether anybody is switching the system.
pub(crate) fn is_switching(host: &dyn Host) -> Option<bool> {
    let busy = !matches!(unit(host, SWITCH)?.as_str(), "inactive" | "failed");
    Some(busy || lock::is_held(host, LOCK)?)
}

pub(super) fn is_shutdown_scheduled(host: &dyn Host) -> Option<bool> {
    let path: AbsPath = SCHEDULED.parse().ok()?;
    match host.stat(&path) {
        Ok(_) => Some(true),
        Err(HostError::NotFound(_)) => Some(false),
        Err(_) => None,
    }
}

/// Whether the dead-man of an activation, of another than `ours`, is about.
pub(super) fn is_deadman_about(host: &dyn Host, ours: Option<Id>) -> Option<bool> {
    let ours = ours.map(deadman);
    let is_other = |name: &str| {
        name.starts_with(DEADMAN) && ours.as_ref().is_none_or(|ours| !name.starts_with(ours))
    };
    let units = host.all_units().ok()?;
    Some(
        units.iter().any(|unit| {
            is_other(&unit.unit) && !matches!(unit.active.as_str(), "inactive" | "failed")
        }),
    )
}

/// The state of a unit.
pub(super) fn unit(host: &dyn Host, name: &str) -> Option<String> {
    let name: UnitName = name.parse().ok()?;
    let units = host.units(std::slice::from_ref(&name)).ok()?;
    units.into_iter().find(|unit| unit.unit == name.as_str()).map(|unit| unit.active)
}

const DEADMAN: &str = "compliance-deadman-";

/// The unit that undoes.
pub(crate) fn deadman(activation: Id) -> String {
    format!("{DEADMAN}{activation}")
}
