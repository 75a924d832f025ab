//! The one decision about an activation: taken once, by whoever acts first, executor or dead-man.
//!
//! It is a link in a folder in memory, `activation-<id>` → `proven` or `undo`. A link comes into being whole
//! and exclusively; of a file that is made and then written, the other could read the moment between.

use std::fs;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use compliance_protocol::name::Id;

use crate::activation::Decision;

/// Decides, unless it is decided; and what is decided.
pub fn decide(folder: &Path, activation: Id, decision: Decision) -> Result<Decision, Error> {
    fs::create_dir_all(folder)?;
    match symlink(decision.word(), place(folder, activation)) {
        Ok(()) => Ok(decision),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            decided(folder, activation)?.ok_or(error)
        }
        Err(error) => Err(error),
    }
}

/// What is decided, if anything.
pub fn decided(folder: &Path, activation: Id) -> Result<Option<Decision>, Error> {
    match fs::read_link(place(folder, activation)) {
        Ok(word) => {
            let decision = word.to_str().and_then(Decision::from_word);
            decision.map(Some).ok_or_else(|| Error::from(ErrorKind::InvalidData))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn place(folder: &Path, activation: Id) -> PathBuf {
    folder.join(format!("activation-{activation}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use compliance_protocol::time::Timestamp;

    fn id() -> Id {
        Id::new(Timestamp::from_millis(1_795_167_671_000), [1; 10])
    }

    #[test]
    fn the_first_to_decide_has_decided() {
        let dir = tempfile::TempDir::new().unwrap();
        let folder = dir.path().join("run");
        assert_eq!(decided(&folder, id()).unwrap(), None);
        assert_eq!(decide(&folder, id(), Decision::Undo).unwrap(), Decision::Undo);
        assert_eq!(decide(&folder, id(), Decision::Proven).unwrap(), Decision::Undo);
        assert_eq!(decided(&folder, id()).unwrap(), Some(Decision::Undo));
    }

    #[test]
    fn of_many_at_once_all_hear_the_same() {
        let dir = &tempfile::TempDir::new().unwrap();
        for round in 0..50 {
            let id = Id::new(Timestamp::from_millis(round), [2; 10]);
            let heard = std::thread::scope(|scope| {
                let wishes = [Decision::Proven, Decision::Undo, Decision::Proven, Decision::Undo];
                let folder = dir.path();
                let all = wishes.map(|wish| scope.spawn(move || decide(folder, id, wish).unwrap()));
                all.map(|one| one.join().unwrap())
            });
            assert!(heard.iter().all(|decision| *decision == heard[0]), "{heard:?}");
        }
    }

    #[test]
    fn what_is_not_a_decision_is_an_error_and_none() {
        let dir = tempfile::TempDir::new().unwrap();
        symlink("perhaps", place(dir.path(), id())).unwrap();
        assert!(decided(dir.path(), id()).is_err());
        assert!(decide(dir.path(), id(), Decision::Proven).is_err());
    }
}
