//! What rustls says of our certificates, at chosen times.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::sync::Arc;

use compliance_pki::{Authority, OPERATOR_LIFE, PkiError, SERVER_LIFE, SITE_LIFE, csr};
use compliance_protocol::name::{Site, Tenant};
use compliance_protocol::time::{Span, Timestamp};
use compliance_signing::PrivateKey;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, Error, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

fn now() -> Timestamp {
    "2026-11-20T09:41:11.123Z".parse().unwrap()
}

fn tenant() -> Tenant {
    "acme".parse().unwrap()
}

fn site() -> Site {
    "clinic-042".parse().unwrap()
}

fn authority() -> Authority {
    Authority::generate(&tenant(), [1; 16], now()).unwrap()
}

fn site_cert(authority: &Authority) -> String {
    let key = PrivateKey::from_seed(&[7; 32]).unwrap().to_pem().unwrap();
    authority.issue_site(&csr(&key).unwrap(), &tenant(), &site(), [2; 16], now()).unwrap()
}

fn key_of(cert_pem: &str) -> Vec<u8> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(cert_pem.as_bytes()).unwrap();
    pem.parse_x509().unwrap().public_key().raw.to_vec()
}

fn unix(at: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_millis(at.as_millis().try_into().unwrap()))
}

fn roots(authority: &Authority) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.cert_pem().as_bytes()).unwrap()).unwrap();
    Arc::new(roots)
}

fn as_client(authority: &Authority, cert_pem: &str, at: Timestamp) -> Result<(), Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots(authority), provider).build().unwrap();
    let cert = CertificateDer::from_pem_slice(cert_pem.as_bytes()).unwrap();
    verifier.verify_client_cert(&cert, &[], unix(at)).map(|_| ())
}

fn as_server(
    authority: &Authority,
    cert_pem: &str,
    name: &str,
    at: Timestamp,
) -> Result<(), Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier =
        WebPkiServerVerifier::builder_with_provider(roots(authority), provider).build().unwrap();
    let cert = CertificateDer::from_pem_slice(cert_pem.as_bytes()).unwrap();
    let name = ServerName::try_from(name).unwrap();
    verifier.verify_server_cert(&cert, &[], &name, &[], unix(at)).map(|_| ())
}

fn refused_for(result: Result<(), Error>, why: &str) {
    match result.unwrap_err() {
        Error::InvalidCertificate(error) => {
            assert!(format!("{error:?}").contains(why), "{error:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_certificate_is_accepted_for_its_purpose_and_no_other() {
    let authority = authority();
    let names = ["mcp.example".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let server = authority.issue_server(&names, [3; 16], now()).unwrap().cert_pem;
    let operator =
        authority.issue_operator(&tenant(), &"admin".parse().unwrap(), [4; 16], now()).unwrap();
    for client in [site_cert(&authority), operator.cert_pem] {
        as_client(&authority, &client, now()).unwrap();
        refused_for(as_server(&authority, &client, "mcp.example", now()), "InvalidPurpose");
    }
    for name in ["mcp.example", "127.0.0.1", "::1"] {
        as_server(&authority, &server, name, now()).unwrap();
    }
    refused_for(as_server(&authority, &server, "other.example", now()), "NotValidForName");
    refused_for(as_client(&authority, &server, now()), "InvalidPurpose");
    refused_for(as_client(&authority, authority.cert_pem(), now()), "CaUsedAsEndEntity");
}

#[test]
fn a_certificate_is_valid_from_an_hour_ago_for_its_documented_life() {
    let authority = authority();
    let server =
        authority.issue_server(&["localhost".to_owned()], [3; 16], now()).unwrap().cert_pem;
    let operator =
        authority.issue_operator(&tenant(), &"admin".parse().unwrap(), [4; 16], now()).unwrap();
    let site = site_cert(&authority);
    let client = |cert: &str, at| as_client(&authority, cert, at);
    let early = now().plus(Span::from_secs(-3601));
    refused_for(client(&site, early), "NotValidYet");
    client(&site, early.plus(Span::from_secs(2))).unwrap();
    for (cert, life) in [(&site, SITE_LIFE), (&operator.cert_pem, OPERATOR_LIFE)] {
        client(cert, now().plus(life).plus(Span::from_secs(-2))).unwrap();
        refused_for(client(cert, now().plus(life).plus(Span::from_secs(2))), "Expired");
    }
    let late = now().plus(SERVER_LIFE).plus(Span::from_secs(2));
    refused_for(as_server(&authority, &server, "localhost", late), "Expired");
}

#[test]
fn another_authority_of_the_same_tenant_is_not_this_one() {
    let result = as_client(&authority(), &site_cert(&authority()), now());
    assert!(matches!(
        result.unwrap_err(),
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)
    ));
}

#[test]
fn a_site_is_named_by_the_authority_and_never_by_its_request() {
    let authority = authority();
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let mut asking = rcgen::CertificateParams::new(vec!["victim.example".to_owned()]).unwrap();
    asking.distinguished_name.push(rcgen::DnType::CommonName, "victim");
    asking.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    asking.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let request = asking.serialize_request(&key).unwrap().pem().unwrap();
    let issued = authority.issue_site(&request, &tenant(), &site(), [2; 16], now()).unwrap();
    let (_, pem) = x509_parser::pem::parse_x509_pem(issued.as_bytes()).unwrap();
    let cert = pem.parse_x509().unwrap();
    assert_eq!(cert.subject().to_string(), "CN=clinic-042");
    assert!(!cert.is_ca());
    let names = &cert.subject_alternative_name().unwrap().unwrap().value.general_names;
    assert_eq!(
        names.as_slice(),
        [x509_parser::extensions::GeneralName::URI("spiffe://acme/site/clinic-042")]
    );
    assert!(!cert.extended_key_usage().unwrap().unwrap().value.server_auth);
}

#[test]
fn a_certificate_is_renewed_for_the_same_site_and_the_same_key_and_for_no_other() {
    let authority = authority();
    let key = || rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
    let (own, others) = (csr(&key()).unwrap(), csr(&key()).unwrap());
    let before = authority.issue_site(&own, &tenant(), &site(), [2; 16], now()).unwrap();
    let renewed = authority.renew_site(&own, &before, [3; 16], now()).unwrap();
    assert_eq!(key_of(&renewed), key_of(&before));
    as_client(&authority, &renewed, now()).unwrap();
    let stolen = authority.renew_site(&others, &before, [3; 16], now());
    assert!(matches!(stolen, Err(PkiError::OtherKey)), "{stolen:?}");
    let operator = authority.issue_operator(&tenant(), &"a".parse().unwrap(), [9; 16], now());
    for other in [operator.unwrap().cert_pem.as_str(), authority.cert_pem(), ""] {
        let refused = authority.renew_site(&own, other, [3; 16], now());
        assert!(matches!(refused, Err(PkiError::NotASite)), "{refused:?}");
    }
}

#[test]
fn an_authority_comes_back_from_its_files_and_only_as_a_pair() {
    let (first, second) = (authority(), authority());
    let again = Authority::from_pem(first.cert_pem(), first.key_pem()).unwrap();
    as_client(&first, &site_cert(&again), now()).unwrap();
    let mixed = Authority::from_pem(first.cert_pem(), second.key_pem());
    assert!(matches!(mixed, Err(PkiError::NotAPair)));
    let operator = first.issue_operator(&tenant(), &"a".parse().unwrap(), [9; 16], now()).unwrap();
    let not_ca = Authority::from_pem(&operator.cert_pem, &operator.key_pem);
    assert!(matches!(not_ca, Err(PkiError::NotAnAuthority)));
    assert!(matches!(Authority::from_pem("", first.key_pem()), Err(PkiError::NotAnAuthority)));
    assert!(matches!(Authority::from_pem(first.cert_pem(), ""), Err(PkiError::Key(_))));
}

#[test]
fn a_changed_request_never_gives_a_certificate_for_another_key() {
    let authority = authority();
    let issue = |csr: &str| authority.issue_site(csr, &tenant(), &site(), [2; 16], now());
    let ecdsa = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let other = rcgen::CertificateParams::default().serialize_request(&ecdsa).unwrap();
    assert!(matches!(issue(&other.pem().unwrap()), Err(PkiError::NotARequest)));
    let key = PrivateKey::from_seed(&[7; 32]).unwrap().to_pem().unwrap();
    let good = csr(&key).unwrap();
    issue(&good).unwrap();
    for at in 0..good.len() {
        let mut changed = good.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        // A change that does not matter (the armour's label) leaves the key that signed the request.
        if let Ok(issued) = issue(std::str::from_utf8(&changed).unwrap()) {
            assert_eq!(key_of(&issued), key_of(&issue(&good).unwrap()), "character {at}");
        }
    }
    assert!(matches!(issue("nothing"), Err(PkiError::NotARequest)));
}

#[test]
fn a_name_that_is_no_host_is_refused() {
    for bad in ["", "a b", "*.example", "exa_mple", "-a", "a..b", "http://x", "ü.example"] {
        let result = authority().issue_server(&[bad.to_owned()], [3; 16], now());
        assert!(matches!(result, Err(PkiError::Name(_))), "{bad}");
    }
    assert!(matches!(authority().issue_server(&[], [3; 16], now()), Err(PkiError::NoName)));
}

#[test]
fn debug_shows_no_private_key() {
    let authority = authority();
    let issued = authority.issue_server(&["a".to_owned()], [3; 16], now()).unwrap();
    for text in [format!("{authority:?}"), format!("{issued:?}")] {
        assert!(!text.contains("PRIVATE"), "{text}");
    }
}
