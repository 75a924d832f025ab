//! The binaries of this build.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

const PACKAGES: [&str; 3] = ["compliance-mcp", "compliance-executor", "compliance-agent"];

/// This build's `compliancectl`, with the others beside it: `cargo test --workspace` has built them,
/// `cargo test -p compliancectl` has not.
pub(crate) fn compliancectl() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_compliancectl"));
        build_beside(program.parent().unwrap());
        program
    });
    &PROGRAM
}

fn build_beside(folder: &Path) {
    if PACKAGES.iter().all(|package| folder.join(package).is_file()) {
        return;
    }
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")]);
    build.arg("--target-dir").arg(folder.parent().unwrap());
    build.args(PACKAGES.iter().flat_map(|package| ["--package", package]));
    if folder.ends_with("release") {
        build.arg("--release");
    }
    assert!(build.status().unwrap().success(), "the other binaries could not be built");
}
