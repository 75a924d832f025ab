//! Whether somebody holds a lock, asked of the kernel: taking it to try would itself make a switch fail.

use compliance_checks::{Host, HostError};
use compliance_protocol::name::AbsPath;

/// Whether the file at `path` is locked with flock(2); `None` if that cannot be seen.
pub(super) fn is_held(host: &dyn Host, path: &str) -> Option<bool> {
    let path: AbsPath = path.parse().ok()?;
    let stat = match host.stat(&path) {
        Ok(stat) => stat,
        Err(HostError::NotFound(_)) => return Some(false),
        Err(_) => return None,
    };
    let locks = host.read(&"/proc/locks".parse().ok()?, 1024 * 1024).ok()?;
    let (major, minor) = (nix::sys::stat::major(stat.dev), nix::sys::stat::minor(stat.dev));
    let file = format!("{major:02x}:{minor:02x}:{}", stat.ino);
    let locks = std::str::from_utf8(&locks).ok()?;
    // `1: FLOCK  ADVISORY  WRITE 712 00:19:1043 0 EOF`
    Some(locks.lines().any(|line| {
        let mut words = line.split_ascii_whitespace();
        words.nth(1) == Some("FLOCK") && words.nth(3) == Some(file.as_str())
    }))
}
