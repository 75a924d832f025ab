//! `compliancectl key`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use compliance_protocol::key::{KeyId, PublicKey};
use compliance_signing::PrivateKey;
use serde::Serialize;

use crate::{Context, Error, Verdict, entropy, files};

/// Make keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key pair: NAME.key (PKCS#8 PEM, mode 0600) and NAME.pub (SPKI PEM).
    Generate(GenerateArgs),
}

/// Options of `key generate`.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// What the key is for; one key has one role.
    #[arg(long)]
    pub role: Role,
    /// Where the two files go.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Name of the files [default: the role]
    #[arg(long)]
    pub name: Option<String>,
}

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Signs trust files; kept offline.
    Root,
    /// Signs orders.
    Orders,
    /// Signs baselines.
    Baseline,
    /// Signs feed heads; held by the control plane.
    Feed,
    /// Signs checkpoints of the evidence log; held by the control plane.
    Checkpoint,
}

impl Role {
    /// The name in files and options.
    pub fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Orders => "orders",
            Self::Baseline => "baseline",
            Self::Feed => "feed",
            Self::Checkpoint => "checkpoint",
        }
    }
}

/// A key pair that was made.
#[derive(Debug, Serialize)]
pub struct KeyPair {
    /// What it is for.
    pub role: Role,
    /// The key id that signatures name.
    pub key_id: KeyId,
    /// The public key.
    pub public: PublicKey,
    /// The private key's file.
    pub private_file: PathBuf,
    /// The public key's file.
    pub public_file: PathBuf,
}

/// Carries out a command of the group.
pub fn run(context: &Context, command: KeyCommand) -> Result<Verdict, Error> {
    let KeyCommand::Generate(args) = command;
    let name = args.name.as_deref().unwrap_or_else(|| args.role.name());
    let pair = generate(args.role, &args.out, name, &entropy::random()?)?;
    context.output.show(&pair, |pair, _| {
        format!(
            "{} key {}\n  private  {}  (mode 0600; keep it where the role says)\n  public   {}",
            pair.role.name(),
            pair.key_id,
            pair.private_file.display(),
            pair.public_file.display()
        )
    })?;
    Ok(Verdict::Holds)
}

/// Makes the key pair of `seed` in `out`. Neither file may exist.
pub fn generate(role: Role, out: &Path, name: &str, seed: &[u8; 32]) -> Result<KeyPair, Error> {
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) {
        return Err(Error::Usage(format!(
            "{name:?} cannot be a file's name: use a-z, 0-9, - and _"
        )));
    }
    let key = PrivateKey::from_seed(seed)?;
    let (private_file, public_file) =
        (out.join(format!("{name}.key")), out.join(format!("{name}.pub")));
    let public_pem = key.public().to_pem().map_err(Error::KeySet)?;
    files::directory(out)?;
    // Both names are looked at before either is written: a new half beside an old one is no pair.
    for path in [&private_file, &public_file] {
        if path.symlink_metadata().is_ok() {
            return Err(Error::Exists(path.clone()));
        }
    }
    files::create(&public_file, public_pem.as_bytes(), files::PUBLIC)?;
    files::create(&private_file, key.to_pem()?.as_bytes(), files::PRIVATE)?;
    Ok(KeyPair { role, key_id: key.public().id(), public: key.public(), private_file, public_file })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_pair_is_written_that_reads_back_and_only_its_owner_reads_the_private_half() {
        let dir = tempfile::tempdir().unwrap();
        let pair = generate(Role::Orders, &dir.path().join("new"), "orders", &[5; 32]).unwrap();
        let private = files::private_key(&pair.private_file).unwrap();
        assert_eq!(private.public(), files::public_key(&pair.public_file).unwrap());
        let mode = std::fs::metadata(&pair.private_file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn neither_half_of_a_key_is_ever_overwritten() {
        for existing in ["x.key", "x.pub"] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join(existing), "old").unwrap();
            assert!(generate(Role::Root, dir.path(), "x", &[5; 32]).is_err(), "{existing}");
            assert_eq!(std::fs::read(dir.path().join(existing)).unwrap(), b"old");
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "{existing}");
        }
    }

    #[test]
    fn a_name_cannot_leave_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        for bad in ["", "../x", "a/b", ".", "a b"] {
            assert!(generate(Role::Root, dir.path(), bad, &[5; 32]).is_err(), "{bad}");
        }
    }
}
