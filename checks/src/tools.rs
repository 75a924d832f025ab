//! Where the programs are that checks run.

use compliance_protocol::name::AbsPath;

use crate::{Host, HostError};

/// Folders that only root writes to: NixOS's first, then those of other systems.
const FOLDERS: [&str; 5] = ["/run/current-system/sw/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The program called `name`, looked for in a fixed list of folders; there is no `PATH`.
pub fn find(host: &dyn Host, name: &str) -> Result<AbsPath, HostError> {
    let missing = || HostError::ToolMissing(name.to_owned());
    for folder in FOLDERS {
        let path: AbsPath = format!("{folder}/{name}").parse().map_err(|_| missing())?;
        match host.stat(&path) {
            Ok(stat) if stat.regular => return Ok(path),
            Ok(_) | Err(HostError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Err(missing())
}
