//! What can be asked on the command line; the options of each group stand in its own module.

use clap::{Parser, Subcommand};
use compliance_protocol::name::Site;

use crate::baseline::BaselineCommand;
use crate::client::{CarrierCommand, OperatorCommand};
use crate::config::Connection;
use crate::demo::DemoArgs;
use crate::evidence::EvidenceCommand;
use crate::firewall::FirewallCommand;
use crate::key::KeyCommand;
use crate::order::OrderCommand;
use crate::site::SiteCommand;
use crate::verify::VerifyArgs;

/// Keys, sites, orders, baselines and evidence of compliance appliances.
#[derive(Debug, Parser)]
#[command(name = "compliancectl", version, propagate_version = true)]
#[command(after_help = "Exit codes: 0 it holds, 1 it does not, 2 it could not be done.")]
pub struct Cli {
    /// Print one JSON document instead of text.
    #[arg(long, global = true)]
    pub json: bool,
    /// How to reach the control plane.
    #[command(flatten)]
    pub connection: Connection,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the whole story on this machine: real processes, no root needed.
    Demo(DemoArgs),
    /// Make keys.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Enrol appliances.
    #[command(subcommand)]
    Site(SiteCommand),
    /// Certify operators.
    #[command(subcommand)]
    Operator(OperatorCommand),
    /// Certify carriers of events.
    #[command(subcommand)]
    Carrier(CarrierCommand),
    /// List the sites that the control plane knows.
    Sites,
    /// Show every site with the state of each check.
    Fleet,
    /// Print a one-time link to the console in a browser, and a code to type there instead.
    Console,
    /// Show one site: each check, the newest evidence, open orders.
    Status {
        /// The site.
        site: Site,
    },
    /// Sign, push, list and withdraw orders.
    #[command(subcommand)]
    Order(OrderCommand),
    /// Sign and show baselines.
    #[command(subcommand)]
    Baseline(BaselineCommand),
    /// Look at rulesets.
    #[command(subcommand)]
    Firewall(FirewallCommand),
    /// List, show and export the evidence that the control plane holds.
    #[command(subcommand)]
    Evidence(EvidenceCommand),
    /// Verify evidence, an envelope, or an exported directory, offline.
    Verify(VerifyArgs),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
