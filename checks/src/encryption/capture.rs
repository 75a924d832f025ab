//! What stands on LUKS2 here, as a baseline.

use compliance_protocol::name::AbsPath;

use super::devices::{Devices, Headers};
use super::judge::Stack;
use super::mountinfo::{Mount, Mounts};
use super::{EncryptionBaseline, StandsOn, look_at_swaps, parse_mountinfo, read_mountinfo};
use crate::capture::Captured;
use crate::{Host, HostError};

/// The mounts that stand on LUKS2 now, with the defaults for all else; and what does not stand on it.
pub fn capture(host: &dyn Host) -> Captured<EncryptionBaseline> {
    let text = match read_mountinfo(host) {
        Ok(text) => text,
        Err(error) => return Captured::nothing(&error),
    };
    match parse_mountinfo(&text) {
        Ok(mounts) => take_down(host, mounts),
        Err(error) => Captured::nothing(&error),
    }
}

fn take_down(host: &dyn Host, mounts: Mounts<'_>) -> Captured<EncryptionBaseline> {
    let mut headers = Headers::new();
    let mut devices = Devices::new(host, &mut headers);
    let (mut encrypted, mut open) = (Vec::new(), Vec::new());
    for mount in mounts.seen().filter(|mount| !mount.is_bind() && !holds_no_files(mount)) {
        let path = String::from_utf8_lossy(&mount.mount_point);
        match (lack(&devices.of_mount(mount)), path.parse::<AbsPath>()) {
            (None, Ok(path)) => encrypted.push(path),
            (None, Err(_)) => {
                open.push(format!("{path} cannot be named here: it is no plain path"));
            }
            (Some(lack), _) => open.push(format!("{path} is not encrypted by LUKS2: {lack}")),
        }
    }
    let swaps = look_at_swaps(host, &Ok(mounts), &mut devices);
    let remarks = open.into_iter().chain(about_swaps(&swaps)).collect();
    let expected = if encrypted.is_empty() {
        Err("nothing that is mounted here stands on LUKS2".to_owned())
    } else {
        Ok(EncryptionBaseline::new(encrypted))
    };
    Captured { expected, remarks }
}

/// What it lacks to stand on LUKS2 altogether.
fn lack(stands_on: &StandsOn) -> Option<String> {
    match stands_on {
        Ok(device) => Stack::of(device).lack(),
        Err(error) => Some(error.to_string()),
    }
}

fn about_swaps(swaps: &Result<Vec<StandsOn>, HostError>) -> Vec<String> {
    let swaps = match swaps {
        Ok(swaps) => swaps,
        Err(error) => return vec![format!("swap was not seen: {error}")],
    };
    let in_memory =
        |swap: &&StandsOn| swap.as_ref().is_ok_and(|device| Stack::of(device).is_all_in_memory());
    let open = swaps.iter().filter(|swap| !in_memory(swap)).filter_map(lack);
    open.map(|lack| format!("swap is not encrypted by LUKS2: {lack}")).collect()
}

/// File systems that hold nothing but what is in memory.
const IN_MEMORY: [&str; 23] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "proc",
    "pstore",
    "ramfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "sysfs",
    "tmpfs",
    "tracefs",
];

fn holds_no_files(mount: &Mount<'_>) -> bool {
    IN_MEMORY.contains(&mount.fs)
}
