//! `encryption`: required mounts and all swap stand on LUKS2.
//!
//! What stands on what comes from mountinfo, the table of swap areas and sysfs; cipher and key size from
//! the LUKS2 header, which only root may read. No process is started and no key slot is read.

mod capture;
mod devices;
mod judge;
pub mod luks;
pub mod mountinfo;
mod number;
pub mod swaps;

use compliance_protocol::name::AbsPath;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use capture::capture;
pub use devices::{Device, Kind, StandsOn};
pub use judge::judge;
pub use number::{DeviceNumber, NotADeviceNumber};

use crate::baseline::Baseline;
use crate::{Check, CheckId, Circumstances, Host, HostError, Report, Verdict};
use devices::{Devices, Headers};
use judge::Stack;
use mountinfo::Mounts;

/// What the encryption check expects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncryptionBaseline {
    /// Mount points that must be there and stand on LUKS2, as mountinfo names them: no symbolic links.
    pub mounts: Vec<AbsPath>,
    /// Whether all swap must stand on LUKS2 or in memory (zram). Default: yes.
    #[serde(default = "default_swap")]
    pub swap: bool,
    /// The ciphers that are strong enough, in dm-crypt's words. Default: `aes-xts-plain64`.
    #[serde(default = "default_ciphers")]
    pub ciphers: Vec<String>,
    /// The shortest key that is long enough, in bits. Default: 512, which in XTS mode is AES-256.
    #[serde(default = "default_min_key_bits")]
    pub min_key_bits: u32,
}

impl EncryptionBaseline {
    /// These mounts, and the defaults for all else.
    pub fn new(mounts: Vec<AbsPath>) -> Self {
        Self {
            mounts,
            swap: default_swap(),
            ciphers: default_ciphers(),
            min_key_bits: default_min_key_bits(),
        }
    }
}

/// The check.
#[derive(Debug, Default)]
pub struct Encryption {
    headers: Headers,
}

impl Check for Encryption {
    fn id(&self) -> CheckId {
        CheckId::Encryption
    }

    fn version(&self) -> u32 {
        1
    }

    fn run(&mut self, host: &dyn Host, baseline: &Baseline, _about: &Circumstances) -> Report {
        let (id, version) = (self.id(), self.version());
        let Some(expected) = baseline.encryption.expected() else {
            let why = "the baseline does not say what must be encrypted";
            return Report::new(id, version, Verdict::Unknown(why.to_owned()));
        };
        let seen = gather(host, expected, &mut self.headers);
        Report { check: id, version, verdict: judge(expected, &seen), facts: seen.to_json() }
    }
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncryptionFacts {
    /// Each required mount with what it stands on; `None` when nothing is mounted there.
    pub mounts: Vec<(AbsPath, Option<StandsOn>)>,
    /// What each swap area stands on; empty when the baseline does not ask.
    pub swaps: Result<Vec<StandsOn>, HostError>,
}

fn gather(
    host: &dyn Host,
    expected: &EncryptionBaseline,
    headers: &mut Headers,
) -> EncryptionFacts {
    let text = read_mountinfo(host);
    let mounts = text.as_ref().map_err(Clone::clone).and_then(|text| parse_mountinfo(text));
    let mut devices = Devices::new(host, headers);
    let required = expected.mounts.iter().map(|path| {
        let stands_on = match &mounts {
            Ok(mounts) => mounts.at(path.as_str().as_bytes()).map(|mount| devices.of_mount(mount)),
            Err(error) => Some(Err(error.clone())),
        };
        (path.clone(), stands_on)
    });
    let required = required.collect();
    let swaps =
        if expected.swap { look_at_swaps(host, &mounts, &mut devices) } else { Ok(Vec::new()) };
    EncryptionFacts { mounts: required, swaps }
}

fn look_at_swaps(
    host: &dyn Host,
    mounts: &Result<Mounts<'_>, HostError>,
    devices: &mut Devices<'_>,
) -> Result<Vec<StandsOn>, HostError> {
    let what = "the table of swap areas";
    let text = read(host, "/proc/swaps").map_err(|error| error.about(what))?;
    let swaps = swaps::parse(&text)
        .map_err(|error| HostError::Garbage { what: what.to_owned(), why: error.to_string() })?;
    let stands_on = |swap: &swaps::Swap<'_>| {
        let mounts = mounts.as_ref().map_err(Clone::clone)?;
        devices.of_swap(swap, mounts)
    };
    Ok(swaps.iter().map(stands_on).collect())
}

/// The machine's mounts are those of its first process. What confines us gives us mounts of our own: a folder that
/// stays writable is one, also where the volume that belongs there is missing.
fn read_mountinfo(host: &dyn Host) -> Result<Vec<u8>, HostError> {
    read(host, "/proc/1/mountinfo").map_err(|error| error.about("the table of mounts"))
}

fn parse_mountinfo(text: &[u8]) -> Result<Mounts<'_>, HostError> {
    let what = "the table of mounts".to_owned();
    Mounts::parse(text).map_err(|error| HostError::Garbage { what, why: error.to_string() })
}

fn read(host: &dyn Host, path: &str) -> Result<Vec<u8>, HostError> {
    let plain = path.parse().map_err(|_| HostError::NotFound(path.to_owned()))?;
    host.read(&plain, MAX_TABLE)
}

/// Some ten thousand mounts.
const MAX_TABLE: usize = 4 * 1024 * 1024;

const fn default_swap() -> bool {
    true
}

fn default_ciphers() -> Vec<String> {
    vec!["aes-xts-plain64".to_owned()]
}

const fn default_min_key_bits() -> u32 {
    512
}

impl EncryptionFacts {
    fn to_json(&self) -> Map<String, Value> {
        let one = |stands_on: &StandsOn| match stands_on {
            Ok(device) => Stack::of(device).to_json(),
            Err(error) => json!({ "error": error.to_string() }),
        };
        let mount = |(path, stands_on): &(AbsPath, Option<StandsOn>)| {
            let absent = || json!({ "mounted": false });
            (path.to_string(), stands_on.as_ref().map_or_else(absent, one))
        };
        let mut facts: Map<_, _> = self.mounts.iter().map(mount).collect();
        let swaps = match &self.swaps {
            Ok(swaps) => swaps.iter().map(one).collect(),
            Err(error) => json!({ "error": error.to_string() }),
        };
        facts.insert("swap".to_owned(), swaps);
        facts
    }
}
