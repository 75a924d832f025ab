//! `compliancectl`: see `compliancectl help`.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use compliancectl::cli::Cli;
use compliancectl::{Verdict, run};

/// Exit codes: 0 it holds, 1 it does not, 2 it could not be done.
fn main() -> ExitCode {
    match start() {
        Ok(Verdict::Holds) => ExitCode::SUCCESS,
        Ok(Verdict::Fails) => ExitCode::from(1),
        Ok(Verdict::Unchecked) => ExitCode::from(2),
        Err(error) => {
            // Nothing can be done about a closed stderr.
            let _ = writeln!(std::io::stderr(), "compliancectl: {error}");
            ExitCode::from(2)
        }
    }
}

fn start() -> anyhow::Result<Verdict> {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(run(cli, compliance_clock::wall()))?)
}
