//! Our private keys as rcgen wants them.

use compliance_signing::PrivateKey;
use rcgen::{PKCS_ED25519, PublicKeyData, SignatureAlgorithm, SigningKey};

use crate::PkiError;

/// A private key that signs certificates and requests.
pub(crate) struct Signer {
    key: PrivateKey,
    public: [u8; 32],
}

impl Signer {
    pub(crate) fn generate() -> Result<Self, PkiError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        Ok(Self::of(PrivateKey::from_seed(&seed)?))
    }

    pub(crate) fn from_pem(pem: &str) -> Result<Self, PkiError> {
        Ok(Self::of(PrivateKey::from_pem(pem)?))
    }

    pub(crate) fn to_pem(&self) -> Result<String, PkiError> {
        Ok(self.key.to_pem()?.to_string())
    }

    fn of(key: PrivateKey) -> Self {
        let public = *key.public().as_bytes();
        Self { key, public }
    }
}

impl PublicKeyData for Signer {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

impl SigningKey for Signer {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.key.sign(message).to_vec())
    }
}
