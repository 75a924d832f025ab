//! `compliancectl site`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use compliance_pki::Authority;
use compliance_protocol::key::{KeyError, KeySet, PublicKey};
use compliance_protocol::name::{Site, Tenant};
use compliance_protocol::time::Timestamp;
use compliance_protocol::tlog::VerifierKey;
use compliance_protocol::trust::{OrderKeys, Roles, Trust};
use compliance_signing::PrivateKey;
use serde::Serialize;

use crate::api::{Requests, Sites};
use crate::key::Role;
use crate::output::{Table, Tone};
use crate::{Context, Error, Verdict, entropy, files};

/// Enrol appliances.
#[derive(Debug, Subcommand)]
pub enum SiteCommand {
    /// Make the certificate and the trust file of one appliance, from what `compliance-executor enrol` wrote.
    Add(Box<AddArgs>),
    /// Tell the control plane of a site, or of its next trust file.
    Register {
        /// The site.
        site: Site,
        /// Its trust file.
        #[arg(long, value_name = "FILE")]
        trust: PathBuf,
    },
    /// List the sites that the control plane knows.
    List,
    /// Issue the new certificate that an appliance asks for because its own ends soon, for the same key, and give
    /// it to the control plane.
    Renew {
        /// The site.
        site: Site,
        /// The directory that `site add` wrote: its tls.pem says which key is the appliance's, and is replaced.
        #[arg(long, value_name = "DIR")]
        enrolled: PathBuf,
        /// The offline directory with ca.pem and ca.key.
        #[arg(long, value_name = "DIR")]
        authority: PathBuf,
    },
}

/// Options of `site add`.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// The site.
    pub site: Site,
    /// The tenant.
    #[arg(long)]
    pub tenant: Tenant,
    /// The certificate request that `enrol` made.
    #[arg(long, value_name = "FILE")]
    pub csr: PathBuf,
    /// The evidence public key that `enrol` made.
    #[arg(long, value_name = "FILE")]
    pub evidence_pub: PathBuf,
    /// The offline directory with ca.pem and ca.key.
    #[arg(long, value_name = "DIR")]
    pub authority: PathBuf,
    /// A root private key, which signs the trust file; once for each signer.
    #[arg(long = "root-key", value_name = "FILE", required = true)]
    pub root_keys: Vec<PathBuf>,
    /// A root public key whose owner does not sign now.
    #[arg(long = "root-pub", value_name = "FILE")]
    pub root_pubs: Vec<PathBuf>,
    /// How many root keys must sign.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub root_threshold: usize,
    /// The directory with orders.pub, baseline.pub, feed.pub and checkpoint.pub.
    #[arg(long, value_name = "DIR")]
    pub keys: PathBuf,
    /// The origin line of the control plane's evidence log.
    #[arg(long, value_name = "NAME")]
    pub log_origin: String,
    /// Counts the enrolments of this site: one more for each new appliance.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub epoch: u64,
    /// Version of the trust file.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub trust_version: u64,
    /// Where tls.pem, ca.pem and trust.dsse.json go.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// The files of one enrolled appliance.
#[derive(Debug, Serialize)]
pub struct Enrolled {
    /// The site.
    pub site: Site,
    /// Its certificate.
    pub certificate: PathBuf,
    /// The authority's certificate.
    pub authority: PathBuf,
    /// Its trust file.
    pub trust: PathBuf,
}

/// Carries out a command of the group.
pub async fn run(context: &Context, command: SiteCommand) -> Result<Verdict, Error> {
    match command {
        SiteCommand::Add(args) => {
            let enrolled = add(&args, context.now)?;
            context.output.show(&enrolled, |enrolled, _| {
                format!(
                    "{}\n  certificate  {}\n  authority    {}\n  trust file   {}\nCopy the three to the appliance, and tell the control plane: compliancectl site register {0} --trust {3}",
                    enrolled.site,
                    enrolled.certificate.display(),
                    enrolled.authority.display(),
                    enrolled.trust.display()
                )
            })?;
            Ok(Verdict::Holds)
        }
        SiteCommand::Register { site, trust } => register(context, &site, &trust).await,
        SiteCommand::List => list(context).await,
        SiteCommand::Renew { site, enrolled, authority } => {
            renew(context, &site, &enrolled, &authority).await
        }
    }
}

/// Makes the files of one appliance; its certificate begins at `now`.
pub fn add(args: &AddArgs, now: Timestamp) -> Result<Enrolled, Error> {
    let authority = read_authority(&args.authority)?;
    let csr = files::text(&args.csr)?;
    let serial = entropy::random()?;
    let certificate = authority.issue_site(&csr, &args.tenant, &args.site, serial, now)?;
    let trust = sign_trust(args)?;
    let path = |name: &str| args.out.join(name);
    let enrolled = Enrolled {
        site: args.site.clone(),
        certificate: path("tls.pem"),
        authority: path("ca.pem"),
        trust: path("trust.dsse.json"),
    };
    files::directory(&args.out)?;
    files::create(&enrolled.trust, &trust, files::PUBLIC)?;
    files::create(&enrolled.authority, authority.cert_pem().as_bytes(), files::PUBLIC)?;
    files::create(&enrolled.certificate, certificate.as_bytes(), files::PUBLIC)?;
    Ok(enrolled)
}

/// Lists the sites.
pub async fn list(context: &Context) -> Result<Verdict, Error> {
    let sites: Sites = context.control_plane()?.get("/api/v1/sites").await?;
    context.output.show(&sites, |sites, paint| {
        let mut table =
            Table::new(&["site", "epoch", "registered", "last poll", "bundles", "open orders"]);
        for site in &sites.sites {
            table.row(vec![
                (Tone::Strong, site.site.to_string()),
                (Tone::Plain, site.epoch.to_string()),
                (Tone::Plain, site.registered_at.to_string()),
                site.last_seen.map_or_else(
                    || (Tone::Open, "never".to_owned()),
                    |at| (Tone::Plain, at.to_string()),
                ),
                (Tone::Plain, site.bundles.to_string()),
                (Tone::Plain, site.open_orders.to_string()),
            ]);
        }
        table.render(paint)
    })?;
    Ok(Verdict::Holds)
}

async fn register(context: &Context, site: &Site, trust: &Path) -> Result<Verdict, Error> {
    let held = files::trust(trust)?;
    if &held.value().site != site {
        let named = &held.value().site;
        return Err(Error::Usage(format!(
            "{} is the trust file of {named}, not of {site}",
            trust.display()
        )));
    }
    let plane = context.control_plane()?;
    plane.put(&format!("/api/v1/sites/{site}"), files::envelope(trust)?).await?;
    context.output.show(&held.value(), |trust, _| {
        format!(
            "{}: trust file version {}, epoch {}, is registered",
            trust.site, trust.version, trust.epoch
        )
    })?;
    Ok(Verdict::Holds)
}

/// A certificate that was issued anew.
#[derive(Debug, Serialize)]
struct Renewed {
    site: Site,
    certificate: PathBuf,
}

async fn renew(
    context: &Context,
    site: &Site,
    enrolled: &Path,
    authority: &Path,
) -> Result<Verdict, Error> {
    let authority = read_authority(authority)?;
    let certificate = enrolled.join("tls.pem");
    let before = files::text(&certificate)?;
    let plane = context.control_plane()?;
    let asked: Requests = plane.get("/api/v1/certificates").await?;
    let Some(request) = asked.pending.into_iter().find(|request| request.site == *site) else {
        return Err(Error::Usage(format!(
            "{site} asks for no certificate: an appliance does in the last 30 days of its own, once a day"
        )));
    };
    let renewed = authority.renew_site(&request.csr, &before, entropy::random()?, context.now)?;
    let path = format!("/api/v1/sites/{site}/certificate");
    plane.put(&path, renewed.clone().into_bytes()).await?;
    files::replace(&certificate, renewed.as_bytes(), files::PUBLIC)?;
    context.output.show(&Renewed { site: site.clone(), certificate }, |renewed, _| {
        format!(
            "{}: the new certificate is {}, and the appliance fetches it within a day",
            renewed.site,
            renewed.certificate.display()
        )
    })?;
    Ok(Verdict::Holds)
}

/// The authority whose certificate and key are in `folder`.
pub(crate) fn read_authority(folder: &Path) -> Result<Authority, Error> {
    let file = |name: &str| files::text(&folder.join(name));
    Ok(Authority::from_pem(&file("ca.pem")?, &file("ca.key")?)?)
}

fn sign_trust(args: &AddArgs) -> Result<Vec<u8>, Error> {
    let signers = args
        .root_keys
        .iter()
        .map(|path| files::private_key(path))
        .collect::<Result<Vec<_>, _>>()?;
    let others = args.root_pubs.iter().map(|path| files::public_key(path));
    let mut root: Vec<_> = signers.iter().map(PrivateKey::public).collect();
    root.extend(others.collect::<Result<Vec<_>, _>>()?);
    let role = |role: Role| files::public_key(&args.keys.join(format!("{}.pub", role.name())));
    let log = VerifierKey::new(&args.log_origin, role(Role::Checkpoint)?)
        .map_err(|source| Error::Usage(format!("--log-origin {}: {source}", args.log_origin)))?;
    let roles = roles(
        KeySet::new(root, args.root_threshold),
        [role(Role::Orders)?, role(Role::Baseline)?, role(Role::Feed)?],
        log.key().clone(),
        files::public_key(&args.evidence_pub)?,
    );
    let trust = Trust {
        version: args.trust_version,
        tenant: args.tenant.clone(),
        site: args.site.clone(),
        epoch: args.epoch,
        roles: roles.map_err(Error::KeySet)?,
        log,
    };
    let envelope = compliance_signing::sign(&trust, &signers.iter().collect::<Vec<_>>())?;
    // What no appliance would take is not written: too few signers, or a key in two roles.
    Trust::first(&envelope).map_err(|source| Error::Trust {
        origin: "just signed".to_owned(),
        source: Box::new(source),
    })?;
    Ok(envelope)
}

fn roles(
    root: Result<KeySet, KeyError>,
    [orders, baseline, feed]: [PublicKey; 3],
    checkpoint: PublicKey,
    evidence: PublicKey,
) -> Result<Roles, KeyError> {
    let one = |key| KeySet::new(vec![key], 1);
    Ok(Roles {
        root: root?,
        orders: OrderKeys { any: one(orders)?, threshold_now: 1 },
        baseline: one(baseline)?,
        feed: one(feed)?,
        checkpoint,
        evidence,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use tempfile::TempDir;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::key::generate;

    fn now() -> Timestamp {
        "2026-11-20T09:41:11.000Z".parse().unwrap()
    }

    /// A directory with keys, an authority and what `enrol` makes.
    fn workplace() -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let roles = [Role::Root, Role::Orders, Role::Baseline, Role::Feed, Role::Checkpoint];
        for (seed, role) in (1..).zip(roles) {
            generate(role, dir.path(), role.name(), &[seed; 32]).unwrap();
        }
        let authority = Authority::generate(&"acme".parse().unwrap(), [1; 16], now()).unwrap();
        write("ca.pem", authority.cert_pem());
        write("ca.key", authority.key_pem());
        let tls = PrivateKey::from_seed(&[8; 32]).unwrap();
        write("tls.csr", &compliance_pki::csr(&tls.to_pem().unwrap()).unwrap());
        let evidence = PrivateKey::from_seed(&[9; 32]).unwrap();
        write("e.pub", &evidence.public().to_pem().unwrap());
        dir
    }

    fn args(dir: &Path, more: &[&str]) -> AddArgs {
        let at = |name: &str| dir.join(name).display().to_string();
        let (csr, evidence, root) = (at("tls.csr"), at("e.pub"), at("root.key"));
        let (dir, out) = (at(""), at("out"));
        let mut line = vec!["compliancectl", "site", "add", "clinic-042", "--tenant", "acme"];
        line.extend(["--csr", &csr, "--evidence-pub", &evidence, "--root-key", &root]);
        line.extend([
            "--authority",
            &dir,
            "--keys",
            &dir,
            "--log-origin",
            "mcp/acme",
            "--out",
            &out,
        ]);
        line.extend(more);
        match Cli::parse_from(line).command {
            Command::Site(SiteCommand::Add(args)) => *args,
            _ => panic!("not `site add`"),
        }
    }

    #[test]
    fn the_trust_file_names_the_keys_and_the_certificate_names_the_site() {
        let dir = workplace();
        let enrolled = add(&args(dir.path(), &["--epoch", "3"]), now()).unwrap();
        let trust = files::trust(&enrolled.trust).unwrap().into_value();
        assert_eq!((trust.version, trust.epoch, trust.site.as_str()), (1, 3, "clinic-042"));
        let public = |name: &str| files::public_key(&dir.path().join(name)).unwrap();
        assert_eq!(trust.roles.orders.any.keys(), [public("orders.pub")]);
        assert_eq!(trust.roles.evidence, public("e.pub"));
        assert_eq!(trust.log.key(), &public("checkpoint.pub"));
        assert!(files::text(&enrolled.certificate).unwrap().contains("BEGIN CERTIFICATE"));
    }

    #[test]
    fn nothing_is_overwritten_and_nothing_is_written_that_no_appliance_would_take() {
        let dir = workplace();
        add(&args(dir.path(), &[]), now()).unwrap();
        assert!(matches!(add(&args(dir.path(), &[]), now()), Err(Error::Exists(_))));

        let dir = workplace();
        let other = generate(Role::Root, dir.path(), "root2", &[7; 32]).unwrap();
        let other = other.public_file.display().to_string();
        let two = args(dir.path(), &["--root-pub", &other, "--root-threshold", "2"]);
        assert!(matches!(add(&two, now()), Err(Error::Trust { .. })));

        std::fs::copy(dir.path().join("feed.pub"), dir.path().join("orders.pub")).unwrap();
        assert!(add(&args(dir.path(), &[]), now()).is_err(), "one key, two roles");
        assert!(!dir.path().join("out").exists());
    }
}
