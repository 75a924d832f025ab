//! The certificates of one tenant: its authority, servers, appliances and operators.
//!
//! All keys are Ed25519. Who a client is stands in one URI of its certificate ([`Identity`]); everything
//! else in a certificate request is ignored, so that an appliance cannot name itself.

mod authority;
mod identity;
mod request;
mod signer;

pub use authority::{
    AUTHORITY_LIFE, Authority, BACKDATED, CARRIER_LIFE, Issued, OPERATOR_LIFE, SERVER_LIFE,
    SITE_LIFE,
};
pub use identity::{Identity, NotAnIdentity};
pub use request::csr;

/// Why a certificate, a key or a request is not made or not taken.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The private key cannot be read or used.
    #[error("the private key cannot be used: {0}")]
    Key(#[from] compliance_signing::PrivateKeyError),
    /// The kernel gave no random bytes for a new key.
    #[error("no random bytes for a new key: {0}")]
    Random(#[from] getrandom::Error),
    /// The authority's certificate is not one, or not an authority's.
    #[error(
        "this is not the PEM certificate of an authority; give the ca.pem that `compliance-mcp init` made"
    )]
    NotAnAuthority,
    /// Certificate and key are not a pair.
    #[error(
        "the authority's key does not belong to its certificate; give the ca.pem and ca.key of one `init`"
    )]
    NotAPair,
    /// The request is not one, its own signature does not hold, or its key is not Ed25519.
    #[error(
        "this is not a PEM certificate request for an Ed25519 key (`compliance-executor enrol` makes one)"
    )]
    NotARequest,
    /// What is to be renewed is no appliance's certificate.
    #[error(
        "this is not the PEM certificate of an appliance, which `compliancectl site add` wrote"
    )]
    NotASite,
    /// Somebody asks for a certificate for a key of their own.
    #[error(
        "the request is for another key than the appliance's: whoever passed it on may have put their own in its place; enrol a new key with `compliancectl site add`"
    )]
    OtherKey,
    /// A name that a certificate cannot hold.
    #[error("{0:?} cannot be in a certificate: write a DNS name or an IP address")]
    Name(String),
    /// A server certificate without a name.
    #[error("a server's certificate needs at least one DNS name or IP address")]
    NoName,
    /// The certificate could not be encoded.
    #[error("the certificate could not be made: {0}")]
    Encoding(#[from] rcgen::Error),
}
