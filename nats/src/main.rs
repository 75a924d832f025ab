//! `compliance-nats`: the carrier's command line.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use compliance_daemon::config::ConfigError;
use compliance_nats::config::Config;
use compliance_nats::control_plane::ControlPlane;
use compliance_nats::{carry, secrets, tickets};
use tokio::signal::unix::{SignalKind, signal};

/// Carries the control plane's events to NATS JetStream.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Carry events, until SIGTERM.
    Run {
        /// `nats.toml`.
        #[arg(long)]
        config: PathBuf,
    },
    /// Print alerts as a ticketing system would take them, a line each, until SIGTERM.
    Tickets {
        /// `nats.toml`, of which only [nats] and [log] are used.
        #[arg(long)]
        config: PathBuf,
    },
    /// Check a configuration with what it names, and change nothing.
    CheckConfig {
        /// `nats.toml`.
        #[arg(long)]
        config: PathBuf,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run { config } => run(&config),
        Command::Tickets { config } => print_tickets(&config),
        Command::CheckConfig { config } => return check(&config),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::from(2)
        }
    }
}

fn run(config: &Path) -> anyhow::Result<()> {
    let config = Config::read(config)?;
    let _log =
        compliance_daemon::log::start("compliance-nats", config.log.level, config.log.format);
    block_on(async { Ok(carry::run(&config, stop_signal()?).await?) })
}

fn print_tickets(config: &Path) -> anyhow::Result<()> {
    let config = Config::read(config)?;
    let _log =
        compliance_daemon::log::start("compliance-nats", config.log.level, config.log.format);
    block_on(async {
        let printed = tickets::run(&config.nats, &mut std::io::stdout(), stop_signal()?).await;
        printed.context("a ticket cannot be printed")
    })
}

fn check(path: &Path) -> ExitCode {
    let checked = Config::read(path).map_err(|error| {
        let unread = matches!(error, ConfigError::Read { .. });
        (anyhow::Error::from(error), if unread { 2 } else { 1 })
    });
    let checked = checked.and_then(|config| {
        ControlPlane::new(&config).map_err(|error| (error.into(), 1))?;
        secrets::options(&config.nats).map_err(|error| (error.into(), 1))
    });
    match checked {
        Ok(_) => {
            say(&format!("{} is valid", path.display()));
            ExitCode::SUCCESS
        }
        Err((error, code)) => {
            complain(&error);
            ExitCode::from(code)
        }
    }
}

fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build()
        .context("cannot start the runtime")?;
    let outcome = runtime.block_on(work);
    // A resolver that hangs must not keep the process.
    runtime.shutdown_background();
    outcome
}

/// Ends at SIGTERM or SIGINT.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let listen = |kind| signal(kind).context("cannot listen for signals");
    let (mut terminate, mut interrupt) =
        (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => (),
            _ = interrupt.recv() => (),
        }
    })
}

#[allow(clippy::print_stdout)] // The command line's own output.
fn say(text: &str) {
    println!("{text}");
}

#[allow(clippy::print_stderr)] // The command line's own complaints.
fn complain(error: &anyhow::Error) {
    eprintln!("compliance-nats: {}", compliance_daemon::words::of(error.as_ref()));
}
