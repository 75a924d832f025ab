//! `compliancectl baseline`.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use compliance_checks::baseline::{Baseline, Binding};
use compliance_protocol::digest::Digest;
use compliance_protocol::envelope::{Envelope, Payload as _};
use compliance_protocol::key::KeySet;
use compliance_protocol::name::{Site, Tenant};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::output::Paint;
use crate::verify::peek;
use crate::{Context, Error, Verdict, files};

/// Sign and show baselines.
#[derive(Debug, Subcommand)]
pub enum BaselineCommand {
    /// Sign a baseline that a person wrote, or captured and reviewed, in TOML.
    Sign {
        /// The baseline, TOML.
        file: PathBuf,
        /// A baseline private key; once for each signer.
        #[arg(long = "key", value_name = "FILE", required = true)]
        keys: Vec<PathBuf>,
        /// Where the envelope goes. An older baseline of the same site is replaced, nothing else.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Show what a signed baseline says, and with --key whether it is signed.
    Show {
        /// The envelope.
        file: PathBuf,
        /// A baseline public key that must have signed.
        #[arg(long = "key", value_name = "FILE")]
        keys: Vec<PathBuf>,
    },
}

/// A signed baseline.
#[derive(Debug, Serialize)]
struct Described {
    baseline: Value,
    /// What orders and evidence name it by.
    baseline_sha256: Digest,
    /// `None`: no key was given, so nobody looked.
    signed: Option<bool>,
}

/// What a baseline says of itself, also one of another release.
#[derive(Deserialize)]
struct Claims {
    version: u64,
    tenant: Tenant,
    site: Site,
    bound_to: Binding,
}

impl Claims {
    fn of(baseline: &Value) -> Option<Self> {
        Self::deserialize(baseline).ok()
    }
}

impl Described {
    /// Version, site and machine, as the baseline says them.
    fn whose(&self) -> String {
        let Some(Claims { version, tenant, site, bound_to }) = Claims::of(&self.baseline) else {
            return "nothing that this release knows as a baseline".to_owned();
        };
        let bound_to = match bound_to {
            Binding::System(system) => format!("the NixOS system {system}"),
            Binding::MachineIdSha256(id) => format!("the machine whose id has the SHA-256 {id}"),
        };
        format!("version {version} for {tenant}/{site}, bound to {bound_to}")
    }

    /// The baseline as a person writes it; as JSON, if this release cannot read it.
    fn text(&self) -> String {
        let read = serde_json::from_value::<Baseline>(self.baseline.clone()).ok();
        let written = read.and_then(|baseline| toml::to_string_pretty(&baseline).ok());
        written.unwrap_or_else(|| format!("{:#}\n", self.baseline))
    }
}

/// Carries out a command of the group.
pub fn run(context: &Context, command: BaselineCommand) -> Result<Verdict, Error> {
    match command {
        BaselineCommand::Sign { file, keys, out } => {
            let signed = sign(&file, &keys, &out)?;
            context.output.show(&signed, |signed, _| {
                format!(
                    "signed\n  what    {}\n  sha256  {}\n  file    {}",
                    signed.whose(),
                    signed.baseline_sha256,
                    out.display()
                )
            })?;
            Ok(Verdict::Holds)
        }
        BaselineCommand::Show { file, keys } => {
            let shown = look(&file, &keys)?;
            context.output.show(&shown, describe)?;
            Ok(if shown.signed == Some(false) { Verdict::Fails } else { Verdict::Holds })
        }
    }
}

fn sign(file: &Path, keys: &[PathBuf], out: &Path) -> Result<Described, Error> {
    let baseline: Baseline = compliance_daemon::config::read(file)?;
    if baseline.version == 0 {
        return Err(Error::Usage(format!("{}: the first version is 1", file.display())));
    }
    let replaces = follows(&baseline, out)?;
    let keys = keys.iter().map(|path| files::private_key(path)).collect::<Result<Vec<_>, _>>()?;
    let bytes = compliance_signing::sign(&baseline, &keys.iter().collect::<Vec<_>>())?;
    if replaces {
        files::replace(out, &bytes, files::PUBLIC)?;
    } else {
        files::create(out, &bytes, files::PUBLIC)?;
    }
    let baseline_sha256 = Digest::of(&compliance_protocol::json::to_canonical(&baseline)?);
    Ok(Described { baseline: to_value(&baseline)?, baseline_sha256, signed: Some(true) })
}

/// Whether the baseline takes the place of an older one of the same site at `out`. Nothing else is
/// replaced. This catches slips before anything is signed; that no appliance goes back by an order is for
/// the appliance to see to.
fn follows(baseline: &Baseline, out: &Path) -> Result<bool, Error> {
    if !out.exists() {
        return Ok(false);
    }
    let (kind, before) = peek(out, &files::envelope(out)?)?;
    let refused = |why: String| Err(Error::Usage(format!("{} {why}", out.display())));
    let Some(before) = Claims::of(&before).filter(|_| kind == Baseline::TYPE) else {
        return refused("holds no baseline; name another file".to_owned());
    };
    let Baseline { version, tenant, site, .. } = baseline;
    if (&before.tenant, &before.site) != (tenant, site) {
        let Claims { tenant, site, .. } = before;
        return refused(format!("is the baseline of {tenant}/{site}; name another file"));
    }
    if before.version >= *version {
        let before = before.version;
        return refused(format!(
            "is version {before} already, and versions only grow: this one says version {version}"
        ));
    }
    Ok(true)
}

fn look(file: &Path, keys: &[PathBuf]) -> Result<Described, Error> {
    let bytes = files::envelope(file)?;
    let (kind, baseline) = peek(file, &bytes)?;
    if kind != Baseline::TYPE {
        return Err(Error::Usage(format!("{} holds a {kind:?}, not a baseline", file.display())));
    }
    let keys = keys.iter().map(|path| files::public_key(path)).collect::<Result<Vec<_>, _>>()?;
    let signed = if keys.is_empty() {
        None
    } else {
        let all = keys.len();
        let keys = KeySet::new(keys, all).map_err(Error::KeySet)?;
        let envelope = Envelope::parse(&bytes)
            .map_err(|source| Error::Envelope { path: file.to_owned(), source })?;
        Some(envelope.open::<Baseline>(&keys).is_ok())
    };
    let canonical = compliance_protocol::json::to_canonical(&baseline)?;
    Ok(Described { baseline, baseline_sha256: Digest::of(&canonical), signed })
}

fn describe(shown: &Described, _: Paint) -> String {
    let verdict = match shown.signed {
        None => "not checked: give --key",
        Some(true) => "by the keys given",
        Some(false) => "NOT by the keys given",
    };
    let whose = shown.whose();
    format!(
        "what    {whose}\nsha256  {}\nsigned  {verdict}\n\n{}",
        shown.baseline_sha256,
        shown.text()
    )
}

fn to_value(baseline: &Baseline) -> Result<Value, Error> {
    serde_json::to_value(baseline)
        .map_err(|source| Error::Sign(compliance_protocol::json::JsonError::Shape(source)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Role, generate};

    const TOML: &str = r#"
        version = 1
        tenant = "acme"
        site = "clinic-042"

        [bound_to]
        machine_id_sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

        [patching]
        not_applicable = "this machine is not NixOS"

        [services]
        units = [{ unit = "nginx.service", disruptive = true }]

        [[backups.jobs]]
        name = "records"
        status_file = "/var/backup/records.json"
        run = { argv = ["/usr/local/bin/backup"] }

        [firewall]
        sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        ruleset = """
table inet filter {
}
"""
        [firewall.tables."inet filter"]

        [logging]

        [encryption]
        mounts = ["/"]
    "#;

    /// A folder with two baseline keys.
    struct Desk {
        dir: tempfile::TempDir,
        good: crate::key::KeyPair,
        other: crate::key::KeyPair,
    }

    impl Desk {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let key = |name, seed| generate(Role::Baseline, dir.path(), name, &[seed; 32]).unwrap();
            let (good, other) = (key("good", 1), key("other", 2));
            Self { dir, good, other }
        }

        fn out(&self) -> PathBuf {
            self.dir.path().join("b.dsse.json")
        }

        fn sign(&self, toml: &str) -> Result<Described, Error> {
            let file = self.dir.path().join("b.toml");
            std::fs::write(&file, toml).unwrap();
            sign(&file, std::slice::from_ref(&self.good.private_file), &self.out())
        }

        /// Why that cannot be signed.
        #[track_caller]
        fn refused(&self, toml: &str) -> String {
            self.sign(toml).map(|signed| signed.whose()).unwrap_err().to_string()
        }
    }

    #[test]
    fn a_signed_baseline_shows_as_signed_by_its_key_and_by_no_other() {
        let desk = Desk::new();
        desk.sign(TOML).unwrap();
        let signed = |keys: &[PathBuf]| look(&desk.out(), keys).unwrap().signed;
        let Desk { good, other, .. } = &desk;
        assert_eq!(signed(std::slice::from_ref(&good.public_file)), Some(true));
        assert_eq!(signed(std::slice::from_ref(&other.public_file)), Some(false));
        assert_eq!(signed(&[good.public_file.clone(), other.public_file.clone()]), Some(false));
        assert_eq!(signed(&[]), None);
    }

    #[test]
    fn a_signed_baseline_shows_whose_it_is_and_what_was_written() {
        let desk = Desk::new();
        let signed = desk.sign(TOML).unwrap();
        let shown = look(&desk.out(), &[]).unwrap();
        assert_eq!(shown.baseline_sha256, signed.baseline_sha256);
        assert!(
            shown.whose().starts_with(
                "version 1 for acme/clinic-042, bound to the machine whose id has the SHA-256 ba78"
            ),
            "{}",
            shown.whose()
        );
        let read = |toml: &str| compliance_daemon::config::parse::<Baseline>(toml).unwrap();
        assert_eq!(read(&shown.text()), read(TOML));
    }

    #[test]
    fn a_version_only_grows_and_another_sites_baseline_is_not_replaced() {
        let desk = Desk::new();
        assert!(desk.refused(&TOML.replace("version = 1", "version = 0")).contains("is 1"));
        desk.sign(TOML).unwrap();
        let first = std::fs::read(desk.out()).unwrap();
        let next = TOML.replace("version = 1", "version = 2");
        for (toml, why) in [
            (TOML.to_owned(), "is version 1 already, and versions only grow"),
            (next.replace("clinic-042", "clinic-043"), "is the baseline of acme/clinic-042"),
        ] {
            assert!(desk.refused(&toml).contains(why), "{why}");
            assert_eq!(std::fs::read(desk.out()).unwrap(), first);
        }
        desk.sign(&next).unwrap();
        assert_eq!(look(&desk.out(), &[]).unwrap().baseline["version"], 2);
        std::fs::write(desk.out(), "notes").unwrap();
        assert!(desk.sign(&TOML.replace("version = 1", "version = 3")).is_err());
        assert_eq!(std::fs::read(desk.out()).unwrap(), b"notes");
    }

    #[test]
    fn a_name_that_a_baseline_does_not_have_is_not_signed_and_the_nearest_is_named() {
        let desk = Desk::new();
        for (name, slip) in [
            ("site", "sit"),
            ("machine_id_sha256", "machine_id_sha265"),
            ("not_applicable", "not_aplicable"),
            ("units", "unit"),
            ("disruptive", "disrupting"),
            ("status_file", "statusfile"),
            ("argv", "args"),
            ("ruleset", "rule_set"),
            ("mounts", "mount"),
        ] {
            let error = desk.refused(&TOML.replace(name, slip));
            assert!(error.contains(&format!("`{slip}`, did you mean `{name}`?")), "{error}");
        }
        let error = desk.refused(&TOML.replace("[logging]", "[logging]\npersistant = true"));
        assert!(error.contains("did you mean `persistent`?"), "{error}");
        assert!(!desk.out().exists());
    }

    #[test]
    fn a_baseline_without_one_of_the_six_sections_is_not_signed() {
        let desk = Desk::new();
        let error = desk.refused(&TOML.replace("[logging]", ""));
        assert!(error.contains("missing field `logging`"), "{error}");
    }
}
