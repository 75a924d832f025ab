//! The demonstration's control plane. DEV ONLY - NOT FOR PRODUCTION.
//!
//! It is ours, with two things beside it that no control plane should have: the operator's keys, which sign orders
//! and baselines, and a page of [scenarios](scenario), which do to a site what a clinic, an operator or an attacker
//! might, and watch what becomes of it.

mod broker;
mod enrol;
mod front;
mod hand;
mod hostile;
mod operator;
mod page;
mod plane;
mod run;
mod scenario;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser;
use compliance_daemon::log;
use compliance_mcp::app;
use compliance_mcp::console::{Extension, NavigationLink};
use compliance_mcp::serve;

use operator::Operator;
use plane::Plane;
use run::Runs;

/// How somebody gets to the pages, for the log that compose shows.
const HOW_TO_ENTER: &str =
    "let a browser in with: docker compose -f demo/compose.yaml exec mcp compliancectl console";

/// What stands on every page.
const BANNER: &str = "DEV ONLY - NOT FOR PRODUCTION";

/// The control plane of the demonstration. DEV ONLY - NOT FOR PRODUCTION.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where keys and database lie; they are made at the first start.
    #[arg(long, default_value = "/var/lib/plane")]
    dir: PathBuf,
    /// The folder with one folder for each site, which the site has as well.
    #[arg(long, default_value = "/sites")]
    sites: PathBuf,
    /// Where what NATS and its carrier need is put.
    #[arg(long, default_value = "/var/lib/broker")]
    broker: PathBuf,
    /// How a browser reaches port 8080.
    #[arg(long, default_value = "http://localhost:8080")]
    public_url: String,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let _log = log::start("compliance-demo", log::Level::Info, log::Format::Text);
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", compliance_daemon::words::of(error.as_ref()));
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    tracing::warn!("{BANNER}");
    tracing::info!("{HOW_TO_ENTER}");
    let plane = Plane::open(&arguments.dir, &app::random())?;
    let config = plane.config(&arguments.public_url)?;
    broker::make(&arguments.broker, &plane.path("mcp/offline"))?;
    let operator = Arc::new(Operator::new(plane)?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let stop = serve::stop_signal().context("cannot listen for signals")?;
        let front = front::open(config.console.listen).await?;
        let enrolling = enrol::answer(Arc::clone(&operator), arguments.sites.clone());
        let beside = tokio::spawn(async move { tokio::join!(front, enrolling) });
        let extension = extension(operator, arguments.sites.clone());
        let clock = Arc::new(compliance_clock::wall);
        let served = serve::run(&config, clock, app::random(), stop, Some(extension)).await;
        beside.abort();
        Ok(served?)
    })
}

/// The page of scenarios, as a part of the console.
fn extension(operator: Arc<Operator>, sites: PathBuf) -> Extension {
    let link = NavigationLink { path: page::PATH.to_owned(), label: "Scenarios".to_owned() };
    Extension::new(BANNER, link, |app| page::routes(Runs::new(Arc::clone(app), operator, sites)))
}
