//! How a switch ended, for whoever asks later: it restarts the executor, which then cannot have waited for it.
//!
//! The unit of the switch leaves a link in memory when it ends, `switch-<id>` → `exited-2`.

use std::fs;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use compliance_protocol::name::{AbsPath, Id};

use crate::activation::Ended;

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

/// How it ended, if that was written down.
pub fn read(folder: &Path, activation: Id) -> Result<Option<Ended>, Error> {
    match fs::read_link(place(folder, activation)) {
        Ok(ended) if WHOLE.iter().any(|whole| ended == Path::new(whole)) => Ok(Some(Ended::Whole)),
        Ok(_) => Ok(Some(Ended::CutShort)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
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
        let whole = ["exited-0", "exited-4"].map(|ended| (ended, Ended::Whole));
        let half = ["exited-2", "killed-TERM", "killed-KILL"].map(|it| (it, Ended::CutShort));
        for (n, (ended, expected)) in whole.into_iter().chain(half).enumerate() {
            let dir = tempfile::TempDir::new().unwrap();
            let folder = dir.path().join("run");
            let id = Id::new(Timestamp::from_millis(1), [u8::try_from(n).unwrap(); 10]);
            assert_eq!(read(&folder, id).unwrap(), None, "nothing is known yet");
            write(&folder, id, ended).unwrap();
            assert_eq!(read(&folder, id).unwrap(), Some(expected), "{ended}");
        }
    }
}
