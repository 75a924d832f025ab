//! What was seen of units in earlier rounds.

use std::collections::{BTreeMap, VecDeque};

use compliance_protocol::name::UnitName;
use compliance_protocol::time::Span;

use crate::host::UnitState;

/// What was seen of some units, in times of `CLOCK_BOOTTIME`. It begins empty when the executor starts:
/// what was before that is not known, and not held against a unit.
#[derive(Debug, Default)]
pub struct Watch(BTreeMap<UnitName, Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// Since when it has been seen starting or stopping.
    busy_since: Option<Span>,
    /// When the number of automatic restarts was seen to have changed, and to what; the first is the number at
    /// the start of the time that is looked at.
    restarts: VecDeque<(Span, u32)>,
}

impl Watch {
    /// Takes in the states at `uptime` of the units `names`, and forgets all others.
    pub(crate) fn see(
        &mut self,
        names: &[UnitName],
        units: &[UnitState],
        uptime: Span,
        window: Span,
    ) {
        self.0.retain(|name, _| names.contains(name));
        for name in names {
            if let Some(unit) = units.iter().find(|unit| unit.unit == name.as_str()) {
                self.0.entry(name.clone()).or_default().see(unit, uptime, window);
            }
        }
    }

    /// How long `unit` has been seen starting or stopping.
    pub(crate) fn busy_for(&self, unit: &UnitName, uptime: Span) -> Span {
        let since = self.0.get(unit).and_then(|seen| seen.busy_since);
        since.map_or(Span::ZERO, |since| span(since, uptime))
    }

    /// How often `unit` was restarted automatically within the window.
    pub(super) fn restarts(&self, unit: &UnitName) -> u32 {
        let ends =
            self.0.get(unit).and_then(|seen| seen.restarts.front().zip(seen.restarts.back()));
        ends.map_or(0, |((_, first), (_, last))| last.saturating_sub(*first))
    }
}

/// The most changes that are kept of one unit.
const MOST: usize = 1000;

impl Seen {
    fn see(&mut self, unit: &UnitState, uptime: Span, window: Span) {
        self.busy_since = is_busy(unit).then(|| self.busy_since.unwrap_or(uptime));
        let last = self.restarts.back().map(|(_, restarts)| *restarts);
        // A start by hand sets the number back to zero.
        if last.is_some_and(|last| unit.restarts < last) {
            self.restarts.clear();
        }
        if last != Some(unit.restarts) {
            self.restarts.push_back((uptime, unit.restarts));
        }
        let old = |at: &(Span, u32)| span(at.0, uptime) >= window;
        while self.restarts.get(1).is_some_and(old) || self.restarts.len() > MOST {
            self.restarts.pop_front();
        }
    }
}

/// Whether a unit is on its way from one state to another, or waits for its turn.
pub(super) fn is_busy(unit: &UnitState) -> bool {
    match &*unit.active {
        "activating" | "deactivating" => true,
        "inactive" | "failed" => matches!(&*unit.job, "start" | "restart"),
        _ => false,
    }
}

fn span(from: Span, to: Span) -> Span {
    Span::from_millis(to.as_millis().saturating_sub(from.as_millis()))
}
