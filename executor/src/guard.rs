//! The guard of a trial boot: whatever becomes of the executor in the system that is tried, the machine goes
//! back.
//!
//! A dead-man in memory does not outlive the boot that brings the new system. So what it is to do is left on
//! disk before that boot, and a unit of the new system takes it up: once, so that no later boot is undone.

use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use compliance_daemon::files;
use compliance_protocol::name::AbsPath;

use crate::undo::Undoing;

/// The unit that takes it up.
pub const UNIT: &str = "compliance-trial.service";

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
    /// Leaves it on disk, beside the roots of the systems that it is about.
    pub fn leave(&self, roots: &AbsPath) -> Result<(), Error> {
        let mut lines = self.order.arguments().to_vec();
        lines.push(format!("--after-s={}", self.after_s));
        files::replace(&place(roots), lines.join("\n").as_bytes(), 0o600)
    }

    /// Takes it off the disk, if there is one.
    pub fn take(roots: &AbsPath) -> Result<Option<Self>, Error> {
        let text = match files::read_text(&place(roots), READ) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        remove(roots)?;
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let unusable = |why: String| Error::new(ErrorKind::InvalidData, why);
        let order = Undoing::parse(&lines).map_err(|error| unusable(error.to_string()))?;
        let after = lines.iter().find_map(|line| line.strip_prefix("--after-s=")?.parse().ok());
        let after_s = after.ok_or_else(|| unusable("it does not say when".to_owned()))?;
        Ok(Some(Self { order, after_s }))
    }

    /// How long it waits.
    pub fn after(&self) -> Duration {
        Duration::from_secs(self.after_s.into())
    }
}

/// Removes what was left, if anything was.
pub fn remove(roots: &AbsPath) -> Result<(), Error> {
    files::remove(&place(roots))
}

fn place(roots: &AbsPath) -> PathBuf {
    Path::new(roots.as_str()).join("trial")
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
        let roots: AbsPath = dir.path().to_str().unwrap().parse().unwrap();
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
        assert_eq!(Guard::take(&roots).unwrap(), None);
        guard.leave(&roots).unwrap();
        assert_eq!(Guard::take(&roots).unwrap(), Some(guard.clone()));
        assert_eq!(Guard::take(&roots).unwrap(), None);
        guard.leave(&roots).unwrap();
        remove(&roots).unwrap();
        assert_eq!(Guard::take(&roots).unwrap(), None);
        std::fs::write(place(&roots), "--activation=x").unwrap();
        assert!(Guard::take(&roots).is_err());
        assert_eq!(Guard::take(&roots).unwrap(), None, "what cannot be read does not stay, either");
    }
}
