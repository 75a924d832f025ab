//! Enrolment: the appliance makes its own keys. The evidence key never leaves it.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use compliance_daemon::files;
use compliance_protocol::name::{Id, Site, Tenant};
use compliance_signing::{PrivateKey, PrivateKeyError};
use rcgen::{CertificateParams, DnType, PKCS_ED25519, PublicKeyData, SigningKey};

use crate::config::Config;
use crate::engine::Random;
use crate::ledger::{Fact, Ledger, LedgerError};

/// Why the keys were not made.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// A key of an earlier enrolment is there; it is never overwritten.
    #[error(
        "{0} is there already: this appliance is enrolled. To enrol it anew, move the directory aside and raise the epoch"
    )]
    Enrolled(PathBuf),
    /// A file cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A key could not be made.
    #[error(transparent)]
    Key(#[from] PrivateKeyError),
    /// The certificate request could not be made.
    #[error("the certificate request could not be made: {0}")]
    Request(#[from] rcgen::Error),
    /// The ledger could not be made.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// What enrolment made; none of it is secret.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Enrolled {
    /// The certificate request for the TLS key, PEM.
    pub csr: String,
    /// The evidence key's public half, SPKI PEM.
    pub evidence_pub: String,
}

/// Makes `tls.key`, `tls.csr`, `evidence.key`, `evidence.pub` and the ledger in the data directory.
pub fn enrol(config: &Config, random: &mut Random) -> Result<Enrolled, EnrolError> {
    let dir = &config.data_dir;
    let kept = ["tls.key", "evidence.key", "ledger.db"].map(|name| dir.join(name));
    // The key may have been moved to where the configuration says; it is made in the data directory only.
    if let Some(there) = kept.into_iter().chain([config.evidence_key()]).find(|it| it.exists()) {
        return Err(EnrolError::Enrolled(there));
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|source| EnrolError::Write { path: dir.clone(), source })?;
    let tls = generate(random)?;
    let evidence = generate(random)?;
    let enrolled = Enrolled {
        csr: request(&tls, &config.tenant, &config.site)?,
        evidence_pub: evidence.public().to_pem().map_err(PrivateKeyError::from)?,
    };
    write(&dir.join("tls.key"), tls.to_pem()?.as_bytes(), 0o600)?;
    write(&dir.join("tls.csr"), enrolled.csr.as_bytes(), 0o644)?;
    write(&dir.join("evidence.pub"), enrolled.evidence_pub.as_bytes(), 0o644)?;
    let mut fresh = [0; 10];
    random(&mut fresh);
    let reading = compliance_clock::read();
    let fresh = Id::new(reading.wall, fresh);
    let (mut ledger, _) = Ledger::open(&config.ledger(), fresh, reading.boottime)?;
    ledger.commit(|tx| tx.clear_fact(Fact::New))?;
    // Last, so that an enrolment that was cut off half-way leaves no appliance that could start.
    write(&dir.join("evidence.key"), evidence.to_pem()?.as_bytes(), 0o600)?;
    Ok(enrolled)
}

fn generate(random: &mut Random) -> Result<PrivateKey, PrivateKeyError> {
    let mut seed = zeroize::Zeroizing::new([0; 32]);
    random(&mut *seed);
    PrivateKey::from_seed(&seed)
}

/// A PKCS#10 request; its names are hints, the certificate's are the authority's to say.
fn request(key: &PrivateKey, tenant: &Tenant, site: &Site) -> Result<String, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::OrganizationName, tenant.as_str());
    params.distinguished_name.push(DnType::CommonName, site.as_str());
    params.serialize_request(&TlsKey::new(key))?.pem()
}

struct TlsKey<'a> {
    key: &'a PrivateKey,
    public: [u8; 32],
}

impl<'a> TlsKey<'a> {
    fn new(key: &'a PrivateKey) -> Self {
        Self { key, public: *key.public().as_bytes() }
    }
}

impl PublicKeyData for TlsKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &PKCS_ED25519
    }
}

impl SigningKey for TlsKey<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.key.sign(message).to_vec())
    }
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), EnrolError> {
    files::create(path, bytes, mode)
        .map_err(|source| EnrolError::Write { path: path.to_owned(), source })
}
