//! Whether somebody known signed what a new system brings.
//!
//! A path from a substituter comes into the store as the daemon's own configuration lets it: `require-sigs` there
//! is heeded, and nobody who asks for more is. So it is looked at once more before anything of it runs. What an
//! earlier system of this machine had already is left out: an image brings its paths without signatures.

use std::collections::BTreeSet;
use std::time::Duration;

use compliance_protocol::name::{AbsPath, StorePath};

use super::activation::{Hands, command};
use super::realise::BY_DAEMON;

/// The store has answered about each path of a closure by then.
const ASKING: Duration = Duration::from_mins(10);

/// So many earlier systems count, the newest.
const MAX_EARLIER: usize = 32;

impl Hands<'_> {
    /// Makes sure that what the target brings was signed with a key that the machine's configuration of Nix
    /// trusts, was built here, or is named by its contents; or why not.
    pub(super) fn check_signatures(&mut self) -> Result<(), String> {
        let target = self.activation.target.system.clone();
        let unseen = || format!("which paths {target} brings could not be asked of the store");
        let known = self.closure(&self.earlier()).ok_or_else(unseen)?;
        let brought = self.closure(std::slice::from_ref(&target)).ok_or_else(unseen)?;
        let brought: Vec<_> = brought.difference(&known).map(String::as_str).collect();
        if brought.is_empty() {
            return Ok(());
        }
        let nix = self.switching.nix.to_string();
        let argv = [nix.as_str(), "--extra-experimental-features", "nix-command"];
        let verify = ["store", "verify", "--no-contents", "--quiet", "--stdin"];
        let argv = [&argv[..], &verify, &BY_DAEMON].concat();
        let verify = command(&argv, ASKING).ok_or_else(unseen)?;
        let verify = compliance_checks::command::Command {
            input: brought.join("\n").into_bytes(),
            ..verify
        };
        let verified = self.take_step("verify_signatures", target.as_str(), &verify);
        verified.then_some(()).ok_or_else(|| {
            format!(
                "{target} brings paths that nobody signed whom this machine trusts: `nix store verify --recursive --no-contents {target}` names them"
            )
        })
    }

    /// The systems that are or were this machine's.
    fn earlier(&self) -> Vec<StorePath> {
        let profile = self.switching.profile.as_str();
        let (folder, name) = profile.rsplit_once('/').unwrap_or_default();
        let listed = folder.parse::<AbsPath>().ok().and_then(|it| self.host.list(&it).ok());
        let mut generations: Vec<u64> = listed
            .unwrap_or_default()
            .iter()
            .filter_map(|link| link.strip_prefix(name)?.strip_prefix('-')?.strip_suffix("-link"))
            .filter_map(|number| number.parse().ok())
            .collect();
        generations.sort_unstable_by(|a, b| b.cmp(a));
        let generations = generations.iter().take(MAX_EARLIER);
        let links = generations.map(|number| format!("{profile}-{number}-link"));
        let now = ["/run/current-system", "/run/booted-system", profile].map(str::to_owned);
        let systems = now.into_iter().chain(links).filter_map(|link| self.link(&link));
        systems.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The paths of these systems, and all that they need.
    fn closure(&self, systems: &[StorePath]) -> Option<BTreeSet<String>> {
        let nix_store = self.switching.nix_store.to_string();
        let systems: Vec<_> = systems.iter().map(StorePath::as_str).collect();
        if systems.is_empty() {
            return Some(BTreeSet::new());
        }
        let argv = [&[nix_store.as_str(), "--query", "--requisites"], &systems[..], &BY_DAEMON];
        let printed = self.ask_within(&argv.concat(), ASKING)?.stdout;
        Some(String::from_utf8(printed).ok()?.lines().map(str::to_owned).collect())
    }
}
