//! The guard of a trial boot: whatever becomes of the executor in the system that is tried, the machine goes
//! back.
//!
//! A dead-man in memory does not outlive the boot that brings the new system. So what it is to do is left on
//! disk before that boot, and a unit of the new system takes it up: once, so that no later boot is undone. It
//! reads nothing else, since the new system's configuration may be what is wrong.

use std::io::{Error, ErrorKind};
use std::path::Path;
use std::time::Duration;

use compliance_daemon::files;
use compliance_protocol::name::StorePath;

use crate::undo::Undoing;

/// The unit that takes it up.
pub const UNIT: &str = "compliance-trial.service";

/// What a system that can be booted on trial has below its path: a file with the path at which its unit looks for
/// the guard. By having it, it says that the unit is started as early as can be, and that whatever stops a boot
/// before that restarts the machine.
pub const MARKER: &str = "etc/compliance/trial-boot";

/// The most that is read of it.
const READ: usize = 64 * 1024;

/// What is left for the guard: what it is to undo, and how long after the boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// What is undone, unless it is decided by then that the new system stays.
    pub order: Undoing,
    /// How long it waits, in seconds.
    pub after_s: u32,
}

impl Guard {
    /// Leaves it on disk.
    pub fn leave(&self, place: &Path) -> Result<(), Error> {
        let mut lines = self.order.arguments().to_vec();
        lines.push(format!("--after-s={}", self.after_s));
        files::replace(place, lines.join("\n").as_bytes(), 0o600)
    }

    /// Takes it off the disk, if there is one. Where it cannot be removed, it is taken all the same: nothing can
    /// prove itself on such a disk.
    pub fn take(place: &Path) -> Result<Option<Self>, Error> {
        let text = match files::read_text(place, READ) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if let Err(error) = files::remove(place) {
            tracing::error!(%error, place = %place.display(), "the guard of a trial boot stays on disk");
        }
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let unusable = |why: String| Error::new(ErrorKind::InvalidData, why);
        let order = Undoing::parse(&lines).map_err(|error| unusable(error.to_string()))?;
        let after = lines.iter().find_map(|line| line.strip_prefix("--after-s=")?.parse().ok());
        let after_s = after.ok_or_else(|| unusable("it does not say when".to_owned()))?;
        Ok(Some(Self { order, after_s }))
    }

    /// Whether this boot is the one that it guards: the power may have failed before that, and what runs then was
    /// not booted on trial. What cannot be seen may be it.
    pub fn is_for(&self, booted: Option<&StorePath>) -> bool {
        booted.is_none_or(|booted| *booted == self.order.next)
    }

    /// How long it waits.
    pub fn after(&self) -> Duration {
        Duration::from_secs(self.after_s.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::Class;
    use compliance_protocol::name::Id;
    use compliance_protocol::time::Timestamp;

    #[test]
    fn what_is_left_is_taken_once() {
        let dir = tempfile::TempDir::new().unwrap();
        let place = dir.path().join("trial");
        let system = |name: &str| {
            format!("/nix/store/0123456789abcdfghijklmnpqrsvwxyz-{name}").parse().unwrap()
        };
        let order = Undoing {
            activation: Id::new(Timestamp::from_millis(1), [1; 10]),
            before: system("before"),
            next: system("next"),
            class: Class::Reboot,
            systemd_run: "/bin/systemd-run".parse().unwrap(),
            systemctl: "/bin/systemctl".parse().unwrap(),
            switch_s: 900,
            folder: "/run/compliance".parse().unwrap(),
        };
        let guard = Guard { order, after_s: 1800 };
        assert!(guard.is_for(Some(&guard.order.next)) && guard.is_for(None));
        assert!(!guard.is_for(Some(&guard.order.before)));
        assert_eq!(Guard::take(&place).unwrap(), None);
        guard.leave(&place).unwrap();
        assert_eq!(Guard::take(&place).unwrap(), Some(guard.clone()));
        assert_eq!(Guard::take(&place).unwrap(), None);
        guard.leave(&place).unwrap();
        files::remove(&place).unwrap();
        assert_eq!(Guard::take(&place).unwrap(), None);
        std::fs::write(&place, "--activation=x").unwrap();
        assert!(Guard::take(&place).is_err());
        assert_eq!(Guard::take(&place).unwrap(), None, "what cannot be read does not stay, either");
    }
}
