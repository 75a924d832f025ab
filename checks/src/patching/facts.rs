//! Which systems run, were booted, and are installed.

use compliance_protocol::evidence::System;
use compliance_protocol::name::{AbsPath, StorePath};
use compliance_protocol::time::Timestamp;
use serde_json::{Map, Value, json};

use crate::{Host, HostError};

/// The link to the running system.
pub const RUNNING: &str = "/run/current-system";
/// The link to the system that was booted.
pub(super) const BOOTED: &str = "/run/booted-system";
/// The link to the newest installed generation, or to the one that was rolled back to.
pub(super) const PROFILE: &str = "/nix/var/nix/profiles/system";

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The running system.
    pub running: Result<StorePath, HostError>,
    /// When it was activated, by the link to it.
    pub activated_at: Result<Timestamp, HostError>,
    /// The booted system.
    pub booted: Result<StorePath, HostError>,
    /// The system that the profile names.
    pub profile: Result<StorePath, HostError>,
    /// When the profile was set to it.
    pub profile_set_at: Result<Timestamp, HostError>,
    /// Its generation.
    pub generation: Result<Generation, HostError>,
    /// Whether the profile's system needs a reboot.
    pub reboot: Result<Option<Pending>, HostError>,
}

/// A generation of the system profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation {
    /// Its number.
    pub number: u64,
    /// When it was made.
    pub made_at: Timestamp,
}

/// A reboot that is pending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// What differs between the booted and the profile's system.
    pub parts: Vec<&'static str>,
    /// When the oldest of the generations was made that, from the profile's back, all need a reboot.
    pub since: Timestamp,
    /// The one before that needs none. Otherwise it was deleted, and the reboot may be pending for longer.
    pub since_is_known: bool,
}

/// Looks at the links.
pub fn gather(host: &dyn Host) -> Facts {
    let [running, booted, profile] = [RUNNING, BOOTED, PROFILE].map(|link| store_path(host, link));
    let generation = generation(host);
    let reboot = match (&booted, &profile, &generation) {
        (Ok(booted), Ok(profile), _) if booted == profile => Ok(None),
        (Ok(booted), Ok(profile), Ok(generation)) => pending(host, booted, profile, *generation),
        (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => Err(error.clone()),
    };
    Facts {
        running,
        activated_at: path(RUNNING).and_then(|link| host.link_time(&link)),
        booted,
        profile,
        profile_set_at: path(PROFILE).and_then(|link| host.link_time(&link)),
        generation,
        reboot,
    }
}

pub(super) fn system(host: &dyn Host) -> System {
    let running = store_path(host, RUNNING).ok();
    let revision = ["configuration-revision", "nixos-version"].into_iter().find_map(|file| {
        let text = read(host, &format!("{}/{file}", running.as_ref()?)).ok()?;
        revision(&text)
    });
    System {
        booted: store_path(host, BOOTED).ok(),
        generation: generation(host).ok().map(|generation| generation.number),
        revision,
        running,
    }
}

impl Facts {
    pub(super) fn to_json(&self) -> Map<String, Value> {
        let generation = self.generation.as_ref().ok();
        let pending = self.reboot.as_ref().ok().and_then(Option::as_ref);
        let facts = json!({
            "running": self.running.as_ref().ok(),
            "booted": self.booted.as_ref().ok(),
            "profile": self.profile.as_ref().ok(),
            "generation": generation.map(|generation| generation.number),
            "generation_made_at": generation.map(|generation| generation.made_at),
            "reboot_pending": pending.map(|pending| &pending.parts),
            "reboot_pending_since": pending.filter(|p| p.since_is_known).map(|p| p.since),
            "reboot_pending_at_least_since": pending.filter(|p| !p.since_is_known).map(|p| p.since),
        });
        match facts {
            Value::Object(facts) => facts.into_iter().filter(|(_, fact)| !fact.is_null()).collect(),
            _ => Map::new(),
        }
    }
}

/// The parts of a system that only a boot brings in: what the link or file is called, whether it is a link,
/// and what people call it.
const BOOT_PARTS: [(&str, bool, &str); 4] = [
    ("kernel", true, "kernel"),
    ("initrd", true, "initrd"),
    ("kernel-modules", true, "kernel modules"),
    ("kernel-params", false, "kernel parameters"),
];

/// How many generations are looked at for the start of a pending reboot.
const MAX_BACK: u64 = 64;

/// The number of a profile's first generation.
const FIRST: u64 = 1;

const MAX_PARAMS: usize = 64 * 1024;

/// Whether `profile` needs a reboot after `booted`, and since which generation.
fn pending(
    host: &dyn Host,
    booted: &StorePath,
    profile: &StorePath,
    newest: Generation,
) -> Result<Option<Pending>, HostError> {
    let have = boot_parts(host, booted.as_str())?;
    let parts = differing(&have, &boot_parts(host, profile.as_str())?);
    if parts.is_empty() {
        return Ok(None);
    }
    let (since, since_is_known) = pending_since(host, &have, newest);
    Ok(Some(Pending { parts, since, since_is_known }))
}

/// When the oldest of the generations was made that all differ from what was booted, and whether none that
/// was deleted, or cannot be read, may be an older one.
fn pending_since(
    host: &dyn Host,
    booted: &[Option<String>],
    newest: Generation,
) -> (Timestamp, bool) {
    let mut since = newest.made_at;
    let last = newest.number.saturating_sub(MAX_BACK).max(FIRST);
    for number in (last..newest.number).rev() {
        let link = generation_link(number);
        let made_at = path(&link).and_then(|link| host.link_time(&link));
        let parts = store_path(host, &link).and_then(|system| boot_parts(host, system.as_str()));
        match (made_at, parts) {
            (Ok(made_at), Ok(parts)) if !differing(booted, &parts).is_empty() => since = made_at,
            (Ok(_), Ok(_)) => return (since, true),
            _ => return (since, false),
        }
    }
    (since, last == FIRST)
}

/// Each of the parts of the system at `system`; `None` for one that it does not have, as a container's.
fn boot_parts(host: &dyn Host, system: &str) -> Result<Vec<Option<String>>, HostError> {
    let part = |(name, is_link, _): &(&str, bool, &str)| {
        let part = format!("{system}/{name}");
        let found = if *is_link {
            path(&part).and_then(|part| host.resolve(&part)).map(String::from)
        } else {
            read(host, &part)
        };
        match found {
            Ok(found) => Ok(Some(found)),
            Err(HostError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    };
    BOOT_PARTS.iter().map(part).collect()
}

fn differing(have: &[Option<String>], want: &[Option<String>]) -> Vec<&'static str> {
    let pairs = BOOT_PARTS.iter().zip(have.iter().zip(want));
    pairs.filter(|(_, (have, want))| have != want).map(|((.., name), _)| *name).collect()
}

/// The profile's generation: `system` leads to `system-42-link` beside it.
fn generation(host: &dyn Host) -> Result<Generation, HostError> {
    let target = host.read_link(&path(PROFILE)?)?;
    let name = target.rsplit('/').next().unwrap_or_default();
    let number = name.strip_prefix("system-").and_then(|rest| rest.strip_suffix("-link"));
    let number =
        number.and_then(|number| number.parse().ok()).ok_or_else(|| HostError::Garbage {
            what: PROFILE.to_owned(),
            why: "it does not lead to a generation".to_owned(),
        })?;
    let made_at = host.link_time(&path(&generation_link(number))?)?;
    Ok(Generation { number, made_at })
}

fn generation_link(number: u64) -> String {
    format!("{PROFILE}-{number}-link")
}

fn store_path(host: &dyn Host, link: &str) -> Result<StorePath, HostError> {
    let path = path(link)?;
    if let Ok(direct) = host.read_link(&path)?.parse() {
        return Ok(direct);
    }
    host.resolve(&path)?.as_str().parse().map_err(|_| HostError::Garbage {
        what: link.to_owned(),
        why: "it does not lead to a store path".to_owned(),
    })
}

fn read(host: &dyn Host, file: &str) -> Result<String, HostError> {
    let bytes = host.read(&path(file)?, MAX_PARAMS)?;
    let why = "it is not text".to_owned();
    String::from_utf8(bytes).map_err(|_| HostError::Garbage { what: file.to_owned(), why })
}

/// A revision or version, if the text is one.
fn revision(text: &str) -> Option<String> {
    let text = text.trim();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"+-._".contains(&b);
    ((1..=128).contains(&text.len()) && text.bytes().all(plain)).then(|| text.to_owned())
}

fn path(text: &str) -> Result<AbsPath, HostError> {
    text.parse().map_err(|_| HostError::NotFound(text.to_owned()))
}
