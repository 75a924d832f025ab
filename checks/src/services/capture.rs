//! The units of this host that are worth watching.

use compliance_protocol::evidence::Finding;
use compliance_protocol::name::{AbsPath, UnitName};

use super::{CriticalUnit, Failed, ServicesBaseline};
use crate::capture::Captured;
use crate::host::UnitState;
use crate::{Host, HostError};

/// The services that run now, or are up after having run, as a person may want them.
pub fn capture(host: &dyn Host) -> Captured<ServicesBaseline> {
    let all = match host.all_units() {
        Ok(all) => all,
        Err(error) => return Captured::nothing(&error),
    };
    let mut units: Vec<_> = all.iter().filter_map(|unit| worth_watching(host, unit)).collect();
    units.sort();
    let expected = if units.is_empty() {
        Err("systemd runs no service that is worth watching".to_owned())
    } else {
        Ok(ServicesBaseline::new(units.into_iter().map(CriticalUnit::new).collect()))
    };
    let failed = Failed::of(host, &all, |_| false);
    let remark = |failed: Finding| {
        let Finding { subject, actual, .. } = failed;
        format!("{subject}: {actual} right now. Repair it, or name it in ignore_failed")
    };
    Captured { expected, remarks: failed.findings().map(remark).collect() }
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
