//! Ed25519 private keys, in PKCS#8 PEM as `openssl` reads and writes it.

use std::fmt;

use compliance_protocol::key::{KeyError, PublicKey};
use ed25519_dalek::ed25519::KeypairBytes;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey, spki::der::pem::LineEnding};
use ed25519_dalek::{Signer as _, SigningKey};
use zeroize::Zeroizing;

/// An Ed25519 private key (RFC 8032). Its memory is wiped when it is dropped; `Debug` shows the public
/// half only.
pub struct PrivateKey {
    secret: SigningKey,
    public: PublicKey,
}

/// Why a private key cannot be used. The key itself is in no message.
#[derive(Debug, thiserror::Error)]
pub enum PrivateKeyError {
    /// Not an Ed25519 private key in PKCS#8 PEM.
    #[error(
        "this is not an Ed25519 private key in PKCS#8 PEM (make one with `compliancectl key generate`)"
    )]
    NotAKey,
    /// Its public half is refused.
    #[error(transparent)]
    Public(#[from] KeyError),
}

impl PrivateKey {
    /// The key that 32 random bytes make.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, PrivateKeyError> {
        Self::admit(SigningKey::from_bytes(seed))
    }

    /// Reads PKCS#8 PEM (`-----BEGIN PRIVATE KEY-----`).
    pub fn from_pem(pem: &str) -> Result<Self, PrivateKeyError> {
        Self::admit(SigningKey::from_pkcs8_pem(pem).map_err(|_| PrivateKeyError::NotAKey)?)
    }

    /// Writes PKCS#8 PEM, version 1: with the public key inside (version 2) OpenSSL 3.0 cannot read it.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, PrivateKeyError> {
        KeypairBytes { secret_key: self.secret.to_bytes(), public_key: None }
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(|_| PrivateKeyError::NotAKey)
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        self.public.clone()
    }

    /// Signs `message` (RFC 8032 §5.1.6), 64 bytes.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.secret.sign(message).to_bytes()
    }

    fn admit(secret: SigningKey) -> Result<Self, PrivateKeyError> {
        let public = PublicKey::from_bytes(secret.verifying_key().as_bytes())?;
        Ok(Self { secret, public })
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "private key of {}", self.public)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_8032_test_1_signs_as_published() {
        let mut seed = [0; 32];
        hex::decode_to_slice(
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            &mut seed,
        )
        .unwrap();
        let key = PrivateKey::from_seed(&seed).unwrap();
        assert_eq!(
            key.public().to_string(),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
        assert_eq!(
            hex::encode(key.sign(b"")),
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        );
    }

    #[test]
    fn pem_goes_round_and_debug_shows_no_secret() {
        let key = PrivateKey::from_seed(&[7; 32]).unwrap();
        let pem = key.to_pem().unwrap();
        let again = PrivateKey::from_pem(&pem).unwrap();
        assert_eq!(again.public(), key.public());
        assert!(!format!("{key:?}").contains(&hex::encode([7; 32])));
        assert!(PrivateKey::from_pem("-----BEGIN PRIVATE KEY-----\n").is_err());
    }
}
