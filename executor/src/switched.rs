//! How a switch ended, for whoever asks later: it restarts the executor, which then cannot have waited for it.
//!
//! The unit of the switch leaves a link in memory when it ends, `switch-<id>` → `exited-2`.

use std::fs;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use compliance_protocol::name::{AbsPath, Id};

/// What `switch-to-configuration` ends with when it has done all that it was to do; with 4 some unit is not
/// well, which is seen anyway. Whatever else it ends with, some of it was not done: the activation script
/// failed, or it was killed half-way.
const WHOLE: [&str; 2] = ["exited-0", "exited-4"];

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

/// Whether the switch is known not to have done all that it was to do.
pub fn cut_short(folder: &Path, activation: Id) -> Result<bool, Error> {
    match fs::read_link(place(folder, activation)) {
        Ok(ended) => Ok(!WHOLE.iter().any(|whole| ended == Path::new(whole))),
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
    fn a_switch_that_was_cut_short_is_told_from_one_that_did_it_all() {
        let whole = [("exited-0", false), ("exited-4", false)];
        let half = [("exited-2", true), ("killed-TERM", true), ("killed-KILL", true)];
        for (n, (ended, failed)) in whole.into_iter().chain(half).enumerate() {
            let dir = tempfile::TempDir::new().unwrap();
            let folder = dir.path().join("run");
            let id = Id::new(Timestamp::from_millis(1), [u8::try_from(n).unwrap(); 10]);
            assert!(!cut_short(&folder, id).unwrap(), "nothing is known yet");
            write(&folder, id, ended).unwrap();
            assert_eq!(cut_short(&folder, id).unwrap(), failed, "{ended}");
        }
    }
}
