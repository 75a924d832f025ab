//! The units of this host that are worth watching.

use compliance_protocol::name::{AbsPath, UnitName};

use super::{CriticalUnit, ServicesBaseline};
use crate::host::UnitState;
use crate::{Host, HostError};

/// The services that run now, or are up after having run, as a person may want them; for review.
pub fn capture(host: &dyn Host) -> Result<ServicesBaseline, String> {
    let mut units: Vec<_> = host
        .all_units()
        .map_err(|error| error.to_string())?
        .iter()
        .filter_map(|unit| worth_watching(host, unit))
        .collect();
    units.sort();
    if units.is_empty() {
        return Err("systemd runs no service that is worth watching".to_owned());
    }
    Ok(ServicesBaseline::new(units.into_iter().map(CriticalUnit::new).collect()))
}

/// These come and go with what asks for them.
const ON_DEMAND: [&str; 7] = [
    "systemd-hostnamed.service",
    "systemd-localed.service",
    "systemd-timedated.service",
    "systemd-importd.service",
    "systemd-portabled.service",
    "packagekit.service",
    "fwupd.service",
];

/// What starts so only prepares the boot, and then stays up with nothing in it.
const BOOT: [&str; 5] = ["systemd-", "initrd-", "kmod-", "modprobe", "ldconfig"];

fn worth_watching(host: &dyn Host, unit: &UnitState) -> Option<UnitName> {
    let name: UnitName = unit.unit.parse().ok()?;
    let of_boot = unit.sub == "exited" && BOOT.iter().any(|prefix| unit.unit.starts_with(prefix));
    let wanted = unit.unit.ends_with(".service")
        && unit.load == "loaded"
        && unit.active == "active"
        && !unit.unit.contains('@')
        && !ON_DEMAND.contains(&name.as_str())
        && !of_boot;
    let transient: AbsPath = format!("/run/systemd/transient/{name}").parse().ok()?;
    let configured = || matches!(host.stat(&transient), Err(HostError::NotFound(_)));
    (wanted && configured()).then_some(name)
}
