//! `compliance-mcp`: the control plane's command line.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use compliance_daemon::config::ConfigError;
use compliance_mcp::app;
use compliance_mcp::config::Config;
use compliance_mcp::{init, serve, tls};
use compliance_protocol::name::Tenant;

/// The management control plane of compliance appliances.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make certificates, keys and a configuration in a new folder.
    Init {
        /// The folder: new, or empty.
        #[arg(long)]
        dir: PathBuf,
        /// Whose sites these will be.
        #[arg(long)]
        tenant: Tenant,
        /// A DNS name or address that appliances reach the server by; several with several --name.
        #[arg(long = "name", required = true, value_name = "HOST")]
        names: Vec<String>,
        /// A root public key, PEM, of `compliancectl key generate --role root`; several with several.
        #[arg(long = "root-pub", required = true, value_name = "FILE")]
        root_pubs: Vec<PathBuf>,
        /// How many root keys must sign a site's trust file.
        #[arg(long, default_value_t = 1)]
        root_threshold: usize,
    },
    /// Run the server.
    Serve {
        /// `mcp.toml`.
        #[arg(long)]
        config: PathBuf,
    },
    /// Check a configuration with the keys and certificates that it names, and change nothing.
    CheckConfig {
        /// `mcp.toml`.
        #[arg(long)]
        config: PathBuf,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Init { dir, tenant, names, root_pubs, root_threshold } => {
            let request = init::Request { folder: dir, tenant, names, root_pubs, root_threshold };
            initialise(&request)
        }
        Command::Serve { config } => run(&config),
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

fn initialise(request: &init::Request) -> anyhow::Result<()> {
    init::init(request, compliance_clock::wall(), &app::random())?;
    let folder = request.folder.display();
    say(&format!(
        "{folder} is ready. Move {folder}/offline to another medium: the server never opens it.\n\
         Start with: compliance-mcp serve --config {folder}/mcp.toml"
    ));
    Ok(())
}

fn run(config: &std::path::Path) -> anyhow::Result<()> {
    let config = Config::read(config)?;
    let _log = compliance_daemon::log::start("compliance-mcp", config.log.level, config.log.format);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let stop = serve::stop_signal().context("cannot listen for signals")?;
        serve::run(&config, Arc::new(compliance_clock::wall), app::random(), stop, None).await?;
        Ok(())
    })
}

fn check(path: &std::path::Path) -> ExitCode {
    let checked = Config::read(path).map_err(|error| {
        let unread = matches!(error, ConfigError::Read { .. });
        (anyhow::Error::from(error), if unread { 2 } else { 1 })
    });
    let checked = checked.and_then(|config| {
        app::keys(&config).map_err(|error| (error.into(), 1))?;
        tls::Tls::new(&config.tls, Arc::new(compliance_clock::wall))
            .map_err(|error| (error.into(), 1))
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

#[allow(clippy::print_stdout)] // The command line's own output.
fn say(text: &str) {
    println!("{text}");
}

#[allow(clippy::print_stderr)] // The command line's own complaints.
fn complain(error: &anyhow::Error) {
    eprintln!("compliance-mcp: {}", compliance_daemon::words::of(error.as_ref()));
}
