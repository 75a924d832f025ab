//! Certificate requests: an appliance shows that it holds a key, and names nothing.

use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, PKCS_ED25519, PublicKey,
};

use crate::PkiError;
use crate::signer::Signer;

/// The PEM certificate request for the PKCS#8 PEM key. It carries the public key and no name: the
/// authority decides for whom the certificate is.
pub fn csr(key_pem: &str) -> Result<String, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(&Signer::from_pem(key_pem)?)?.pem()?)
}

/// The public key of a request whose own signature holds.
pub(crate) fn requested_key(csr_pem: &str) -> Result<PublicKey, PkiError> {
    let request =
        CertificateSigningRequestParams::from_pem(csr_pem).map_err(|_| PkiError::NotARequest)?;
    if request.public_key.algorithm() == &PKCS_ED25519 {
        Ok(request.public_key)
    } else {
        Err(PkiError::NotARequest)
    }
}
