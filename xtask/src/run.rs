//! Starting programs: the one place in this crate that does.
#![allow(clippy::disallowed_methods)] // A build tool runs the build; nothing of it ships.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// Runs a program with our own stdout and stderr, and says whether it succeeded.
pub(crate) fn to_the_end(program: &OsStr, arguments: &[&str]) -> io::Result<bool> {
    Ok(Command::new(program).args(arguments).status()?.success())
}

/// Becomes another program: it gets our signals, our terminal and our exit code. Returns only an error.
pub(crate) fn instead_of_this(program: &Path, arguments: &[String]) -> io::Error {
    Command::new(program).arg("demo").args(arguments).exec()
}
