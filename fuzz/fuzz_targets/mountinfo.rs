//! Any bytes are no mountinfo, or each path lies on a mount that is above it.
#![no_main]

use compliance_checks::encryption::mountinfo::Mounts;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(mounts) = Mounts::parse(bytes) else { return };
    for path in [b"/".as_slice(), b"/srv", b"/srv/patient records"] {
        if let Some(mount) = mounts.holding(path) {
            assert!(
                path.starts_with(
                    mount.mount_point.strip_suffix(b"/").unwrap_or(&mount.mount_point)
                )
            );
            assert!(mounts.at(path).is_none_or(|at| *at.mount_point == *path));
        }
    }
    for mount in mounts.seen() {
        let _ = (mount.is_bind(), mount.has_second_device());
    }
});
