//! Machines captured by `fixtures/encryption/capture`, as fake hosts.

use std::path::{Path, PathBuf};

use compliance_protocol::time::Timestamp;
use compliance_testkit::host::FakeHost;
use nix::sys::stat::makedev;

/// The machine of that name, as it was captured.
pub(crate) fn scene(name: &str) -> FakeHost {
    let host = FakeHost::default();
    let folder = folder(name);
    let text = std::fs::read_to_string(folder.join("host.txt")).unwrap();
    let mut file: Option<(&str, String)> = None;
    for line in text.lines() {
        let (mark, rest) = line.split_at_checked(4).unwrap_or((line, ""));
        let is_new = ["=== ", "--> ", "### "].contains(&mark);
        if let Some((path, text)) = file.take_if(|_| is_new) {
            host.write(path, text);
        }
        match mark {
            "=== " => file = Some((rest, String::new())),
            "--> " => {
                let (path, target) = rest.split_once(' ').unwrap();
                host.link(path, target, Timestamp::from_millis(0));
            }
            "### " => {
                let (path, number) = rest.split_once(' ').unwrap();
                let (major, minor) = number.split_once(':').unwrap();
                host.set_device(path, makedev(major.parse().unwrap(), minor.parse().unwrap()));
            }
            _ => file.as_mut().unwrap().1.extend([line, "\n"]),
        }
    }
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "head") {
            let node = format!("/dev/{}", path.file_stem().unwrap().to_str().unwrap());
            host.write(&node, head(&path));
        }
    }
    host
}

/// The captured header of a volume, with the zeroes at its end that the fixture leaves out.
pub(crate) fn head(path: &Path) -> Vec<u8> {
    let mut bytes = std::fs::read(path).unwrap();
    bytes.resize(bytes.len().max(16 * 1024), 0);
    bytes
}

/// Where the machine of that name is.
pub(crate) fn folder(name: &str) -> PathBuf {
    let fixtures = "../checks/tests/fixtures/encryption";
    Path::new(env!("CARGO_MANIFEST_DIR")).join(fixtures).join(name)
}
