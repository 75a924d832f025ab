//! What `cargo xtask` says to who does not know it.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::process::Command;

#[test]
fn without_a_known_command_it_says_how_to_use_it_and_ends_with_2() {
    for arguments in [&[][..], &["dance"], &["--help"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_xtask")).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("usage: cargo demo"));
    }
}
