//! How a switch ended, for whoever asks later: it restarts the executor, which then cannot have waited for it.
//!
//! The unit of the switch leaves a link in memory when it ends, `switch-<id>` → `exited-2`.

use std::fs;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use compliance_checks::Host;
use compliance_checks::command::{Argv, Command};
use compliance_protocol::name::{AbsPath, Id, StorePath};

use crate::activation::Ended;

/// `switch-to-configuration` ended well; or, with 4, some unit is not well, which is seen anyway, and the
/// activation script ended well when it was run once more. Whatever else it ends with, some of it was not done.
const WHOLE: [&str; 2] = ["exited-0", "exited-4-activated"];

/// `switch-to-configuration` ends with this when some unit is not well, even where its activation script failed.
const UNITS: &str = "exited-4";

/// An activation script ends by then; systemd ends what runs after a switch a little later.
const ACTIVATING: Duration = Duration::from_mins(2);

/// What the unit of a switch runs when the switch has ended. How it ended is in the environment then; systemd
/// puts no variables into the arguments of such a unit.
pub fn leaves_its_end(
    helper: &AbsPath,
    folder: &AbsPath,
    activation: Id,
    system: &StorePath,
) -> String {
    format!("{helper} switched {folder} {activation} {system}")
}

/// Writes down how it ended, as systemd says it: `exited-0`. Where that leaves open whether the activation script
/// of `system` failed, it is run once more: it may be run at any time.
pub fn write(
    folder: &Path,
    activation: Id,
    ended: &str,
    system: &StorePath,
    host: &dyn Host,
) -> Result<(), Error> {
    let ended = match ended {
        UNITS if activates(system, host) => "exited-4-activated",
        UNITS => "exited-4-not-activated",
        ended => ended,
    };
    fs::create_dir_all(folder)?;
    symlink(ended, place(folder, activation))
}

fn activates(system: &StorePath, host: &dyn Host) -> bool {
    let argv = Argv::try_from(vec![format!("{system}/activate")]);
    let ended = argv.map(|argv| {
        let (limit, output_cap) = (ACTIVATING, 16 * 1024 * 1024);
        host.run(&Command { argv, input: Vec::new(), limit, output_cap })
    });
    matches!(ended, Ok(Ok(output)) if output.code == Some(0))
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
    use compliance_checks::command::Output;
    use compliance_protocol::time::Timestamp;
    use compliance_testkit::FakeHost;

    const SYSTEM: &str = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-next";

    fn ends(ended: &str, activates: i32) -> Option<Ended> {
        let dir = tempfile::TempDir::new().unwrap();
        let folder = dir.path().join("run");
        let host = FakeHost::default();
        host.install_deed(
            &format!("{SYSTEM}/activate"),
            Box::new(move |_, _| {
                let (stdout, stderr) = (Vec::new(), Vec::new());
                Ok(Output { code: Some(activates), stdout, stderr })
            }),
        );
        let id = Id::new(Timestamp::from_millis(1), [1; 10]);
        assert_eq!(read(&folder, id).unwrap(), None, "nothing is known yet");
        write(&folder, id, ended, &SYSTEM.parse().unwrap(), &host).unwrap();
        read(&folder, id).unwrap()
    }

    #[test]
    fn a_switch_that_was_cut_short_is_told_from_one_that_did_it_all() {
        assert_eq!(ends("exited-0", 1), Some(Ended::Whole));
        for half in ["exited-2", "killed-TERM", "killed-KILL", "exited-11"] {
            assert_eq!(ends(half, 0), Some(Ended::CutShort), "{half}");
        }
    }

    #[test]
    fn where_a_unit_hides_whether_the_activation_script_failed_it_is_run_again() {
        assert_eq!(ends("exited-4", 0), Some(Ended::Whole));
        assert_eq!(ends("exited-4", 2), Some(Ended::CutShort));
    }
}
