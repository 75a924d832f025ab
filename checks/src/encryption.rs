//! `encryption`: required mounts and all swap stand on LUKS2.

use serde::{Deserialize, Serialize};

use crate::baseline::Baseline;
use crate::{Check, CheckId, Circumstances, Host, Report, Verdict};

/// What the encryption check expects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncryptionBaseline {
    /// Mount points that must be encrypted.
    pub mounts: Vec<compliance_protocol::name::AbsPath>,
}

/// The check.
#[derive(Debug)]
pub struct Encryption;

impl Check for Encryption {
    fn id(&self) -> CheckId {
        CheckId::Encryption
    }

    fn version(&self) -> u32 {
        1
    }

    fn run(&mut self, _host: &dyn Host, _baseline: &Baseline, _about: &Circumstances) -> Report {
        Report::new(self.id(), self.version(), Verdict::Unknown("not built yet".to_owned()))
    }
}
