//! Getting a system into the store: from a signed substituter, or built from a pinned flake; and keeping it.

use std::time::Duration;

use compliance_protocol::name::{FlakeRef, StorePath};

use super::activation::{ASKING, Hands};
use super::bystanders;

/// Fetching or building ends by then, in seconds, or when no time would be left for the rest.
const REALISING_S: u64 = 4 * 3600;

/// The daemon does it: the executor and what it starts have no network, nor need they write to the store.
pub(super) const BY_DAEMON: [&str; 2] = ["--store", "daemon"];

/// What was not there when it was asked for last may have been uploaded since.
pub(super) const ASK_AGAIN: [&str; 3] = ["--option", "narinfo-cache-negative-ttl", "0"];

/// Nothing is built, here or elsewhere.
const BUILD_NOTHING: [&str; 5] = ["--max-jobs", "0", "--option", "builders", ""];

impl Hands<'_> {
    /// Fetches or builds the target, and roots it; gives the path that came of it.
    pub(super) fn realise(&mut self) -> Result<StorePath, String> {
        let target = self.activation.target.clone();
        if let Some(flake) = &target.flake {
            let built = self.build(flake)?;
            if built != target.system {
                return Ok(built);
            }
        }
        let path = target.system.to_string();
        self.root("realise", &target.system, "next")
            .ok_or_else(|| format!("{path} is neither here nor in a signed substituter"))?;
        if let Some(wanted) = &target.nar_hash {
            let store = self.switching.nix_store.to_string();
            let asked = [store.as_str(), "--query", "--hash", path.as_str()];
            let asked = [&asked[..], &BY_DAEMON].concat();
            let printed = self.run("query_hash", &path, &asked, ASKING);
            let printed = printed.and_then(|bytes| String::from_utf8(bytes).ok());
            let found = printed.as_deref().and_then(|text| super::nar::from_nix(text.trim()));
            if found.as_ref() != Some(wanted) {
                return Err(format!("{path} does not have the NAR hash that the order names"));
            }
        }
        Ok(target.system)
    }

    /// Has it substituted, if it is not here, and kept. Nothing is built.
    pub(super) fn root(
        &mut self,
        name: &'static str,
        system: &StorePath,
        root: &str,
    ) -> Option<()> {
        let store = self.switching.nix_store.to_string();
        let root = format!("{}/{root}", self.switching.roots);
        // Quiet, or else there is a line for each path of a closure.
        let argv = [store.as_str(), "--realise", system.as_str(), "--add-root", &root, "--quiet"];
        let argv = [&argv[..], &BUILD_NOTHING, &ASK_AGAIN, &BY_DAEMON].concat();
        let limit = Duration::from_secs(self.may_prepare_s(REALISING_S));
        self.run(name, system.as_str(), &argv, limit).map(drop)
    }

    /// Builds a system as `nixos-rebuild` does, in a unit with a user of its own, which asks the Nix daemon:
    /// what evaluates a flake and fetches its inputs is neither root nor the executor.
    fn build(&mut self, flake: &FlakeRef) -> Result<StorePath, String> {
        let nix = self.switching.nix.to_string();
        let output = output_of(flake)
            .ok_or_else(|| format!("{flake} names no system: it has to end with #NAME"))?;
        let run = self.switching.systemd_run.to_string();
        let unit = format!("compliance-build-{}", self.activation.id);
        self.stop_left(&unit);
        let unit = format!("--unit={unit}");
        let limit_s = self.may_prepare_s(REALISING_S);
        let limit = format!("--property=RuntimeMaxSec={limit_s}");
        let argv = [
            run.as_str(),
            &unit,
            "--wait",
            "--pipe",
            "--collect",
            "--quiet",
            "--no-ask-password",
            &limit,
            "--property=TimeoutStopSec=10",
            "--property=DynamicUser=yes",
            "--property=CacheDirectory=compliance-build",
            "--property=ProtectHome=yes",
            "--setenv=HOME=/var/cache/compliance-build",
            "--setenv=PATH=/run/current-system/sw/bin",
            "--setenv=NIX_REMOTE=daemon",
            &nix,
            "--extra-experimental-features",
            "nix-command flakes",
            "build",
            "--quiet",
            "--no-link",
            "--print-out-paths",
            "--no-update-lock-file",
        ];
        let argv = [&argv[..], &ASK_AGAIN, &["--", &output]].concat();
        let limit = Duration::from_secs(limit_s + 60);
        let printed = self.run("build", flake.as_str(), &argv, limit);
        let printed = printed.ok_or_else(|| format!("{flake} could not be built"))?;
        let path = std::str::from_utf8(&printed).ok().and_then(|text| text.trim().parse().ok());
        path.ok_or_else(|| format!("{flake} was built, and gave no store path"))
    }
}

impl Hands<'_> {
    /// Stops a build that an executor which is gone has left: with its name, no other can begin.
    fn stop_left(&mut self, unit: &str) {
        let service = format!("{unit}.service");
        let state = bystanders::unit(self.host, &service);
        if !matches!(state.as_deref(), Some("inactive" | "failed")) {
            self.systemctl("stop_build", &["stop", "--", &service]);
        }
    }
}

/// The output that is the system which `flake` names.
fn output_of(flake: &FlakeRef) -> Option<String> {
    let (url, name) = flake.as_str().split_once('#')?;
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    let named = !name.is_empty() && name.bytes().all(is_plain);
    named.then(|| format!("{url}#nixosConfigurations.{name}.config.system.build.toplevel"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flake_names_a_system_as_for_nixos_rebuild_and_nothing_else() {
        let output = |flake: &str| output_of(&flake.parse().unwrap());
        let flake = format!("github:acme/clinics/{}", "0".repeat(40));
        assert_eq!(
            output(&format!("{flake}#clinic-042")).unwrap(),
            format!("{flake}#nixosConfigurations.clinic-042.config.system.build.toplevel")
        );
        assert_eq!(output(&flake), None);
    }
}
