//! The tenant's certificate authority and what it issues.

use std::fmt;

use compliance_protocol::name::{Carrier, Operator, Site, Tenant};
use compliance_protocol::time::{Span, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use time::OffsetDateTime;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;

use crate::PkiError;
use crate::identity::Identity;
use crate::request::requested_key;
use crate::signer::Signer;

/// How long an authority's certificate is valid: 10 years.
pub const AUTHORITY_LIFE: Span = Span::from_hours(10 * 365 * 24);
/// How long a server's certificate is valid: 1 year.
pub const SERVER_LIFE: Span = Span::from_hours(365 * 24);
/// How long an appliance's certificate is valid: 1 year.
pub const SITE_LIFE: Span = Span::from_hours(365 * 24);
/// How long an operator's certificate is valid: 90 days.
pub const OPERATOR_LIFE: Span = Span::from_hours(90 * 24);
/// How long a carrier's certificate is valid: 1 year.
pub const CARRIER_LIFE: Span = Span::from_hours(365 * 24);
/// Every certificate is valid from this long before it was made, for clocks that are a little behind.
pub const BACKDATED: Span = Span::from_hours(1);

/// A tenant's certificate authority with its private key.
pub struct Authority {
    cert_pem: String,
    key_pem: String,
    issuer: Issuer<'static, Signer>,
}

/// A new certificate and its private key.
#[derive(Clone)]
pub struct Issued {
    /// The certificate, PEM.
    pub cert_pem: String,
    /// Its private key, PKCS#8 PEM.
    pub key_pem: String,
}

impl Authority {
    /// A new authority for `tenant`, which issues nothing but end certificates. `serial` is 16 random
    /// bytes.
    pub fn generate(tenant: &Tenant, serial: [u8; 16], now: Timestamp) -> Result<Self, PkiError> {
        let key = Signer::generate()?;
        let mut params = common(tenant.as_str(), serial, now, AUTHORITY_LIFE);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = false;
        let (cert_pem, key_pem) = (params.self_signed(&key)?.pem(), key.to_pem()?);
        Ok(Self { cert_pem, key_pem, issuer: Issuer::new(params, key) })
    }

    /// The authority of a PEM certificate and its PKCS#8 PEM key.
    pub fn from_pem(cert_pem: &str, key_pem: &str) -> Result<Self, PkiError> {
        let key = Signer::from_pem(key_pem)?;
        let (_, pem) = parse_x509_pem(cert_pem.as_bytes()).map_err(|_| PkiError::NotAnAuthority)?;
        let cert = pem.parse_x509().map_err(|_| PkiError::NotAnAuthority)?;
        if !cert.is_ca() {
            return Err(PkiError::NotAnAuthority);
        }
        if *cert.public_key().subject_public_key.data != *key.der_bytes() {
            return Err(PkiError::NotAPair);
        }
        let key_pem = key.to_pem()?;
        let issuer =
            Issuer::from_ca_cert_pem(cert_pem, key).map_err(|_| PkiError::NotAnAuthority)?;
        Ok(Self { cert_pem: cert_pem.to_owned(), key_pem, issuer })
    }

    /// The authority's certificate, PEM.
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// The authority's private key, PKCS#8 PEM.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// A server's certificate for `names`, each a DNS name or an IP address, and its new key.
    pub fn issue_server(
        &self,
        names: &[String],
        serial: [u8; 16],
        now: Timestamp,
    ) -> Result<Issued, PkiError> {
        if names.is_empty() {
            return Err(PkiError::NoName);
        }
        // The names stand in the extension only: a DNS name may be longer than a common name can be.
        let mut params = common("control plane", serial, now, SERVER_LIFE);
        params.subject_alt_names = names.iter().map(|name| host(name)).collect::<Result<_, _>>()?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue_with_new_key(&params)
    }

    /// An appliance's certificate for the key of its request. Only the key is taken from the request.
    pub fn issue_site(
        &self,
        csr_pem: &str,
        tenant: &Tenant,
        site: &Site,
        serial: [u8; 16],
        now: Timestamp,
    ) -> Result<String, PkiError> {
        let key = requested_key(csr_pem)?;
        let who = Identity::Site { tenant: tenant.clone(), site: site.clone() };
        let params = client(&who, site.as_str(), serial, now, SITE_LIFE)?;
        Ok(params.signed_by(&key, &self.issuer)?.pem())
    }

    /// A new certificate for the same appliance and the same key as `before`, PEM, which is on file here.
    /// A request for another key is refused: whoever brings it may be somebody else.
    pub fn renew_site(
        &self,
        csr_pem: &str,
        before: &str,
        serial: [u8; 16],
        now: Timestamp,
    ) -> Result<String, PkiError> {
        let key = requested_key(csr_pem)?;
        let named = || -> Option<(Identity, Vec<u8>)> {
            let (_, pem) = parse_x509_pem(before.as_bytes()).ok()?;
            let cert = pem.parse_x509().ok()?;
            let names = cert.subject_alternative_name().ok()??;
            let [GeneralName::URI(uri)] = &names.value.general_names[..] else { return None };
            Some((uri.parse().ok()?, cert.public_key().subject_public_key.data.to_vec()))
        };
        let Some((Identity::Site { tenant, site }, known)) = named() else {
            return Err(PkiError::NotASite);
        };
        if known != key.der_bytes() {
            return Err(PkiError::OtherKey);
        }
        self.issue_site(csr_pem, &tenant, &site, serial, now)
    }

    /// An operator's certificate and its new key.
    pub fn issue_operator(
        &self,
        tenant: &Tenant,
        name: &Operator,
        serial: [u8; 16],
        now: Timestamp,
    ) -> Result<Issued, PkiError> {
        let who = Identity::Operator { tenant: tenant.clone(), name: name.clone() };
        self.issue_with_new_key(&client(&who, name.as_str(), serial, now, OPERATOR_LIFE)?)
    }

    /// A carrier's certificate and its new key.
    pub fn issue_carrier(
        &self,
        tenant: &Tenant,
        name: &Carrier,
        serial: [u8; 16],
        now: Timestamp,
    ) -> Result<Issued, PkiError> {
        let who = Identity::Carrier { tenant: tenant.clone(), name: name.clone() };
        self.issue_with_new_key(&client(&who, name.as_str(), serial, now, CARRIER_LIFE)?)
    }

    fn issue_with_new_key(&self, params: &CertificateParams) -> Result<Issued, PkiError> {
        let key = Signer::generate()?;
        let cert_pem = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Issued { cert_pem, key_pem: key.to_pem()? })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "authority {}", self.cert_pem)
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "issued {}", self.cert_pem)
    }
}

/// What all certificates have: a common name, a serial number, a validity, and signing as their use.
fn common(name: &str, serial: [u8; 16], now: Timestamp, life: Span) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = instant(now.plus(Span::from_millis(-BACKDATED.as_millis())));
    params.not_after = instant(now.plus(life));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params
}

fn client(
    who: &Identity,
    name: &str,
    serial: [u8; 16],
    now: Timestamp,
    life: Span,
) -> Result<CertificateParams, PkiError> {
    let mut params = common(name, serial, now, life);
    params.subject_alt_names = vec![SanType::URI(who.to_string().try_into()?)];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

/// A DNS name or an IP address as a subject alternative name.
fn host(name: &str) -> Result<SanType, PkiError> {
    let refused = || PkiError::Name(name.to_owned());
    if let Ok(ip) = name.parse() {
        return Ok(SanType::IpAddress(ip));
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > 253 || !name.split('.').all(label) {
        return Err(refused());
    }
    Ok(SanType::DnsName(name.try_into().map_err(|_| refused())?))
}

/// X.509 times have whole seconds.
fn instant(at: Timestamp) -> OffsetDateTime {
    // Our timestamps end in the year 9999, as do those of `time`.
    OffsetDateTime::from_unix_timestamp(at.as_millis().div_euclid(1000))
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
