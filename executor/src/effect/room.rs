//! Room on the disk: how much an activation needs, and how much there is.

use std::time::Duration;

use compliance_checks::HostError;
use compliance_protocol::name::AbsPath;

use super::activation::Hands;
use super::realise::{ASK_AGAIN, BY_DAEMON};
use crate::activation::Room;

/// The substituters are asked about each path of a closure by then.
const ASKING: Duration = Duration::from_mins(5);

/// What must be free whatever is fetched, in bytes: others write to that file system, too.
const STORE_FLOOR: u64 = 1024 * 1024 * 1024;

/// The same for what boots: entries, and a kernel that is written before an old one is removed.
const BOOT_FLOOR: u64 = 16 * 1024 * 1024;

/// What differs from system to system where the boot loader looks.
const BOOTED: [&str; 2] = ["kernel", "initrd"];

impl Hands<'_> {
    /// Room in the store, for what a substituter is to bring.
    pub(super) fn store_room(&self) -> Option<Room> {
        let nix_store = self.switching.nix_store.to_string();
        let system = self.activation.target.system.to_string();
        let argv = [nix_store.as_str(), "--realise", &system, "--dry-run"];
        let argv = [&argv[..], &ASK_AGAIN, &BY_DAEMON].concat();
        let fetched = to_fetch(&self.ask_within(&argv, ASKING)?.stderr)?;
        Some(Room { free: self.free("/nix/store")?, needed: with_margin(fetched, STORE_FLOOR) })
    }

    /// Room where what boots is kept, for the kernel and initrd of the target. Before it is in the store nobody
    /// knows their sizes. What was booted with is there already.
    pub(super) fn boot_room(&self) -> Option<Room> {
        let system = &self.activation.target.system;
        let mut written = 0_u64;
        for name in BOOTED {
            let new: AbsPath = format!("{system}/{name}").parse().ok()?;
            let booted: AbsPath = format!("/run/booted-system/{name}").parse().ok()?;
            if self.host.resolve(&new).ok() == self.host.resolve(&booted).ok() {
                continue;
            }
            match self.host.stat(&new) {
                Ok(stat) => written = written.saturating_add(stat.size),
                Err(HostError::NotFound(_)) => {}
                Err(_) => return None,
            }
        }
        let free = self.free(self.switching.boot.as_str())?;
        Some(Room { free, needed: with_margin(written, BOOT_FLOOR) })
    }

    fn free(&self, path: &str) -> Option<u64> {
        self.host.free_bytes(&path.parse().ok()?).ok()
    }
}

/// A tenth more than what is written: file systems round up.
fn with_margin(written: u64, floor: u64) -> u64 {
    written.saturating_add(written / 10).saturating_add(floor)
}

/// How many bytes would be unpacked, from what `nix-store --realise --dry-run` prints:
/// `these 3 paths will be fetched (1.25 MiB download, 5.72 MiB unpacked):`. No such line: nothing.
fn to_fetch(printed: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(printed).ok()?;
    let Some(line) = text.lines().find(|line| line.contains("will be fetched")) else {
        return Some(0);
    };
    let (_, size) = line.strip_suffix(" unpacked):")?.rsplit_once(", ")?;
    let (number, unit) = size.split_once(' ')?;
    let unit = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1_u64 << 40,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let hundredths: u64 = format!("{fraction:0<2}").get(..2)?.parse().ok()?;
    let hundredths = whole.parse::<u64>().ok()?.checked_mul(100)?.checked_add(hundredths + 1)?;
    Some(hundredths.checked_mul(unit)? / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_fetched_is_read_from_a_dry_run_and_never_below_it() {
        let of = |line: &str| to_fetch(format!("warning: x\n{line}\n  /nix/store/a\n").as_bytes());
        let many = |size: &str| {
            of(&format!("these 3 paths will be fetched (1.00 MiB download, {size} unpacked):"))
        };
        let one = "this path will be fetched (0.00 MiB download, 2.86 MiB unpacked):";
        assert_eq!(of(one), Some((2 << 20) + (87 << 20) / 100));
        assert_eq!(many("0.00 MiB"), Some((1 << 20) / 100));
        assert_eq!(many("2.5 GiB"), Some((2_u64 << 30) + (51 << 30) / 100));
        assert_eq!(many("7 B"), Some(7));
        assert_eq!(of("don't know how to build these paths:"), Some(0));
        assert_eq!(to_fetch(b""), Some(0));
    }

    #[test]
    fn a_dry_run_that_cannot_be_read_is_not_taken_for_nothing_to_fetch() {
        for line in [
            "these 3 paths will be fetched:",
            "these 3 paths will be fetched (1.00 MiB download, 5.72 PiB unpacked):",
            "these 3 paths will be fetched (1.00 MiB download, lots MiB unpacked):",
            "these 3 paths will be fetched (1.00 MiB download, 99999999999999999999 MiB unpacked):",
        ] {
            assert_eq!(to_fetch(line.as_bytes()), None, "{line}");
        }
    }
}
