//! A journal that is mostly prompt.

#[path = "../journald/mod.rs"]
#[allow(dead_code)] // Its own tests use the rest.
mod journald;

use compliance_checks::logging::Logging;
use compliance_checks::{Check, Host};
use compliance_protocol::time::Span;
use compliance_testkit::host::unit;
use journald::State;
use serde_json::{Value, json};

use super::{Event, Machine};

const FORWARDER: &str = "forwarder.service";

pub(super) struct Journal {
    uptime: Span,
    machine: journald::Machine,
}

impl Default for Journal {
    fn default() -> Self {
        let journal = Self { uptime: Span::from_hours(1), machine: journald::Machine::default() };
        journal.forwarder("active", "running");
        journal
    }
}

impl Journal {
    fn let_pass(&mut self, seconds: i64) {
        self.uptime = Span::from_millis(self.uptime.as_millis() + seconds * 1000);
    }

    fn forwarder(&self, active: &str, sub: &str) {
        self.machine.fake.set_units(Ok(vec![unit(FORWARDER, "loaded", active, sub)]));
    }
}

impl Machine for Journal {
    const HARMS: usize = 7;
    const KNOWN_AFTER: usize = 16;

    fn check() -> impl Check {
        Logging::default()
    }

    fn baseline() -> Value {
        json!({ "logging": { "forwarders": [FORWARDER] } })
    }

    fn live(&mut self, event: Event) {
        match event.one_of(6) {
            0 => self.let_pass(15),
            // Asleep for a while, perhaps.
            1 => self.let_pass(i64::from(event.below(100_000))),
            2 => self.let_pass(i64::from(event.below(400))),
            3 => self.machine.set(State::Late),
            4 => self.machine.set(State::Works),
            _ => self.forwarder(["active", "reloading"][event.below(2) as usize], "running"),
        }
    }

    fn harm(&mut self, kind: usize, _: Event) {
        let folder = "/var/log/journal/0123456789abcdef0123456789abcdef/system.journal";
        match kind {
            0 => self.machine.set(State::Drops),
            1 => self.machine.set(State::Gone),
            2 => self.machine.set(State::Volatile),
            3 => self.machine.fake.remove(folder),
            4 => self.forwarder("failed", "failed"),
            5 => self.forwarder("inactive", "dead"),
            _ => self.machine.fake.set_synchronised(false),
        }
    }

    fn suffer(&mut self, _: usize) {
        self.let_pass(100);
    }

    fn show(&self, look: &mut dyn FnMut(&dyn Host)) {
        look(&self.machine);
    }

    fn uptime(&self) -> Span {
        self.uptime
    }
}
