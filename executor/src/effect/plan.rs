//! What a new system says it would do, and how it can be changed to.

use std::time::Duration;

use compliance_checks::HostError;
use compliance_protocol::name::AbsPath;
use serde_json::{Map, Value};

use super::activation::Hands;
use super::bystanders;
use crate::activation::{Changes, Class, Plan};
use crate::guard::MARKER;

/// `check` and `dry-activate` end by then.
const ASKING: Duration = Duration::from_mins(5);

/// The most that is read of a file.
const READ: usize = 1024 * 1024;

/// What `switch-to-configuration` ends with while somebody else holds its lock.
const LOCKED: i32 = 11;

/// What it ends with when the first process of the machine would have to be another one.
const HAS_TO_BOOT: i32 = 100;

/// What must be the same for a system to be switched to without a boot: as links, and as contents.
const LINKS: [&str; 3] = ["kernel", "initrd", "kernel-modules"];
const CONTENTS: [&str; 2] = ["kernel-params", "init-interface-version"];

/// What the new system is asked, and why an activation ends when it says no.
#[derive(Clone, Copy)]
struct Question {
    verb: &'static str,
    step: &'static str,
    reason: &'static str,
}

/// With what forbids a switch while running, so that it is asked only where that is to be done.
const CHECK: Question = Question { verb: "check", step: "switch_check", reason: "check_failed" };
const DRY_ACTIVATE: Question =
    Question { verb: "dry-activate", step: "dry_activate", reason: "dry_activate_failed" };

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
        // Before anything is asked: what has to be booted may say no to being switched to.
        let class = match self.class_of(&system) {
            Ok(class) => class,
            Err(plan) => return plan,
        };
        // What follows runs programs of it, as root.
        if let Err(why) = self.check_signatures() {
            return cannot("not_signed", why);
        }
        if let Err(why) = self.root_running() {
            return cannot("not_rooted", why);
        }
        if class == Class::Live
            && let Err(refusal) = self.ask_target(CHECK, class)
        {
            return refusal;
        }
        match self.ask_target(DRY_ACTIVATE, class) {
            Ok(printed) => Plan::Can(class, Changes::told(&printed)),
            Err(refusal) => refusal,
        }
    }

    fn class_of(&self, system: &str) -> Result<Class, Plan> {
        let (reason, detail) = match self.needs_boot(system) {
            Some(false) => return Ok(Class::Live),
            Some(true) if self.guard_place().is_some() => return Ok(Class::Reboot),
            Some(true) => (
                "no_guard_inside",
                format!("{system} has to be booted, and has no {MARKER} to come back by"),
            ),
            None => ("class_unknown", format!("whether {system} has to be booted is not known")),
        };
        Err(Plan::Cannot { reason, detail })
    }

    /// Has the target say what it would do. While somebody else switches, it cannot be asked.
    fn ask_target(&mut self, question: Question, class: Class) -> Result<Vec<u8>, Plan> {
        let system = self.activation.target.system.to_string();
        let program = format!("{system}/bin/switch-to-configuration");
        let Question { verb, step, reason } = question;
        let failed = match self.try_run(step, &system, &[&program, verb], ASKING) {
            Ok(output) => return Ok(output.stderr),
            Err(failed) => failed,
        };
        match failed.code {
            Some(HAS_TO_BOOT) if class == Class::Reboot => Ok(Vec::new()),
            Some(LOCKED) => Err(Plan::Busy),
            _ if bystanders::is_switching(self.host) != Some(false) => Err(Plan::Busy),
            _ => Err(Plan::Cannot { reason, detail: format!("{system} fails its own `{verb}`") }),
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
