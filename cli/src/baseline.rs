//! `compliancectl baseline`.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use compliance_checks::baseline::Baseline;
use compliance_protocol::digest::Digest;
use compliance_protocol::envelope::{Envelope, Payload as _};
use compliance_protocol::key::KeySet;
use serde::Serialize;
use serde_json::Value;

use crate::output::Paint;
use crate::verify::peek;
use crate::{Context, Error, Verdict, files};

/// Sign and show baselines.
#[derive(Debug, Subcommand)]
pub enum BaselineCommand {
    /// Sign a baseline that a person wrote in TOML.
    Sign {
        /// The baseline, TOML.
        file: PathBuf,
        /// A baseline private key; once for each signer.
        #[arg(long = "key", value_name = "FILE", required = true)]
        keys: Vec<PathBuf>,
        /// Where the envelope goes.
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

/// Carries out a command of the group.
pub fn run(context: &Context, command: BaselineCommand) -> Result<Verdict, Error> {
    match command {
        BaselineCommand::Sign { file, keys, out } => {
            let signed = sign(&file, &keys, &out)?;
            context.output.show(&signed, |signed, _| {
                format!("signed\n  sha256  {}\n  file    {}", signed.baseline_sha256, out.display())
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
    let keys = keys.iter().map(|path| files::private_key(path)).collect::<Result<Vec<_>, _>>()?;
    let bytes = compliance_signing::sign(&baseline, &keys.iter().collect::<Vec<_>>())?;
    files::create(out, &bytes, files::PUBLIC)?;
    let baseline_sha256 = Digest::of(&compliance_protocol::json::to_canonical(&baseline)?);
    Ok(Described { baseline: to_value(&baseline)?, baseline_sha256, signed: Some(true) })
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
    format!("sha256  {}\nsigned  {verdict}\n{:#}", shown.baseline_sha256, shown.baseline)
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
        [services]
        units = [{ unit = "nginx.service", disruptive = true }]
        [[backups.jobs]]
        name = "records"
        status_file = "/var/backup/records.json"
        run = { argv = ["/usr/local/bin/backup"] }
    "#;

    #[test]
    fn a_signed_baseline_shows_as_signed_by_its_key_and_by_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let good = generate(Role::Baseline, dir.path(), "good", &[1; 32]).unwrap();
        let other = generate(Role::Baseline, dir.path(), "other", &[2; 32]).unwrap();
        std::fs::write(path("b.toml"), TOML).unwrap();
        let (toml, out) = (path("b.toml"), path("b.dsse.json"));
        sign(&toml, &[good.private_file], &out).unwrap();
        let signed = |keys: &[PathBuf]| look(&out, keys).unwrap().signed;
        assert_eq!(signed(std::slice::from_ref(&good.public_file)), Some(true));
        assert_eq!(signed(std::slice::from_ref(&other.public_file)), Some(false));
        assert_eq!(signed(&[good.public_file, other.public_file]), Some(false));
        assert_eq!(signed(&[]), None);
    }

    #[test]
    fn a_baseline_with_an_unknown_field_is_not_signed() {
        let dir = tempfile::tempdir().unwrap();
        let key = generate(Role::Baseline, dir.path(), "k", &[1; 32]).unwrap();
        let (toml, out) = (dir.path().join("b.toml"), dir.path().join("out"));
        std::fs::write(&toml, format!("sight = \"x\"\n{TOML}")).unwrap();
        assert!(matches!(sign(&toml, &[key.private_file], &out), Err(Error::Config(_))));
        assert!(!out.exists());
    }
}
