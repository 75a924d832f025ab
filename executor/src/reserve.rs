//! A reserve of disk space beside the ledger. When the disk is full it is given up, so that what is going
//! on can end and be put on record; nothing else is begun then.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

/// The size of the reserve, in bytes.
const SIZE: u64 = 32 * 1024 * 1024;

/// With less than this left, in bytes, the disk counts as full.
const LOW: u64 = 8 * 1024 * 1024;

/// Whether there is room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// There is.
    Enough,
    /// The disk is full, and the reserve given up.
    Full,
}

/// The reserve.
#[derive(Debug)]
pub struct Reserve {
    path: PathBuf,
}

impl Reserve {
    /// The one in this folder.
    pub fn new(data_dir: &Path) -> Self {
        Self { path: data_dir.join("reserve") }
    }

    /// Looks how much is left; makes the reserve when there is room for it, and gives it up when the disk
    /// is full. An error is that of the file system: whether there is room is not known then.
    pub fn look(&self, random: &mut dyn FnMut(&mut [u8])) -> io::Result<Space> {
        let free = free(&self.path)?;
        let kept = fs::metadata(&self.path).is_ok_and(|file| file.len() == SIZE);
        match (kept, decide(kept, free)) {
            (false, Space::Enough) => self.make(random),
            (_, Space::Full) => {
                self.give_up()?;
                Ok(Space::Full)
            }
            (true, Space::Enough) => Ok(Space::Enough),
        }
    }

    /// Fills the reserve with what no file system makes smaller.
    fn make(&self, random: &mut dyn FnMut(&mut [u8])) -> io::Result<Space> {
        self.give_up()?;
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path)?;
        let mut block = vec![0; 1024 * 1024];
        for _ in 0..SIZE / 1024 / 1024 {
            random(&mut block);
            if file.write_all(&block).is_err() {
                self.give_up()?;
                return Ok(Space::Full);
            }
        }
        file.sync_all()?;
        Ok(Space::Enough)
    }

    fn give_up(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Whether there is room where `free` bytes are left, with a reserve or without one.
fn decide(kept: bool, free: u64) -> Space {
    let needed = if kept { LOW } else { LOW + SIZE };
    if free < needed { Space::Full } else { Space::Enough }
}

/// How many bytes are left where `path` is.
fn free(path: &Path) -> io::Result<u64> {
    let left = statvfs(path.parent().unwrap_or(path))?;
    Ok(left.blocks_available().saturating_mul(left.fragment_size()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_given_up_when_the_disk_is_full_and_made_again_only_with_room_for_it() {
        assert_eq!(decide(true, LOW), Space::Enough);
        assert_eq!(decide(true, LOW - 1), Space::Full);
        assert_eq!(decide(false, SIZE + LOW - 1), Space::Full, "what it held is not room");
        assert_eq!(decide(false, SIZE + LOW), Space::Enough);
    }

    #[test]
    fn the_reserve_takes_as_much_as_it_says_and_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Reserve::new(dir.path());
        let mut blocks = 0;
        let mut random = |block: &mut [u8]| {
            blocks += 1;
            block.fill(blocks);
        };
        assert_eq!(reserve.look(&mut random).unwrap(), Space::Enough);
        assert_eq!(fs::metadata(dir.path().join("reserve")).unwrap().len(), SIZE);
        assert_eq!(reserve.look(&mut random).unwrap(), Space::Enough);
        assert_eq!(blocks, 32);
    }

    #[test]
    fn a_reserve_that_a_power_cut_left_half_made_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("reserve"), b"half").unwrap();
        let reserve = Reserve::new(dir.path());
        assert_eq!(reserve.look(&mut |_| ()).unwrap(), Space::Enough);
        assert_eq!(fs::metadata(dir.path().join("reserve")).unwrap().len(), SIZE);
    }
}
