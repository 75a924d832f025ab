//! How this host logs now.

use super::{LoggingBaseline, keeps_on_disk};
use crate::Host;

/// Programs that carry the journal elsewhere.
const FORWARDERS: [&str; 9] = [
    "alloy.service",
    "fluent-bit.service",
    "opentelemetry-collector.service",
    "promtail.service",
    "rsyslog.service",
    "syslog-ng.service",
    "syslog.service",
    "systemd-journal-upload.service",
    "vector.service",
];

/// What is true now, and the usual limits; for review.
pub fn capture(host: &dyn Host) -> Result<LoggingBaseline, String> {
    let units = host.all_units().map_err(|error| error.to_string())?;
    let is_active =
        |name: &str| units.iter().any(|unit| unit.unit == name && unit.active == "active");
    let forwarders = FORWARDERS.into_iter().filter(|name| is_active(name));
    Ok(LoggingBaseline {
        persistent: keeps_on_disk(host).map_err(|error| error.to_string())?,
        clock_synchronised: host.clock_synchronised(),
        forwarders: forwarders.filter_map(|name| name.parse().ok()).collect(),
        ..LoggingBaseline::default()
    })
}
