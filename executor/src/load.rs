//! From a configuration to an engine: keys, trust, baseline, machine, ledger.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use compliance_checks::baseline::{Baseline, Binding};
use compliance_checks::linux::LinuxHost;
use compliance_checks::{Circumstances, Host, patching};
use compliance_clock as clock;
use compliance_daemon::files;
use compliance_protocol::clock::trusted_now;
use compliance_protocol::digest::Digest;
use compliance_protocol::envelope::{Envelope, MAX_ENVELOPE, Verified};
use compliance_protocol::name::{BootId, Id};
use compliance_protocol::trust::{Trust, TrustError};
use compliance_signing::{PrivateKey, PrivateKeyError};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use zeroize::Zeroizing;

use crate::capture::Whose;
use crate::config::Config;
use crate::documents::{Machine, baseline_in_force, trust_in_force};
use crate::engine::{Engine, Parts, Random};
use crate::evidence::Author;
use crate::ledger::{Document, Fact, Ledger, LedgerError};
use crate::observe::{Observed, Observer};

/// The largest text that is read, in bytes.
const MAX_TEXT: usize = 64 * 1024;

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
    /// The file that keeps a second executor out cannot be made.
    #[error(
        "cannot lock {path}: {source}. Where there is no such folder, enrol this appliance first"
    )]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Another executor is running here.
    #[error("an executor is running with {0} already; stop it first")]
    Running(PathBuf),
    /// The evidence key cannot be read.
    #[error(
        "cannot read the evidence key {path}: {source}. Restore it, or enrol the site again with a new epoch"
    )]
    KeyUnread {
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
    /// What activations need is not there.
    #[error("{0}")]
    Missing(String),
    /// Nothing tells this machine from others.
    #[error(
        "neither /run/current-system nor {0} says which machine this is: a baseline would belong to none"
    )]
    Anonymous(PathBuf),
    /// The kernel tells no boot id.
    #[error("/proc/sys/kernel/random/boot_id holds no boot id")]
    BootId,
    /// The ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Makes sure that no other executor runs with this data directory, for as long as the file is open: each
/// would take what the other is doing for what a crash interrupted.
///
/// The lock is one of fcntl(2), which a process does not share with its children: one that was just forked when
/// its executor was killed would hold a lock of flock(2) for a moment longer, and keep the next executor out.
pub fn lock(config: &Config) -> Result<File, LoadError> {
    let path = config.data_dir.join("serve.lock");
    let failed = |source| LoadError::Lock { path: path.clone(), source };
    let file = File::options().create(true).append(true).open(&path).map_err(failed)?;
    #[allow(clippy::cast_possible_truncation)] // The kernel's own constants fit its own structure.
    let whole = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    match fcntl(&file, FcntlArg::F_SETLK(&whole)) {
        Ok(_) => Ok(file),
        Err(Errno::EAGAIN | Errno::EACCES) => Err(LoadError::Running(config.data_dir.clone())),
        Err(errno) => Err(failed(errno.into())),
    }
}

/// Puts the engine together.
pub fn engine(config: &Config, mut random: Random) -> Result<Engine, LoadError> {
    let host = LinuxHost::default();
    if let Some(why) = config.activation.as_ref().and_then(|it| it.missing(&host)) {
        return Err(LoadError::Missing(why));
    }
    let closure = trust(config)?;
    // Before a ledger is made: an appliance that is not enrolled has none.
    let key = evidence_key(config)?;
    let mut fresh = [0; 10];
    random(&mut fresh);
    let reading = clock::read();
    let ledger = Ledger::open(&config.ledger(), Id::new(reading.wall, fresh), reading.boottime)?;
    let trust = trust_in_force(closure, &ledger.0)?;
    let machine = machine(config);
    let parts = Parts {
        author: author(config, key, &trust)?,
        baseline: baseline_in_force(closure_baseline(config), &ledger.0, &trust, &machine)?,
        trust,
        machine,
        windows: config.window.clone(),
        heal: config.heal.clone(),
        limits: config.activation.as_ref().map(|activation| activation.limits),
        source: config.activation.as_ref().map(|it| it.source).unwrap_or_default(),
        reboots: config.reboots,
        dry_run: config.dry_run,
        round_interval: config.round_interval(),
        retention_days: config.retention_days,
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

/// Runs the six checks once.
pub fn look(
    baseline: Result<Baseline, String>,
    ledger: &Ledger,
    host: &Arc<dyn Host>,
    random: Random,
) -> Result<Vec<Observed>, LoadError> {
    let about = circumstances(Some(ledger), random)?;
    let baseline = baseline.map(Arc::new);
    Ok(Observer::default().observe(host, baseline.as_ref().map_err(String::as_str), &about))
}

/// Whose baseline this machine's is, and what the checks cannot see on it. Nothing but the configuration
/// needs to be there: a box may be captured before it is enrolled.
pub fn to_capture(config: &Config, random: Random) -> Result<(Whose, Circumstances), LoadError> {
    let Machine { running, machine_id_sha256, .. } = machine(config);
    let bound_to = match (running, machine_id_sha256) {
        (Some(running), _) => Binding::System(running),
        (None, Some(id)) => Binding::MachineIdSha256(id),
        (None, None) => return Err(LoadError::Anonymous(config.machine_id.clone())),
    };
    let ledger = Ledger::read(&config.ledger()).ok();
    let whose = Whose {
        tenant: config.tenant.clone(),
        site: config.site.clone(),
        bound_to,
        newest_version: newest_baseline(config, ledger.as_ref()),
    };
    Ok((whose, circumstances(ledger.as_ref(), random)?))
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

pub(crate) fn evidence_key(config: &Config) -> Result<PrivateKey, LoadError> {
    let path = config.evidence_key();
    let pem = files::read_text(&path, MAX_TEXT)
        .map_err(|source| LoadError::KeyUnread { path: path.clone(), source })?;
    let pem = Zeroizing::new(pem);
    PrivateKey::from_pem(&pem).map_err(|source| LoadError::Key { path, source })
}

pub(crate) fn author(config: &Config, key: PrivateKey, trust: &Trust) -> Result<Author, LoadError> {
    if key.public() != trust.roles.evidence {
        return Err(LoadError::OtherKey(config.evidence_key()));
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
        system: patching::system(&LinuxHost::default()),
    })
}

/// The baseline that the system closure brings.
pub fn closure_baseline(config: &Config) -> Result<Vec<u8>, String> {
    files::read(&config.baseline, MAX_ENVELOPE)
        .map_err(|error| format!("cannot read the baseline {}: {error}", config.baseline.display()))
}

/// The trust file that the system closure brings.
pub(crate) fn trust(config: &Config) -> Result<Trust, LoadError> {
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

fn circumstances(ledger: Option<&Ledger>, mut random: Random) -> Result<Circumstances, LoadError> {
    let reading = clock::read();
    let high_water = ledger.map(|ledger| ledger.fact(Fact::HighWater)).transpose()?.flatten();
    let expected = ledger.map(|ledger| ledger.fact(Fact::ExpectedSystem)).transpose()?.flatten();
    let mut nonce = [0; 16];
    random(&mut nonce);
    Ok(Circumstances {
        now: trusted_now(reading, None, high_water),
        uptime: reading.boottime,
        expected_system: expected,
        nonce,
    })
}

/// The highest version of a baseline that was signed for this site, as far as is known here.
fn newest_baseline(config: &Config, ledger: Option<&Ledger>) -> Option<u64> {
    let kept = ledger.and_then(|ledger| ledger.newest_version(Document::Baseline).ok());
    let closure = || {
        let closure = trust(config).ok()?;
        let trust = match ledger {
            Some(ledger) => trust_in_force(closure, ledger).ok()?,
            None => closure,
        };
        let envelope = Envelope::parse(&closure_baseline(config).ok()?).ok()?;
        let baseline = envelope.open::<Baseline>(&trust.roles.baseline).ok()?.into_value();
        let ours = (&baseline.tenant, &baseline.site) == (&trust.tenant, &trust.site);
        ours.then_some(baseline.version)
    };
    kept.max(closure()).filter(|version| *version > 0)
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
    files::read_text(path, MAX_TEXT)
        .map_err(|source| LoadError::Read { path: path.to_owned(), source })
}
