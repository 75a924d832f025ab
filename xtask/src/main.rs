//! `cargo demo`: builds the release binaries and starts the demonstration.
//!
//! One `cargo run` builds one package only, hence this small program.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

mod run;

const USAGE: &str = "\
usage: cargo demo [OPTIONS OF `compliancectl demo`]

  demo    build the release binaries and show the whole story on this machine
";

/// What the demonstration starts.
const PACKAGES: [&str; 4] =
    ["compliance-executor", "compliance-agent", "compliance-mcp", "compliancectl"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.split_first() {
        Some((command, rest)) if command == "demo" => demo(rest),
        _ => {
            let _ = std::io::stderr().write_all(USAGE.as_bytes());
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(never) => match never {},
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "xtask: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Builds, and becomes `compliancectl demo`.
fn demo(options: &[String]) -> Result<std::convert::Infallible> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = vec!["build", "--release"];
    for package in PACKAGES {
        build.extend(["--package", package]);
    }
    if !run::to_the_end(&cargo, &build).context("cannot start cargo")? {
        bail!("the build failed: what cargo says above has to be put right first");
    }
    let program = target_directory()?.join("release/compliancectl");
    let error = run::instead_of_this(&program, options);
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}

/// The build directory in use, wherever cargo was told to put it: this program is `debug/xtask` in it.
fn target_directory() -> Result<PathBuf> {
    let this = std::env::current_exe().context("this program's own path is not known")?;
    let target = this.parent().and_then(|profile| profile.parent());
    Ok(target.context("this program is not where cargo builds to: use `cargo demo`")?.to_owned())
}
