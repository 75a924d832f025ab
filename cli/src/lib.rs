//! The command line: keys, sites, orders, baselines, verification, export, the demo.
//!
//! [`cli`] says what can be asked; each group of commands is a module of its own. A command computes a
//! value and hands it to [`output::Output`], which prints it as text or as JSON.

pub mod api;
pub mod baseline;
pub mod cli;
pub mod client;
pub mod config;
pub mod connect;
pub mod console;
pub mod demo;
pub mod duration;
pub mod entropy;
pub mod error;
pub mod evidence;
pub mod files;
pub mod firewall;
pub mod fleet;
pub mod key;
pub mod order;
pub mod output;
pub mod site;
pub mod status;
pub mod verify;

pub use error::Error;

use cli::{Cli, Command};
use compliance_protocol::time::Timestamp;
use config::Connection;
use connect::ControlPlane;
use output::Output;

/// What came of a command that could be carried out; `main` makes it the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It holds: 0.
    Holds,
    /// It does not: 1.
    Fails,
    /// It could not be checked: 2.
    Unchecked,
}

/// What every command is given.
#[derive(Debug)]
pub struct Context {
    /// Where results go.
    pub output: Output,
    /// The time, read once at the start.
    pub now: Timestamp,
    connection: Connection,
}

impl Context {
    /// The control plane of the options, the environment or the configuration file.
    pub fn control_plane(&self) -> Result<ControlPlane, Error> {
        ControlPlane::connect(&self.connection.resolve()?)
    }
}

/// Carries out one command line. `now` is the time of day.
pub async fn run(cli: Cli, now: Timestamp) -> Result<Verdict, Error> {
    let context = Context { output: Output::new(cli.json), now, connection: cli.connection };
    match cli.command {
        Command::Key(command) => key::run(&context, command),
        Command::Operator(command) => client::operator(&context, command),
        Command::Carrier(command) => client::carrier(&context, command),
        Command::Site(command) => site::run(&context, command).await,
        Command::Sites => site::list(&context).await,
        Command::Console => console::run(&context).await,
        Command::Fleet => fleet::run(&context).await,
        Command::Status { site } => status::run(&context, &site).await,
        Command::Order(command) => order::run(&context, command).await,
        Command::Baseline(command) => baseline::run(&context, command),
        Command::Firewall(command) => firewall::run(&context, command),
        Command::Evidence(command) => evidence::run(&context, command).await,
        Command::Demo(args) => demo::run(&context, &args).await,
        Command::Verify(args) => verify::run(&context, &args),
    }
}
