//! The ruleset's generation and who changed it, over netlink.

use crate::host::{HostError, RulesetChange};

#[derive(Debug, Default)]
pub(super) struct Netfilter;

impl Netfilter {
    pub(super) fn generation(&self) -> Result<u32, HostError> {
        Err(HostError::ToolMissing("nf_tables".to_owned()))
    }

    pub(super) fn changes(&self) -> Vec<RulesetChange> {
        Vec::new()
    }
}
