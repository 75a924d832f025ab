//! How this host logs now.

use super::{LoggingBaseline, keeps_on_disk};
use crate::Host;
use crate::capture::Captured;

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

/// What is true now, and the usual limits.
pub fn capture(host: &dyn Host) -> Captured<LoggingBaseline> {
    let (units, persistent) = match (host.all_units(), keeps_on_disk(host)) {
        (Ok(units), Ok(persistent)) => (units, persistent),
        (Err(error), _) | (_, Err(error)) => return Captured::nothing(&error),
    };
    let is_active =
        |name: &str| units.iter().any(|unit| unit.unit == name && unit.active == "active");
    let forwarders = FORWARDERS.into_iter().filter(|name| is_active(name));
    let expected = LoggingBaseline {
        persistent,
        clock_synchronised: host.clock_synchronised(),
        forwarders: forwarders.filter_map(|name| name.parse().ok()).collect(),
        ..LoggingBaseline::default()
    };
    Captured { remarks: remarks(&expected), expected: Ok(expected) }
}

fn remarks(captured: &LoggingBaseline) -> Vec<String> {
    let LoggingBaseline { persistent, clock_synchronised, forwarders, .. } = captured;
    [
        (!persistent).then_some(
            "the journal is kept in memory only and is lost with each boot. Keep it on disk, then say \
             persistent = true",
        ),
        (!clock_synchronised).then_some(
            "the clock is not synchronised, so no entry's time is certain. Unless the hypervisor sets \
             it: synchronise it, then say clock_synchronised = true",
        ),
        forwarders.is_empty().then_some(
            "nothing that is known here forwards the journal: who owns this machine can delete what it \
             recorded",
        ),
    ]
    .into_iter()
    .flatten()
    .map(str::to_owned)
    .collect()
}
