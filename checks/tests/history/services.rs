//! Critical units that restart now and then, a oneshot, and others that come and go.

use compliance_checks::host::UnitState;
use compliance_checks::services::Services;
use compliance_checks::{Check, Host};
use compliance_protocol::time::Span;
use compliance_testkit::host::{FakeHost, unit};
use serde_json::{Value, json};

use super::{Event, Machine};

const CRITICAL: [&str; 2] = ["frontdesk.service", "records.service"];
const ONESHOT: &str = "import.service";

pub(super) struct Units {
    uptime: Span,
    critical: [UnitState; 2],
    oneshot: UnitState,
    /// When a critical unit was restarted automatically.
    restarted: Vec<(usize, Span)>,
    others: Vec<UnitState>,
}

impl Default for Units {
    fn default() -> Self {
        let critical = CRITICAL.map(|name| unit(name, "loaded", "active", "running"));
        let mut oneshot = unit(ONESHOT, "loaded", "inactive", "dead");
        oneshot.kind = "oneshot".to_owned();
        let (restarted, others) = (Vec::new(), Vec::new());
        Self { uptime: Span::from_hours(1), critical, oneshot, restarted, others }
    }
}

impl Units {
    fn let_pass(&mut self, seconds: i64) {
        self.uptime = Span::from_millis(self.uptime.as_millis() + seconds * 1000);
    }

    /// Twice in eleven minutes; three times in ten would be too often.
    fn may_restart(&self, which: usize) -> bool {
        let lately = |at: &Span| self.uptime.as_millis() - at.as_millis() < 11 * 60_000;
        self.restarted.iter().filter(|(unit, at)| *unit == which && lately(at)).count() < 2
    }
}

impl Machine for Units {
    const HARMS: usize = 9;
    const KNOWN_AFTER: usize = 4;

    fn check() -> impl Check {
        Services::default()
    }

    fn baseline() -> Value {
        let units = [CRITICAL[0], CRITICAL[1], ONESHOT].map(|unit| json!({ "unit": unit }));
        let ignored = ["scan.service", "job@.service"];
        json!({ "services": { "units": units, "ignore_failed": ignored } })
    }

    fn live(&mut self, event: Event) {
        let which = usize::from(event.kind >> 7);
        let restarts = self.critical[which].restarts;
        match event.one_of(8) {
            0 => self.let_pass(15),
            1 => self.let_pass(i64::from(event.below(100_000))),
            2 if self.may_restart(which) => {
                self.restarted.push((which, self.uptime));
                self.critical[which].restarts = restarts + 1;
            }
            // By hand, which starts the count anew.
            3 => self.critical[which].restarts = 0,
            4 => {
                self.critical[which].active =
                    ["active", "reloading"][event.below(2) as usize].to_owned();
            }
            5 => {
                let (active, sub) =
                    [("inactive", "dead"), ("activating", "start")][event.below(2) as usize];
                (self.oneshot.active, self.oneshot.sub) = (active.to_owned(), sub.to_owned());
            }
            6 => {
                let (name, active) = [
                    ("job@7.service", "failed"),
                    ("scan.service", "failed"),
                    ("guest.service", "inactive"),
                    ("session-3.scope", "active"),
                ][event.below(4) as usize];
                self.others.push(unit(name, "loaded", active, active));
            }
            _ => self.others.clear(),
        }
        // A run of the oneshot ends before long.
        if event.one_of(8) < 2 {
            (self.oneshot.active, self.oneshot.sub) = ("inactive".to_owned(), "dead".to_owned());
        }
    }

    fn harm(&mut self, kind: usize, event: Event) {
        let unit_ = &mut self.critical[usize::from(event.kind >> 7)];
        let mut set = |load: &str, active: &str, sub: &str, result: &str| {
            unit_.load = load.to_owned();
            unit_.active = active.to_owned();
            unit_.sub = sub.to_owned();
            unit_.result = result.to_owned();
        };
        match kind {
            0 => set("loaded", "failed", "failed", "exit-code"),
            1 => set("loaded", "inactive", "dead", "success"),
            2 => set("not-found", "inactive", "dead", ""),
            3 => set("masked", "inactive", "dead", ""),
            4 => set("loaded", "activating", "start", "success"),
            5 => set("loaded", "deactivating", "stop-sigterm", "success"),
            6 => unit_.restarts += 1,
            7 => {
                let failed = ["other.service", "data.mount", "x@1.timer"][event.below(3) as usize];
                self.others.push(unit(failed, "loaded", "failed", "failed"));
            }
            _ => {
                (self.oneshot.active, self.oneshot.result) =
                    ("failed".to_owned(), "exit-code".to_owned());
            }
        }
    }

    fn suffer(&mut self, kind: usize) {
        self.let_pass(100);
        if kind == 6 {
            self.critical.iter_mut().for_each(|unit| unit.restarts += 1);
        }
    }

    fn show(&self, look: &mut dyn FnMut(&dyn Host)) {
        let host = FakeHost::default();
        let units = self.critical.iter().chain([&self.oneshot]).chain(&self.others);
        host.set_units(Ok(units.cloned().collect()));
        look(&host);
    }

    fn uptime(&self) -> Span {
        self.uptime
    }
}
