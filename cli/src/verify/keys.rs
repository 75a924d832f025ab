//! Which keys are trusted: only those that the user names, never those that lie beside the evidence.

use std::path::{Path, PathBuf};

use compliance_protocol::envelope::Verified;
use compliance_protocol::key::{KeyError, KeySet, PublicKey};
use compliance_protocol::tlog::VerifierKey;
use compliance_protocol::trust::Trust;

use crate::{Error, files};

/// The keys that the user named.
#[derive(Debug)]
pub struct Keys {
    given: Vec<PublicKey>,
    trust: Option<Trust>,
    log: Option<VerifierKey>,
}

impl Keys {
    /// Takes public keys, a trust file, or both, and perhaps the log's key. What contradicts is refused.
    pub fn new(
        given: Vec<PublicKey>,
        trust: Option<Trust>,
        log: Option<VerifierKey>,
    ) -> Result<Self, Error> {
        let named = trust.as_ref().map(|trust| trust.log.clone());
        if log.is_some() && named.is_some() && log != named {
            return Err(Error::Usage(
                "--checkpoint and --trust name different keys of the evidence log".to_owned(),
            ));
        }
        Ok(Self { given, trust, log: log.or(named) })
    }

    /// Reads the files that the options name.
    pub fn read(keys: &[PathBuf], trust: Option<&Path>, log: Option<&Path>) -> Result<Self, Error> {
        Self::new(
            keys.iter().map(|path| files::public_key(path)).collect::<Result<_, _>>()?,
            trust.map(files::trust).transpose()?.map(Verified::into_value),
            log.map(files::log_key).transpose()?,
        )
    }

    /// The keys that may have signed evidence: those given, and of these only what the trust file names
    /// too, if there is one.
    pub(super) fn evidence(&self) -> Vec<&PublicKey> {
        match &self.trust {
            None => self.given.iter().collect(),
            Some(trust) => {
                let named = &trust.roles.evidence;
                let fits = self.given.is_empty() || self.given.contains(named);
                fits.then_some(named).into_iter().collect()
            }
        }
    }

    /// The keys that must all have signed an envelope, when no trust file says which.
    pub(super) fn all_given(&self) -> Result<KeySet, KeyError> {
        KeySet::new(self.given.clone(), self.given.len())
    }

    pub(super) fn trust(&self) -> Option<&Trust> {
        self.trust.as_ref()
    }

    pub(super) fn log(&self) -> Option<&VerifierKey> {
        self.log.as_ref()
    }
}
