//! A NixOS machine that is kept up to date.

use compliance_checks::patching::Patching;
use compliance_checks::{Check, Host};
use compliance_protocol::name::StorePath;
use compliance_protocol::time::{Span, Timestamp};
use compliance_testkit::host::FakeHost;
use serde_json::{Value, json};

use super::{Event, Machine, START};

const MAX_AGE_D: i64 = 30;
const MAX_PENDING_D: i64 = 7;

#[derive(Clone, Copy)]
struct Generation {
    number: u64,
    made_at: Timestamp,
    kernel: u32,
}

pub(super) struct Nixos {
    now: Timestamp,
    /// From the oldest that was kept to the newest.
    generations: Vec<Generation>,
    booted: Generation,
    running: Generation,
    profile: Generation,
    expected: Generation,
}

impl Default for Nixos {
    fn default() -> Self {
        let first = Generation { number: 1, made_at: START, kernel: 1 };
        let generations = vec![first];
        Self {
            now: START,
            generations,
            booted: first,
            running: first,
            profile: first,
            expected: first,
        }
    }
}

impl Nixos {
    fn install(&mut self, kernel: u32) -> Generation {
        let number = self.generations.last().unwrap().number + 1;
        let made = Generation { number, made_at: self.now, kernel };
        self.generations.push(made);
        made
    }

    /// As an activation that was proven ends.
    fn activate(&mut self, kernel: u32) {
        let made = self.install(kernel);
        (self.running, self.profile, self.expected) = (made, made, made);
    }

    /// Since when a reboot is pending.
    fn pending_since(&self) -> Option<Timestamp> {
        let newest = self.generations.iter().rev();
        newest.take_while(|made| made.kernel != self.booted.kernel).last().map(|made| made.made_at)
    }

    /// Up to a week; what would be overdue by then is done first.
    fn let_pass(&mut self, span: Span) {
        let later = self.now.plus(span);
        let days = |since: Timestamp| later.since(since).as_millis() / 86_400_000;
        if days(self.running.made_at) >= MAX_AGE_D {
            self.activate(self.running.kernel);
        }
        if self.pending_since().is_some_and(|since| days(since) >= MAX_PENDING_D) {
            self.booted = self.running;
        }
        self.now = later;
    }
}

impl Machine for Nixos {
    const HARMS: usize = 7;

    fn check() -> impl Check {
        Patching
    }

    fn baseline() -> Value {
        json!({ "patching": { "max_age_d": MAX_AGE_D, "max_reboot_pending_d": MAX_PENDING_D } })
    }

    fn live(&mut self, event: Event) {
        match event.one_of(6) {
            0 => self.let_pass(Span::from_secs(i64::from(event.below(7 * 86_400)))),
            1 => self.let_pass(Span::from_secs(15)),
            2 => self.activate(self.running.kernel),
            3 => self.activate(event.below(3)),
            4 => self.booted = self.running,
            // Old generations are deleted, never the one that runs.
            _ => {
                let last = self.generations.len() - 1;
                self.generations.drain(..event.below(3).min(u32::try_from(last).unwrap()) as usize);
            }
        }
    }

    fn harm(&mut self, kind: usize, _: Event) {
        let other = self.running.kernel + 1;
        match kind {
            // Installed, but not activated; activated, but not installed; both, but by nobody's order.
            0 => self.profile = self.install(other),
            1 => self.running = Generation { number: 1000, made_at: self.now, kernel: other },
            2 => {
                let expected = self.expected;
                self.activate(other);
                self.expected = expected;
            }
            3 => {
                self.now = self.running.made_at.plus(Span::from_millis(MAX_AGE_D * 86_400_000 + 1));
            }
            4 => {
                self.booted = Generation { kernel: other, ..self.booted };
                let span = Span::from_millis(MAX_PENDING_D * 86_400_000 + 1);
                self.now = self.now.max(self.pending_since().unwrap().plus(span));
            }
            5 => self.expected = Generation { number: 1000, ..self.expected },
            _ => self.now = self.running.made_at.plus(Span::from_secs(-301)),
        }
    }

    fn show(&self, look: &mut dyn FnMut(&dyn Host)) {
        let host = FakeHost::default();
        let all = self.generations.iter().chain([&self.booted, &self.running]);
        for made in all {
            let system = closure(*made);
            for part in ["kernel", "initrd", "kernel-modules"] {
                let store = format!("/nix/store/{:032}-{part}", made.kernel);
                host.link(&format!("{system}/{part}"), &store, made.made_at);
            }
            host.write(&format!("{system}/kernel-params"), "loglevel=4");
        }
        for made in &self.generations {
            let link = format!("/nix/var/nix/profiles/system-{}-link", made.number);
            host.link(&link, &closure(*made), made.made_at);
        }
        let profile = format!("system-{}-link", self.profile.number);
        host.link("/nix/var/nix/profiles/system", &profile, self.profile.made_at);
        host.link("/run/current-system", &closure(self.running), self.running.made_at);
        host.link("/run/booted-system", &closure(self.booted), self.booted.made_at);
        look(&host);
    }

    fn now(&self) -> Timestamp {
        self.now
    }

    fn expected_system(&self) -> Option<StorePath> {
        Some(closure(self.expected).parse().unwrap())
    }
}

fn closure(made: Generation) -> String {
    format!("/nix/store/{:032}-nixos-system-clinic-{}", made.number, made.kernel)
}
