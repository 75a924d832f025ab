//! What a new system says it would do, and how it can be changed to.

use std::time::Duration;

use compliance_checks::HostError;
use compliance_protocol::name::AbsPath;
use serde_json::{Map, Value};

use super::activation::{Hands, command};
use crate::activation::{Changes, Class, Plan};
use crate::guard::UNIT as GUARD;

/// `check` and `dry-activate` end by then.
const ASKING: Duration = Duration::from_mins(5);

/// The most that is read of a file.
const READ: usize = 1024 * 1024;

/// What must be the same for a system to be switched to without a boot: as links, and as contents.
const LINKS: [&str; 3] = ["kernel", "initrd", "kernel-modules"];
const CONTENTS: [&str; 2] = ["kernel-params", "init-interface-version"];

impl Hands<'_> {
    pub(super) fn plan(&mut self) -> Plan {
        let system = self.activation.target.system.to_string();
        let cannot = |reason, detail: String| Plan::Cannot { reason, detail };
        for (name, reason) in [
            ("nixos-version", "not_a_system"),
            ("etc/systemd/system/compliance-executor.service", "no_executor_inside"),
        ] {
            match self.is_there(&format!("{system}/{name}")) {
                Some(true) => {}
                Some(false) => return cannot(reason, format!("{system} has no {name}")),
                None => return cannot(reason, format!("{system}/{name} cannot be seen")),
            }
        }
        // What follows runs programs of it, as root.
        if let Err(why) = self.check_signatures() {
            return cannot("not_signed", why);
        }
        if let Err(why) = self.root_running() {
            return cannot("not_rooted", why);
        }
        let program = format!("{system}/bin/switch-to-configuration");
        let mut printed = Vec::new();
        for (verb, name, reason) in [
            ("check", "switch_check", "check_failed"),
            ("dry-activate", "dry_activate", "dry_activate_failed"),
        ] {
            let command = command(&[&program, verb], ASKING);
            match command.and_then(|command| self.take_step(name, &system, &command)) {
                Some(output) => printed = output.stderr,
                None => return cannot(reason, format!("{system} fails its own `{verb}`")),
            }
        }
        let units = Changes::told(&printed);
        match self.needs_boot(&system) {
            Some(true) => match self.is_there(&format!("{system}/etc/systemd/system/{GUARD}")) {
                Some(true) => Plan::Can(Class::Reboot, units),
                _ => cannot(
                    "no_guard_inside",
                    format!("{system} has to be booted and has no {GUARD}"),
                ),
            },
            Some(false) => Plan::Can(Class::Live, units),
            None => {
                cannot("class_unknown", format!("whether {system} has to be booted is not known"))
            }
        }
    }

    /// Keeps what runs now in the store: without that there might be nothing to go back to.
    fn root_running(&mut self) -> Result<(), String> {
        let running = self.link("/run/current-system");
        let running = running.ok_or("which system runs cannot be seen, so it cannot be kept")?;
        let rooted = self.root("root_previous", &running, "previous");
        rooted.ok_or_else(|| {
            format!("{running} runs and could not be kept from the garbage collector; see that {} can be written to", self.switching.roots)
        })
    }

    fn is_there(&self, path: &str) -> Option<bool> {
        match self.host.stat(&path.parse().ok()?) {
            Ok(_) => Some(true),
            Err(HostError::NotFound(_)) => Some(false),
            Err(_) => None,
        }
    }

    fn needs_boot(&self, system: &str) -> Option<bool> {
        let link = |system: &str, name: &str| {
            let path: AbsPath = format!("{system}/{name}").parse().ok()?;
            self.host.resolve(&path).ok()
        };
        let contents = |system: &str, name: &str| {
            let path: AbsPath = format!("{system}/{name}").parse().ok()?;
            self.host.read(&path, READ).ok()
        };
        let booted = "/run/booted-system";
        for name in LINKS {
            if link(booted, name)? != link(system, name)? {
                return Some(true);
            }
        }
        for name in CONTENTS {
            if contents(booted, name)? != contents(system, name)? {
                return Some(true);
            }
        }
        Some(self.is_inhibited(system))
    }

    /// Keys that both systems have and that differ.
    fn is_inhibited(&self, system: &str) -> bool {
        let read = |system: &str| -> Option<Map<String, Value>> {
            let path: AbsPath = format!("{system}/switch-inhibitors").parse().ok()?;
            serde_json::from_slice(&self.host.read(&path, READ).ok()?).ok()
        };
        let (now, then) = (read("/run/current-system"), read(system));
        let (Some(now), Some(then)) = (now, then) else { return false };
        now.iter().any(|(key, value)| then.get(key).is_some_and(|other| other != value))
    }
}
