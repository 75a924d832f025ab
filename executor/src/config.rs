//! The executor's configuration, `executor.toml`.

use std::path::PathBuf;

use compliance_daemon::log;
use compliance_protocol::evidence::Mode;
use compliance_protocol::name::{AbsPath, Site, Tenant, UnitName};
use compliance_protocol::time::Span;
use compliance_protocol::window::Windows;
use serde::Deserialize;

use crate::activation::Limits;
use crate::retention::{DEFAULT_DAYS, LEAST_DAYS};

mod healing;
mod switching;

pub use healing::{FailuresPerDay, Heal, HealLimit, HealLimits, HealMode, RateLimit};

/// What `executor.toml` says.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The tenant.
    pub tenant: Tenant,
    /// The site.
    pub site: Site,
    /// How the appliance is sold.
    pub mode: Mode,
    /// The reseller; required in reseller mode, and only there.
    #[serde(default)]
    pub reseller: Option<String>,
    /// The ledger, and the keys that `enrol` makes.
    pub data_dir: PathBuf,
    /// The private key that signs evidence, where it does not lie where `enrol` made it.
    #[serde(default)]
    pub evidence_key: Option<PathBuf>,
    /// Where to listen for the agent; left out when systemd passes the socket.
    #[serde(default)]
    pub socket: Option<PathBuf>,
    /// The user that the agent runs as; nobody else but root is answered.
    pub agent_uid: u32,
    /// The first trust file, as the system closure brings it.
    pub trust: PathBuf,
    /// The signed baseline, as the system closure brings it.
    pub baseline: PathBuf,
    /// What identifies a machine that is not NixOS.
    #[serde(default = "default_machine_id")]
    pub machine_id: PathBuf,
    /// systemd's command line, for starting units; left out where there is no systemd.
    #[serde(default)]
    pub systemctl: Option<AbsPath>,
    /// The unit that fills sets of the baseline's ruleset whose elements are no part of it: started as soon as the
    /// ruleset was loaded, which empties them.
    #[serde(default)]
    pub fills_sets: Option<UnitName>,
    /// How often the six checks run, in milliseconds.
    #[serde(default = "default_round_interval_ms")]
    pub round_interval_ms: u32,
    /// For how many days evidence is kept, receipt and all.
    #[serde(default = "default_retention_days")]
    pub retention_days: u16,
    /// When disruptive things may be done; none means never.
    #[serde(default)]
    pub window: Windows,
    /// What may be healed without an order.
    #[serde(default)]
    pub heal: Heal,
    /// How systems are activated; left out where they are not.
    #[serde(default)]
    pub activation: Option<Switching>,
    /// Whether the machine is restarted.
    #[serde(default)]
    pub reboots: Reboots,
    /// Change nothing, and record what would be done as alerts.
    #[serde(default)]
    pub dry_run: bool,
    /// Logging.
    #[serde(default)]
    pub log: Log,
}

/// What activating a system needs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switching {
    /// systemd's command line.
    pub systemctl: AbsPath,
    /// Starts transient units.
    pub systemd_run: AbsPath,
    /// Fetches closures and answers about them.
    pub nix_store: AbsPath,
    /// Sets the system profile.
    pub nix_env: AbsPath,
    /// Says who signed what; builds pinned flakes.
    pub nix: AbsPath,
    /// This executor's program by its own store path: the dead-man runs it, whatever else has changed.
    pub helper: AbsPath,
    /// Where garbage collector roots of systems are kept.
    pub roots: AbsPath,
    /// Where what boots is kept, whose free room counts: `/boot`.
    pub boot: AbsPath,
    /// How to see what boots.
    pub boot_loader: BootLoader,
    /// The system profile, `/nix/var/nix/profiles/system`.
    pub profile: AbsPath,
    /// Where systems come from.
    #[serde(default)]
    pub source: Source,
    /// Where decisions are, in memory, so that a boot forgets them: `/run/compliance`.
    pub folder: AbsPath,
    /// Oneshot units that are started at each look: one that fails and did not before is worse.
    #[serde(default)]
    pub probes: Vec<UnitName>,
    /// How long each part may take.
    #[serde(default)]
    pub limits: Limits,
}

/// Where systems come from that are activated by order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The store, and signed substituters: nothing is built here.
    #[default]
    StorePath,
    /// Also a build of a pinned flake, if the order names one.
    StorePathOrFlake,
}

/// How to see which system the boot loader starts by default.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "type")]
pub enum BootLoader {
    /// systemd-boot: it is asked.
    SystemdBoot {
        /// Its command line.
        bootctl: AbsPath,
    },
    /// GRUB: its configuration is read.
    Grub {
        /// `grub.cfg`.
        configuration: AbsPath,
    },
}

/// Logging.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// How much.
    pub level: log::Level,
    /// How, on stderr.
    pub format: log::Format,
}

/// Whether the machine is restarted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reboots {
    /// By order, and to try a system that has to be booted.
    #[default]
    Order,
    /// By nobody here.
    Never,
}

impl Config {
    /// What cannot be said by types: the reseller is named in reseller mode, and only there; rounds
    /// are at least 200 ms apart; evidence is kept for some time.
    pub fn contradiction(&self) -> Option<String> {
        let why = match (self.mode, &self.reseller) {
            (Mode::Reseller, None) => "mode = \"reseller\" needs `reseller = \"name\"`",
            (Mode::Direct, Some(_)) => "`reseller` belongs to mode = \"reseller\" only",
            _ if self.round_interval_ms < 200 => "`round_interval_ms` is at least 200",
            _ if self.retention_days < LEAST_DAYS => {
                return Some(format!("`retention_days` is at least {LEAST_DAYS}"));
            }
            _ => return self.activation.as_ref()?.contradiction(),
        };
        Some(why.to_owned())
    }

    /// How often the six checks run.
    pub fn round_interval(&self) -> Span {
        Span::from_millis(self.round_interval_ms.into())
    }

    /// The private key that signs evidence.
    pub fn evidence_key(&self) -> PathBuf {
        self.evidence_key.clone().unwrap_or_else(|| self.data_dir.join("evidence.key"))
    }

    /// The ledger.
    pub fn ledger(&self) -> PathBuf {
        self.data_dir.join("ledger.db")
    }
}

fn default_machine_id() -> PathBuf {
    PathBuf::from("/etc/machine-id")
}

const fn default_retention_days() -> u16 {
    DEFAULT_DAYS
}

const fn default_round_interval_ms() -> u32 {
    15_000
}
