//! What NATS and its carrier need, made at the first start: a certificate for each, and a token.

use std::path::Path;

use compliance_pki::{Authority, PkiError};
use compliance_protocol::name::NotAName;
use compliancectl::{Error, entropy, files};

use crate::plane::tenant;

/// The carrier's name.
const CARRIER: &str = "carrier";

/// By this file what waits knows that all others are there.
const READY: &str = "ready";

/// The carrier's configuration. Its window for duplicates is longer than a broker is down in any demonstration.
const NATS_TOML: &str = "mcp = \"https://mcp:8444\"\nca = \"ca.pem\"\ncert = \"carrier.pem\"\nkey = \"carrier.key\"\n\n\
     [nats]\nserver = \"tls://nats:4222\"\nca = \"ca.pem\"\ntoken_file = \"token\"\nduplicate_window_s = 86400\n";

/// Why it could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokerError {
    /// Files.
    #[error(transparent)]
    Files(#[from] Error),
    /// Certificates.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// A name of the demonstration's own.
    #[error(transparent)]
    Name(#[from] NotAName),
}

/// Fills `folder`, unless it is whole already, with what the authority in `offline` issues.
pub(crate) fn make(folder: &Path, offline: &Path) -> Result<(), BrokerError> {
    if folder.join(READY).exists() {
        return Ok(());
    }
    let pem = |name: &str| files::text(&offline.join(name));
    let authority = Authority::from_pem(&pem("ca.pem")?, &pem("ca.key")?)?;
    let now = compliance_clock::wall();
    let server = authority.issue_server(&["nats".to_owned()], entropy::random()?, now)?;
    let carrier =
        authority.issue_carrier(&tenant()?, &CARRIER.parse()?, entropy::random()?, now)?;
    let token = hex::encode(entropy::random::<16>()?);
    files::directory(folder)?;
    let put = |name: &str, text: &str, mode: u32| {
        files::replace(&folder.join(name), text.as_bytes(), mode)
    };
    put("ca.pem", authority.cert_pem(), files::PUBLIC)?;
    put("server.pem", &server.cert_pem, files::PUBLIC)?;
    put("server.key", &server.key_pem, files::PRIVATE)?;
    put("carrier.pem", &carrier.cert_pem, files::PUBLIC)?;
    put("carrier.key", &carrier.key_pem, files::PRIVATE)?;
    put("token", &token, files::PRIVATE)?;
    put("token.conf", &format!("authorization {{ token: \"{token}\" }}\n"), files::PRIVATE)?;
    put("nats.toml", NATS_TOML, files::PUBLIC)?;
    Ok(put(READY, "", files::PUBLIC)?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use compliance_protocol::name::Tenant;

    use super::*;

    #[test]
    fn what_is_made_once_stays() {
        let dir = tempfile::tempdir().unwrap();
        let tenant: Tenant = "acme".parse().unwrap();
        let authority = Authority::generate(&tenant, [1; 16], compliance_clock::wall()).unwrap();
        fs::write(dir.path().join("ca.pem"), authority.cert_pem()).unwrap();
        fs::write(dir.path().join("ca.key"), authority.key_pem()).unwrap();
        let broker = dir.path().join("broker");
        make(&broker, dir.path()).unwrap();
        let token = fs::read_to_string(broker.join("token")).unwrap();
        assert!(fs::read_to_string(broker.join("token.conf")).unwrap().contains(&token));
        make(&broker, dir.path()).unwrap();
        assert_eq!(fs::read_to_string(broker.join("token")).unwrap(), token);
    }
}
