//! Failed units that the baseline does not name, and what may be said of them.

use std::collections::BTreeMap;

use compliance_protocol::evidence::Finding;
use compliance_protocol::name::{AbsPath, UnitName};

use crate::host::UnitState;
use crate::{Host, HostError};

/// Failed units by what is said of them, with their number.
///
/// A unit of the system's configuration is said by its name. What a person or a program made up at run
/// time is not, as it may hold anything: the instance of a template, a transient unit, and the kinds of
/// unit that systemd names after paths, devices and sessions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failed(BTreeMap<String, usize>);

impl Failed {
    /// The failed ones of `units` but those that `expected` covers.
    pub(super) fn of(
        host: &dyn Host,
        units: &[UnitState],
        expected: impl Fn(&str) -> bool,
    ) -> Self {
        let mut failed = BTreeMap::new();
        let foreign = units.iter().filter(|unit| unit.active == "failed" && !expected(&unit.unit));
        for unit in foreign {
            let count: &mut usize = failed.entry(said(host, &unit.unit)).or_default();
            *count = count.saturating_add(1);
        }
        Self(failed)
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.values().sum()
    }

    /// One finding for each name, and one for all beyond [`MOST`].
    pub(super) fn findings(&self) -> impl Iterator<Item = Finding> {
        let named = self.0.iter().take(MOST).map(|(name, count)| finding(name, *count));
        let more: usize = self.0.values().skip(MOST).sum();
        named.chain((more > 0).then(|| finding("further units", more)))
    }
}

/// The most names in findings.
const MOST: usize = 16;

/// `name@.suffix` of the instance `name@anything.suffix`.
pub(super) fn template(unit: &str) -> Option<String> {
    let (name, rest) = unit.split_once('@')?;
    let (_, suffix) = rest.rsplit_once('.')?;
    Some(format!("{name}@.{suffix}"))
}

fn finding(subject: &str, count: usize) -> Finding {
    let actual = if count == 1 { "failed".to_owned() } else { format!("{count} failed") };
    Finding { subject: subject.to_owned(), expected: "not failed".to_owned(), actual }
}

/// What may be said of a unit that the baseline does not name; see [`Failed`].
pub fn said(host: &dyn Host, unit: &str) -> String {
    let kind = unit.rsplit_once('.').map_or("", |(_, kind)| kind);
    if !matches!(kind, "service" | "socket" | "timer" | "path" | "target") {
        return match kind {
            "mount" | "automount" | "swap" | "device" | "scope" | "slice" => {
                format!("a {kind} unit")
            }
            _ => "a unit".to_owned(),
        };
    }
    let transient: Option<AbsPath> = format!("/run/systemd/transient/{unit}").parse().ok();
    let is_configured =
        transient.is_some_and(|path| matches!(host.stat(&path), Err(HostError::NotFound(_))));
    let name: Option<UnitName> = template(unit).unwrap_or_else(|| unit.to_owned()).parse().ok();
    match name {
        Some(name) if is_configured => name.to_string(),
        _ => format!("a transient {kind} unit"),
    }
}
