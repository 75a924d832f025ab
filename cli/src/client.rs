//! `compliancectl operator` and `compliancectl carrier`: who calls the control plane and is no appliance.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use compliance_pki::{Authority, Issued, PkiError};
use compliance_protocol::name::{Carrier, Operator, Tenant};
use serde::Serialize;

use crate::{Context, Error, Verdict, entropy, files, site};

/// Certify operators.
#[derive(Debug, Subcommand)]
pub enum OperatorCommand {
    /// Make the certificate and the key of a person, or of a program that does what a person may.
    Add {
        /// The operator's name: what this one does is written down under it.
        name: Operator,
        /// Of whom, by whom, and where to.
        #[command(flatten)]
        issuing: Issuing,
    },
}

/// Certify carriers of events.
#[derive(Debug, Subcommand)]
pub enum CarrierCommand {
    /// Make the certificate and the key of what brings events elsewhere, such as compliance-nats. With it one gets events,
    /// and nothing else.
    Add {
        /// The carrier's name: by it the control plane knows how far events were carried.
        name: Carrier,
        /// Of whom, by whom, and where to.
        #[command(flatten)]
        issuing: Issuing,
    },
}

/// Of whom, by whom, and where to.
#[derive(Debug, Args)]
pub struct Issuing {
    /// The tenant.
    #[arg(long)]
    pub tenant: Tenant,
    /// The offline directory with ca.pem and ca.key.
    #[arg(long, value_name = "DIR")]
    pub authority: PathBuf,
    /// Where KIND-NAME.pem, KIND-NAME.key and ca.pem go.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// The files of one client.
#[derive(Debug, Serialize)]
pub struct Certified {
    /// The name.
    pub name: String,
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authority's certificate.
    pub authority: PathBuf,
}

/// Carries out a command of the group `operator`.
pub fn operator(context: &Context, command: OperatorCommand) -> Result<Verdict, Error> {
    let OperatorCommand::Add { name, issuing } = command;
    let (tenant, now) = (&issuing.tenant, context.now);
    let certified = certify(&issuing, "operator", name.as_str(), |authority, serial| {
        authority.issue_operator(tenant, &name, serial, now)
    })?;
    show(context, &certified)
}

/// Carries out a command of the group `carrier`.
pub fn carrier(context: &Context, command: CarrierCommand) -> Result<Verdict, Error> {
    let CarrierCommand::Add { name, issuing } = command;
    let (tenant, now) = (&issuing.tenant, context.now);
    let certified = certify(&issuing, "carrier", name.as_str(), |authority, serial| {
        authority.issue_carrier(tenant, &name, serial, now)
    })?;
    show(context, &certified)
}

/// Makes the files of one client. A key that is there is not overwritten.
fn certify(
    issuing: &Issuing,
    kind: &str,
    name: &str,
    issue: impl FnOnce(&Authority, [u8; 16]) -> Result<Issued, PkiError>,
) -> Result<Certified, Error> {
    let authority = site::read_authority(&issuing.authority)?;
    let issued = issue(&authority, entropy::random()?)?;
    let path = |name: &str| issuing.out.join(name);
    let certified = Certified {
        name: name.to_owned(),
        certificate: path(&format!("{kind}-{name}.pem")),
        key: path(&format!("{kind}-{name}.key")),
        authority: path("ca.pem"),
    };
    files::directory(&issuing.out)?;
    files::create(&certified.key, issued.key_pem.as_bytes(), files::PRIVATE)?;
    files::create(&certified.certificate, issued.cert_pem.as_bytes(), files::PUBLIC)?;
    files::replace(&certified.authority, authority.cert_pem().as_bytes(), files::PUBLIC)?;
    Ok(certified)
}

fn show(context: &Context, certified: &Certified) -> Result<Verdict, Error> {
    context.output.show(certified, |certified, _| {
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

#[cfg(test)]
mod tests {
    use super::*;
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
        let issuing = Issuing { tenant: tenant.clone(), authority: offline, out: out.clone() };
        let name = "nats".parse().unwrap();
        let add = || {
            certify(&issuing, "carrier", "nats", |authority, serial| {
                authority.issue_carrier(&tenant, &name, serial, now)
            })
        };
        let made = add().unwrap();
        let identity = Identity::read(&made.authority, &made.certificate, &made.key).unwrap();
        identity.would_be_taken(now).unwrap();
        assert_eq!(made.key, out.join("carrier-nats.key"));
        assert!(matches!(add(), Err(Error::Exists(path)) if path == made.key));
    }
}
