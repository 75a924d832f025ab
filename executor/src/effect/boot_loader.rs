//! The boot loader: what it starts by default, and how it is told to try another system once.
//!
//! systemd-boot keeps what it is to try once in a variable of the firmware, and takes it out before it starts
//! it: a boot that fails is followed by one of the default.

use std::fs;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use compliance_checks::HostError;
use compliance_daemon::files;
use compliance_protocol::name::{AbsPath, StorePath};

use super::activation::{Hands, READ};
use super::realise::BY_DAEMON;
use crate::activation::{Loader, Which};
use crate::boot_default::{self, Entries};
use crate::config::BootLoader;
use crate::guard::{Guard, MARKER};

/// Variables of the boot loader (systemd's Boot Loader Interface).
const VARIABLES: &str = "/sys/firmware/efi/efivars";
const VENDOR: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// `EFI_LOADER_FEATURE_ENTRY_ONESHOT`.
const ONE_SHOT: u64 = 1 << 3;

/// The entry of the system that is tried comes from this profile, so that the system profile stays as it is.
const TRIAL: &str = "system-profiles/compliance-trial";

/// How much later than the dead-man the guard of a trial boot acts, in seconds: the executor may need that long
/// to start.
const GUARD_SLACK_S: u32 = 600;

/// Something that could not be looked at.
pub(super) struct Unseen;

/// Setting a profile, and telling the boot loader, end by then.
const LIMIT: Duration = Duration::from_mins(2);

impl Hands<'_> {
    /// Which system boots by default.
    pub(super) fn boot_default(&mut self) -> Option<StorePath> {
        let BootLoader::Grub { configuration } = &self.switching.boot_loader else {
            let entries = self.entries()?;
            return match self.variable("LoaderEntryOneShot").ok()? {
                None => entries.default(),
                // `bootctl` then calls that one the default.
                Some(_) => entries.called(&self.configured_default()?),
            };
        };
        boot_default::of_grub(&self.host.read(configuration, READ).ok()?)
    }

    /// Which system boots once, if any.
    pub(super) fn once(&mut self) -> Result<Option<StorePath>, Unseen> {
        if self.bootctl().is_none() {
            return Ok(None);
        }
        let Some(value) = self.variable("LoaderEntryOneShot")? else { return Ok(None) };
        let entry = boot_default::text_of(&value).ok_or(Unseen)?;
        let entries = self.entries().ok_or(Unseen)?;
        entries.called(&entry).map(Some).ok_or(Unseen)
    }

    /// Whether it can try a system once.
    pub(super) fn loader(&self) -> Loader {
        let features = || -> Option<u64> {
            self.bootctl()?;
            let value = self.variable("LoaderFeatures").ok()??;
            Some(u64::from_le_bytes(value.try_into().ok()?))
        };
        match features() {
            Some(features) if features & ONE_SHOT != 0 => Loader::TriesOnce,
            _ => Loader::DefaultOnly,
        }
    }

    /// Whether somebody pinned what boots, so that what is installed has no say.
    pub(super) fn is_pinned(&self) -> Option<bool> {
        if self.bootctl().is_none() {
            return Some(false);
        }
        Some(self.variable("LoaderEntryDefault").ok()?.is_some())
    }

    /// Leaves a guard on disk, and gives the target an entry, which leaves the default alone: the installer of
    /// what boots by default writes it. Then has it tried once.
    pub(super) fn try_once(&mut self) {
        if let Err(error) = self.leave_guard() {
            tracing::error!(%error, "no guard can be left for a trial boot, so there is none");
            return;
        }
        let target = self.activation.target.system.clone();
        self.forget_trial();
        let profile = self.trial_profile();
        if let Some(folder) = profile.parent()
            && let Err(error) = fs::create_dir_all(folder)
        {
            tracing::error!(%error, ?folder, "the profile of a trial boot cannot be made");
        }
        let (nix_env, profile) =
            (self.switching.nix_env.to_string(), profile.display().to_string());
        let argv = [nix_env.as_str(), "-p", &profile, "--set", target.as_str()];
        let argv = [&argv[..], &BY_DAEMON].concat();
        self.run("set_trial_profile", target.as_str(), &argv, LIMIT);
        self.switch("install_trial", Which::Before, "boot");
        let entry = self.entries().and_then(|entries| entries.of(&target));
        if let (Some(entry), Some(bootctl)) = (entry, self.bootctl()) {
            self.run("try_once", target.as_str(), &[&bootctl, "set-oneshot", &entry], LIMIT);
        }
    }

    /// Has it try nothing, and takes the guard off the disk.
    pub(super) fn forget_once(&mut self) {
        let target = self.activation.target.system.to_string();
        if let Some(bootctl) = self.bootctl() {
            self.run("forget_once", &target, &[&bootctl, "set-oneshot", ""], LIMIT);
        }
        // Its entry goes with the next installation of whatever is to boot.
        self.forget_trial();
        self.forget_guard();
    }

    /// Or else a later boot might take it up.
    pub(super) fn forget_guard(&self) {
        if let Some(place) = self.guard_place()
            && let Err(error) = files::remove(&place)
        {
            tracing::warn!(%error, "the guard of a trial boot cannot be removed");
        }
    }

    /// Or else its generation could become what boots by default: it is installed last.
    pub(super) fn forget_trial(&self) {
        let profile = self.trial_profile();
        let (Some(folder), Some(name)) = (profile.parent(), profile.file_name()) else { return };
        let of_trial = |entry: &fs::DirEntry| {
            entry.file_name().as_encoded_bytes().starts_with(name.as_encoded_bytes())
        };
        for link in fs::read_dir(folder).into_iter().flatten().flatten().filter(of_trial) {
            if let Err(error) = fs::remove_file(link.path()) {
                tracing::warn!(%error, link = ?link.path(), "an earlier trial cannot be forgotten");
            }
        }
    }

    /// It acts later than the dead-man that the executor arms when the boot has brought the target.
    fn leave_guard(&self) -> Result<(), Error> {
        let order = self.undoing().ok_or(ErrorKind::InvalidInput)?;
        let place = self.guard_place().ok_or(ErrorKind::NotFound)?;
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder)?;
        }
        let after_s = self.activation.limits.deadman_s.saturating_add(GUARD_SLACK_S);
        Guard { order, after_s }.leave(&place)
    }

    /// Where the target looks for its guard.
    pub(super) fn guard_place(&self) -> Option<PathBuf> {
        let marker = format!("{}/{MARKER}", self.activation.target.system).parse().ok()?;
        let text = self.host.read(&marker, READ).ok()?;
        let place: AbsPath = std::str::from_utf8(&text).ok()?.trim().parse().ok()?;
        Some(PathBuf::from(place.as_str()))
    }

    fn trial_profile(&self) -> PathBuf {
        Path::new(self.switching.profile.as_str()).with_file_name(TRIAL)
    }

    fn bootctl(&self) -> Option<String> {
        match &self.switching.boot_loader {
            BootLoader::SystemdBoot { bootctl } => Some(bootctl.to_string()),
            BootLoader::Grub { .. } => None,
        }
    }

    fn entries(&mut self) -> Option<Entries> {
        let bootctl = self.bootctl()?;
        Entries::parse(&self.ask(&[&bootctl, "list", "--json=short"])?)
    }

    /// The entry that the firmware's variable, or else the loader's configuration, calls the default.
    fn configured_default(&self) -> Option<String> {
        if let Some(value) = self.variable("LoaderEntryDefault").ok()? {
            return boot_default::text_of(&value);
        }
        let path: AbsPath = format!("{}/loader/loader.conf", self.switching.boot).parse().ok()?;
        boot_default::configured(&self.host.read(&path, READ).ok()?)
    }

    /// A variable's value without its attributes, if it is set.
    fn variable(&self, name: &str) -> Result<Option<Vec<u8>>, Unseen> {
        let path: AbsPath = format!("{VARIABLES}/{name}-{VENDOR}").parse().map_err(|_| Unseen)?;
        match self.host.read(&path, READ) {
            Ok(value) => value.get(4..).map(|value| Some(value.to_vec())).ok_or(Unseen),
            Err(HostError::NotFound(_)) => Ok(None),
            Err(_) => Err(Unseen),
        }
    }
}
