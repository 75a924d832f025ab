//! What can be ordered, as options.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use compliance_protocol::digest::Digest;
use compliance_protocol::name::{FlakeRef, JobName, NarHash, StorePath, UnitName};
use compliance_protocol::order::Action;
use compliance_protocol::time::{Span, Timestamp};
use serde_json::Value;

use crate::{Error, duration, files};

/// What to order.
#[derive(Debug, Subcommand)]
pub enum ActionArgs {
    /// Run the six checks now.
    #[command(alias = "run_checks")]
    RunChecks,
    /// Restart a unit that the baseline lists.
    #[command(alias = "restart_service")]
    RestartService {
        /// The unit, such as nginx.service.
        unit: UnitName,
    },
    /// Start a backup job that the baseline lists.
    #[command(alias = "run_backup")]
    RunBackup {
        /// The job.
        job: JobName,
    },
    /// Load the firewall of the signed baseline.
    #[command(alias = "restore_firewall")]
    RestoreFirewall {
        /// Digest of the baseline's payload.
        #[arg(long, value_name = "SHA256")]
        baseline_sha256: Digest,
    },
    /// Activate a system.
    #[command(alias = "activate_system")]
    ActivateSystem {
        /// The system's closure.
        store_path: StorePath,
        /// Its NAR hash.
        #[arg(long)]
        nar_hash: NarHash,
        /// Digest of the payload of the baseline that belongs to it.
        #[arg(long, value_name = "SHA256")]
        baseline_sha256: Digest,
        /// Where to build it when it cannot be substituted; pinned.
        #[arg(long)]
        flake: Option<FlakeRef>,
    },
    /// Go back to an earlier system.
    #[command(alias = "rollback_system")]
    RollbackSystem {
        /// That system's closure.
        store_path: StorePath,
    },
    /// Restart the machine.
    Reboot,
    /// Take a newer signed baseline.
    #[command(alias = "update_baseline")]
    UpdateBaseline {
        /// The baseline's envelope.
        file: PathBuf,
    },
    /// Take the next trust file.
    #[command(alias = "update_trust")]
    UpdateTrust {
        /// The trust file.
        file: PathBuf,
    },
    /// Heal nothing for a while.
    #[command(alias = "pause_healing")]
    PauseHealing {
        /// For how long, such as 2h.
        #[arg(long = "for", value_parser = duration::parse, value_name = "SPAN")]
        length: Span,
    },
}

impl ActionArgs {
    /// The action, as an order that is issued at `now` says it.
    pub fn action(&self, now: Timestamp) -> Result<Action, Error> {
        Ok(match self {
            Self::RunChecks => Action::RunChecks {},
            Self::Reboot => Action::Reboot {},
            Self::RestartService { unit } => Action::RestartService { unit: unit.clone() },
            Self::RunBackup { job } => Action::RunBackup { job: job.clone() },
            Self::RestoreFirewall { baseline_sha256 } => {
                Action::RestoreFirewall { baseline_sha256: *baseline_sha256 }
            }
            Self::ActivateSystem { store_path, nar_hash, baseline_sha256, flake } => {
                Action::ActivateSystem {
                    store_path: store_path.clone(),
                    nar_hash: nar_hash.clone(),
                    baseline_sha256: *baseline_sha256,
                    flake: flake.clone(),
                }
            }
            Self::RollbackSystem { store_path } => {
                Action::RollbackSystem { store_path: store_path.clone() }
            }
            Self::UpdateBaseline { file } => Action::UpdateBaseline { envelope: envelope(file)? },
            Self::UpdateTrust { file } => Action::UpdateTrust { envelope: envelope(file)? },
            Self::PauseHealing { length } => Action::PauseHealing { until: now.plus(*length) },
        })
    }
}

fn envelope(path: &Path) -> Result<Value, Error> {
    serde_json::from_slice(&files::envelope(path)?)
        .map_err(|error| Error::Usage(format!("{} is not an envelope: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_action_of_the_protocol_can_be_ordered_by_its_own_name() {
        let mut cli = Cli::command();
        let sign = cli.find_subcommand_mut("order").unwrap().find_subcommand_mut("sign").unwrap();
        let names: BTreeSet<_> =
            sign.get_subcommands().map(|command| command.get_name().replace('-', "_")).collect();
        assert_eq!(names, Action::NAMES.iter().map(|name| (*name).to_owned()).collect());
        for name in Action::NAMES {
            assert!(sign.find_subcommand(name).is_some(), "{name}");
        }
    }
}
