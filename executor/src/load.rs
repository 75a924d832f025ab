//! From a configuration to an engine: keys, trust, baseline, machine, ledger.

use std::path::{Path, PathBuf};

use compliance_checks::{Circumstances, Host};
use compliance_checks::baseline::Baseline;
use compliance_clock as clock;
use compliance_daemon::files;
use compliance_protocol::clock::{stepped_back, trusted_now};
use compliance_protocol::digest::Digest;
use compliance_protocol::envelope::{MAX_ENVELOPE, Verified};
use compliance_protocol::evidence::{Outcome, Trigger, TriggerKind};
use compliance_protocol::name::{BootId, Id};
use compliance_protocol::time::{Span, Timestamp};
use compliance_protocol::trust::{Trust, TrustError};
use compliance_signing::{PrivateKey, PrivateKeyError};

use crate::config::Config;
use crate::engine::documents::{baseline_in_force, trust_in_force};
use crate::engine::{Engine, Machine, Parts, Random};
use crate::evidence::{Author, Draft, Moment};
use crate::ledger::{Fact, Ledger, LedgerError};
use crate::observe::{Observed, Observer};

/// Why the executor cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The evidence key cannot be used. It is never made anew: that would be another appliance.
    #[error(
        "the evidence key {path}: {source}. Restore it, or enrol the site again with a new epoch"
    )]
    Key {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: PrivateKeyError,
    },
    /// The trust file cannot be used.
    #[error("the trust file {path}: {source}")]
    Trust {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: TrustError,
    },
    /// The trust file is for somebody else.
    #[error("the trust file is for {found}, the configuration for {expected}")]
    Elsewhere {
        /// Tenant and site of the trust file.
        found: String,
        /// Tenant and site of the configuration.
        expected: String,
    },
    /// The trust file names another evidence key than the one here.
    #[error(
        "the trust file names another evidence key than {0}: run `compliancectl site add` with this appliance's evidence.pub"
    )]
    OtherKey(PathBuf),
    /// The kernel tells no boot id.
    #[error("/proc/sys/kernel/random/boot_id holds no boot id")]
    BootId,
    /// The ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Puts the engine together.
pub fn engine(config: &Config, mut random: Random) -> Result<Engine, LoadError> {
    let closure = trust(config)?;
    let mut fresh = [0; 10];
    random(&mut fresh);
    let reading = clock::read();
    let ledger = Ledger::open(&config.ledger(), Id::new(reading.wall, fresh), reading.boottime)?;
    let trust = trust_in_force(closure, &ledger.0)?;
    let machine = machine(config);
    let parts = Parts {
        author: author(config, &trust)?,
        baseline: baseline_in_force(closure_baseline(config), &ledger.0, &trust, &machine)?,
        trust,
        machine,
        windows: config.window.clone(),
        heal: config.heal.clone(),
        round_interval: config.round_interval(),
        ledger,
        random,
    };
    Ok(Engine::start(parts, reading)?)
}

/// The trust file and baseline in force, read from files and the ledger without changing either.
pub fn documents(config: &Config) -> Result<(Trust, Result<Baseline, String>, Ledger), LoadError> {
    let ledger = Ledger::read(&config.ledger())?;
    let trust = trust_in_force(trust(config)?, &ledger)?;
    let baseline = baseline_in_force(closure_baseline(config), &ledger, &trust, &machine(config))?;
    Ok((trust, baseline.map(Verified::into_value), ledger))
}

/// Heals nothing until then: for a person at the box. The resident executor sees it at its next round.
pub fn pause(config: &Config, length: Span, mut random: Random) -> Result<Timestamp, LoadError> {
    let trust = trust_in_force(trust(config)?, &Ledger::read(&config.ledger())?)?;
    let author = author(config, &trust)?;
    let mut bytes = [0; 10];
    random(&mut bytes);
    let reading = clock::read();
    let (mut ledger, _) =
        Ledger::open(&config.ledger(), Id::new(reading.wall, bytes), reading.boottime)?;
    let high_water = ledger.fact(Fact::HighWater)?;
    let at = Moment {
        reading,
        now: trusted_now(reading, None, high_water),
        stepped_back: stepped_back(reading, high_water),
    };
    let until = reading.wall.plus(length);
    let detail = format!("paused at the box: nothing is healed without an order until {until}");
    let trigger = Trigger::of(TriggerKind::Event);
    let draft = Draft::new(trigger, Outcome::Alert, "paused", detail, at, bytes);
    ledger.commit(|tx| {
        tx.set_fact(Fact::PauseUntil, &until.to_string())?;
        tx.append(&author, draft)
    })?;
    Ok(until)
}

/// Runs the six checks once.
pub fn look(
    baseline: &Result<Baseline, String>,
    ledger: &Ledger,
    host: &dyn Host,
    mut random: Random,
) -> Result<Vec<Observed>, LoadError> {
    let reading = clock::read();
    let mut nonce = [0; 16];
    random(&mut nonce);
    let about = Circumstances {
        now: trusted_now(reading, None, ledger.fact(Fact::HighWater)?),
        uptime: reading.boottime,
        expected_system: ledger.fact(Fact::ExpectedSystem)?,
        nonce,
    };
    Ok(Observer::default().observe(host, baseline.as_ref().map_err(String::as_str), &about))
}

/// The operating system's random bytes.
pub fn random() -> Random {
    // Without random bytes no nonce is safe, and a kernel that has none is not one we run on.
    Box::new(|buffer| {
        if getrandom::fill(buffer).is_err() {
            std::process::abort();
        }
    })
}

fn author(config: &Config, trust: &Trust) -> Result<Author, LoadError> {
    let path = config.evidence_key();
    let pem = read_text(&path)?;
    let key = PrivateKey::from_pem(&pem)
        .map_err(|source| LoadError::Key { path: path.clone(), source })?;
    if key.public() != trust.roles.evidence {
        return Err(LoadError::OtherKey(path));
    }
    let boot_id = read_text(Path::new("/proc/sys/kernel/random/boot_id"))?;
    Ok(Author {
        key,
        tenant: config.tenant.clone(),
        site: config.site.clone(),
        epoch: trust.epoch,
        mode: config.mode,
        reseller: config.reseller.clone(),
        boot_id: boot_id.trim().parse::<BootId>().map_err(|_| LoadError::BootId)?,
    })
}

/// The baseline that the system closure brings.
pub fn closure_baseline(config: &Config) -> Result<Vec<u8>, String> {
    files::read(&config.baseline, MAX_ENVELOPE)
        .map_err(|error| format!("cannot read the baseline {}: {error}", config.baseline.display()))
}

/// The trust file that the system closure brings.
fn trust(config: &Config) -> Result<Trust, LoadError> {
    let path = config.trust.clone();
    let bytes = files::read(&path, MAX_ENVELOPE)
        .map_err(|source| LoadError::Read { path: path.clone(), source })?;
    let trust =
        Trust::first(&bytes).map_err(|source| LoadError::Trust { path, source })?.into_value();
    if (&trust.tenant, &trust.site) == (&config.tenant, &config.site) {
        Ok(trust)
    } else {
        Err(LoadError::Elsewhere {
            found: format!("{}/{}", trust.tenant, trust.site),
            expected: format!("{}/{}", config.tenant, config.site),
        })
    }
}

/// What a baseline can be bound to here. What cannot be read binds nothing.
fn machine(config: &Config) -> Machine {
    let system = |link: &str| std::fs::canonicalize(link).ok()?.to_str()?.parse().ok();
    let id = files::read_text(&config.machine_id, 4096).ok();
    let id = id.as_deref().map(str::trim).filter(|id| !id.is_empty());
    Machine {
        running: system("/run/current-system"),
        profile: system("/nix/var/nix/profiles/system"),
        machine_id_sha256: id.map(|id| Digest::of(id.as_bytes())),
    }
}

fn read_text(path: &Path) -> Result<String, LoadError> {
    files::read_text(path, 64 * 1024)
        .map_err(|source| LoadError::Read { path: path.to_owned(), source })
}
