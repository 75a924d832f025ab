//! How a switch ended, for whoever asks later: it restarts the executor, which then cannot have waited for it.
//!
//! The unit of the switch leaves a link in memory when it ends, `switch-<id>` → `exited-2`.

use std::fs;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use compliance_protocol::name::{AbsPath, Id};

/// What `switch-to-configuration` ends with when the activation script failed; it goes on after that.
const SCRIPT_FAILED: &str = "exited-2";

/// What the unit of a switch runs when the switch has ended. How it ended is in the environment then; systemd
/// puts no variables into the arguments of such a unit.
pub fn leaves_its_end(helper: &AbsPath, folder: &AbsPath, activation: Id) -> String {
    format!("{helper} switched {folder} {activation}")
}

/// Writes down how it ended.
pub fn write(folder: &Path, activation: Id, ended: &str) -> Result<(), Error> {
    fs::create_dir_all(folder)?;
    symlink(ended, place(folder, activation))
}

/// Whether the activation script is known to have failed.
pub fn script_failed(folder: &Path, activation: Id) -> Result<bool, Error> {
    match fs::read_link(place(folder, activation)) {
        Ok(ended) => Ok(ended == Path::new(SCRIPT_FAILED)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn place(folder: &Path, activation: Id) -> PathBuf {
    folder.join(format!("switch-{activation}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use compliance_protocol::time::Timestamp;

    #[test]
    fn only_the_one_code_says_that_the_script_failed() {
        for (n, (ended, failed)) in
            [("exited-0", false), ("exited-2", true), ("exited-4", false), ("killed-TERM", false)]
                .into_iter()
                .enumerate()
        {
            let dir = tempfile::TempDir::new().unwrap();
            let folder = dir.path().join("run");
            let id = Id::new(Timestamp::from_millis(1), [u8::try_from(n).unwrap(); 10]);
            assert!(!script_failed(&folder, id).unwrap(), "nothing is known yet");
            write(&folder, id, ended).unwrap();
            assert_eq!(script_failed(&folder, id).unwrap(), failed, "{ended}");
        }
    }
}
