//! What the configuration of activations must hold, beyond types.

use compliance_checks::{Host, HostError};
use compliance_protocol::name::{AbsPath, StorePath};

use super::{BootLoader, Switching};

/// More probes than this leave too little time for each.
const MAX_PROBES: usize = 16;

impl Switching {
    /// What would let an activation go wrong, by the names alone.
    pub(super) fn contradiction(&self) -> Option<String> {
        if in_store(&self.helper).is_none() {
            return Some(format!(
                "`activation.helper` is {}, and the dead-man must run from a closure that stays: give the program by its path in /nix/store",
                self.helper
            ));
        }
        let moves = |(_, path): &(&str, &AbsPath)| path.as_str().starts_with("/run/");
        if let Some((name, path)) = self.programs().into_iter().find(moves) {
            return Some(format!(
                "`activation.{name}` is {path}, which a switch changes: give the program by its path in /nix/store"
            ));
        }
        if !self.folder.as_str().starts_with("/run/") {
            return Some(format!(
                "`activation.folder` is {}, and what is decided must be forgotten by a boot: give a folder under /run",
                self.folder
            ));
        }
        if self.probes.len() > MAX_PROBES {
            return Some(format!("`activation.probes` has more than {MAX_PROBES} units"));
        }
        let service = |unit: &str| unit.ends_with(".service");
        if let Some(unit) = self.probes.iter().find(|unit| !service(unit.as_str())) {
            return Some(format!("`activation.probes` names {unit}: a probe is a oneshot service"));
        }
        self.limits.check().err().map(|error| error.to_string())
    }

    /// What it names and is not a program on this machine.
    pub fn missing(&self, host: &dyn Host) -> Option<String> {
        let helper = ("helper", &self.helper);
        let programs = self.programs().into_iter().chain([helper]);
        programs.into_iter().find_map(|(name, path)| {
            let why = match host.stat(path) {
                Ok(stat) if stat.regular => return None,
                Ok(_) => "no program".to_owned(),
                Err(HostError::NotFound(_)) => "not there".to_owned(),
                Err(error) => error.to_string(),
            };
            Some(format!("`activation.{name}` is {path}: {why}. Correct the configuration"))
        })
    }

    fn programs(&self) -> Vec<(&'static str, &AbsPath)> {
        let mut programs = vec![
            ("systemctl", &self.systemctl),
            ("systemd_run", &self.systemd_run),
            ("nix_store", &self.nix_store),
            ("nix_env", &self.nix_env),
            ("nix", &self.nix),
        ];
        if let BootLoader::SystemdBoot { bootctl } = &self.boot_loader {
            programs.push(("boot_loader.bootctl", bootctl));
        }
        programs
    }
}

/// The store path that `path` is, or is in.
fn in_store(path: &AbsPath) -> Option<StorePath> {
    let name = path.as_str().strip_prefix("/nix/store/")?.split('/').next()?;
    format!("/nix/store/{name}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use compliance_testkit::FakeHost;

    const HELPER: &str = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-x/bin/compliance-executor";

    fn switching(change: impl FnOnce(&mut toml::Table)) -> Switching {
        let text = format!(
            "systemctl = '/usr/bin/systemctl'\nsystemd_run = '/usr/bin/systemd-run'\n\
             nix_store = '/usr/bin/nix-store'\nnix_env = '/usr/bin/nix-env'\nnix = '/usr/bin/nix'\n\
             helper = '{HELPER}'\nroots = '/var/lib/roots'\nboot = '/boot'\n\
             boot_loader = {{ type = 'systemd-boot', bootctl = '/usr/bin/bootctl' }}\n\
             profile = '/nix/var/nix/profiles/system'\nfolder = '/run/compliance'\n"
        );
        let mut table: toml::Table = toml::from_str(&text).unwrap();
        change(&mut table);
        table.try_into().unwrap()
    }

    fn with(name: &str, value: &str) -> Option<String> {
        switching(|table| drop(table.insert(name.to_owned(), value.into()))).contradiction()
    }

    #[test]
    fn the_dead_mans_program_is_in_the_store() {
        assert_eq!(with("helper", HELPER), None);
        let file = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-compliance-executor";
        assert_eq!(with("helper", file), None, "the store path may be the program itself");
        for elsewhere in [
            "/usr/bin/compliance-executor",
            "/run/current-system/sw/bin/compliance-executor",
            "/nix/store/compliance-executor",
        ] {
            let why = with("helper", elsewhere).unwrap();
            assert!(why.contains(elsewhere) && why.contains("/nix/store"), "{why}");
        }
    }

    #[test]
    fn no_program_is_named_by_a_path_that_a_switch_changes() {
        for name in ["systemctl", "systemd_run", "nix_store", "nix_env", "nix"] {
            let why = with(name, "/run/current-system/sw/bin/x").unwrap();
            assert!(why.contains(&format!("`activation.{name}`")), "{why}");
        }
    }

    #[test]
    fn decisions_are_in_memory() {
        for elsewhere in ["/var/lib/compliance", "/run", "/runs/x"] {
            let why = with("folder", elsewhere).unwrap();
            assert!(why.contains("under /run"), "{elsewhere}: {why}");
        }
    }

    #[test]
    fn probes_are_few_services() {
        let probes = |units: Vec<String>| {
            switching(|table| drop(table.insert("probes".to_owned(), units.into()))).contradiction()
        };
        let services = |count| (0..count).map(|n| format!("probe-{n}.service")).collect();
        assert_eq!(probes(services(16)), None);
        assert!(probes(services(17)).unwrap().contains("more than 16"));
        assert!(probes(vec!["x.timer".to_owned()]).unwrap().contains("x.timer"));
    }

    #[test]
    fn each_program_that_is_not_there_is_named() {
        let host = FakeHost::default();
        let switching = switching(|_| ());
        let tools = ["systemctl", "systemd-run", "nix-store", "nix-env", "nix", "bootctl"];
        for tool in tools {
            let why = switching.missing(&host).unwrap();
            assert!(why.contains(&format!("is /usr/bin/{tool}: not there")), "{why}");
            host.write(&format!("/usr/bin/{tool}"), "");
        }
        assert!(switching.missing(&host).unwrap().contains(HELPER));
        host.write(HELPER, "");
        assert_eq!(switching.missing(&host), None);
    }
}
