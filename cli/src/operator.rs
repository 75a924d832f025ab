//! `compliancectl operator`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use compliance_protocol::name::{Operator, Tenant};
use compliance_protocol::time::Timestamp;
use serde::Serialize;

use crate::{Context, Error, Verdict, entropy, files, site};

/// Certify operators.
#[derive(Debug, Subcommand)]
pub enum OperatorCommand {
    /// Make the certificate and the key of a person, or of a program such as compliance-nats.
    Add(AddArgs),
}

/// Options of `operator add`.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// The operator's name: what this one does is written down under it.
    pub name: Operator,
    /// The tenant.
    #[arg(long)]
    pub tenant: Tenant,
    /// The offline directory with ca.pem and ca.key.
    #[arg(long, value_name = "DIR")]
    pub authority: PathBuf,
    /// Where operator-NAME.pem, operator-NAME.key and ca.pem go.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// The files of one operator.
#[derive(Debug, Serialize)]
pub struct Certified {
    /// The name.
    pub name: Operator,
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authority's certificate.
    pub authority: PathBuf,
}

/// Carries out a command of the group.
pub fn run(context: &Context, command: OperatorCommand) -> Result<Verdict, Error> {
    let OperatorCommand::Add(args) = command;
    context.output.show(&add(&args, context.now)?, |certified, _| {
        format!(
            "{}\n  certificate  {}\n  key          {}\n  authority    {}\nBring the three to where {0} works, and keep no other copy of the key.",
            certified.name,
            certified.certificate.display(),
            certified.key.display(),
            certified.authority.display()
        )
    })?;
    Ok(Verdict::Holds)
}

/// Makes the files of one operator; the certificate begins at `now`. A key that is there is not overwritten.
pub fn add(args: &AddArgs, now: Timestamp) -> Result<Certified, Error> {
    let authority = site::read_authority(&args.authority)?;
    let issued = authority.issue_operator(&args.tenant, &args.name, entropy::random()?, now)?;
    let path = |name: &str| args.out.join(name);
    let certified = Certified {
        name: args.name.clone(),
        certificate: path(&format!("operator-{}.pem", args.name)),
        key: path(&format!("operator-{}.key", args.name)),
        authority: path("ca.pem"),
    };
    files::directory(&args.out)?;
    files::create(&certified.key, issued.key_pem.as_bytes(), 0o600)?;
    files::create(&certified.certificate, issued.cert_pem.as_bytes(), 0o644)?;
    files::replace(&certified.authority, authority.cert_pem().as_bytes(), 0o644)?;
    Ok(certified)
}

#[cfg(test)]
mod tests {
    use super::*;
    use compliance_pki::Authority;
    use compliance_transport::Identity;

    #[test]
    fn what_is_made_is_taken_by_a_server_of_the_authority_and_no_key_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let now = compliance_clock::wall();
        let tenant: Tenant = "acme".parse().unwrap();
        let authority = Authority::generate(&tenant, [1; 16], now).unwrap();
        let offline = folder.path().join("offline");
        std::fs::create_dir(&offline).unwrap();
        std::fs::write(offline.join("ca.pem"), authority.cert_pem()).unwrap();
        std::fs::write(offline.join("ca.key"), authority.key_pem().as_bytes()).unwrap();
        let out = folder.path().join("out");
        let args =
            AddArgs { name: "nats".parse().unwrap(), tenant, authority: offline, out: out.clone() };
        let made = add(&args, now).unwrap();
        let identity = Identity::read(&made.authority, &made.certificate, &made.key).unwrap();
        identity.would_be_taken(now).unwrap();
        assert_eq!(made.key, out.join("operator-nats.key"));
        assert!(add(&args, now).is_err());
    }
}
