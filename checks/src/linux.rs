//! The real host.

mod bus;
mod digests;
mod files;
mod journal;
mod netfilter;
mod patience;
pub mod units;

use std::path::PathBuf;
use std::sync::Arc;

use compliance_protocol::name::{AbsPath, UnitName};
use compliance_protocol::time::Timestamp;

use crate::command::{self, Command, Output};
use crate::host::{FileStat, Hashing, Host, HostError, RulesetChange, UnitState};

/// This machine.
#[derive(Debug, Default)]
pub struct LinuxHost {
    digests: Arc<digests::Digests>,
    netfilter: netfilter::Netfilter,
    patience: patience::Patience,
    units: units::Units,
}

impl LinuxHost {
    /// Keeps the digests of large files in the file at `memory` over a restart, which then does not read
    /// them all again.
    pub fn keeping_digests(memory: PathBuf) -> Self {
        let digests = digests::Digests::kept_in(memory, compliance_clock::wall());
        Self { digests: Arc::new(digests), ..Self::default() }
    }
}

impl Host for LinuxHost {
    fn stat(&self, path: &AbsPath) -> Result<FileStat, HostError> {
        self.patience.with(path, files::stat)
    }

    fn read(&self, path: &AbsPath, limit: usize) -> Result<Vec<u8>, HostError> {
        self.patience.with(path, move |path| files::read(path, limit))
    }

    fn read_head(&self, path: &AbsPath, length: usize) -> Result<Vec<u8>, HostError> {
        files::read_head(path, length)
    }

    fn sha256(&self, path: &AbsPath, budget: &mut u64) -> Result<Hashing, HostError> {
        let (digests, mut left) = (Arc::clone(&self.digests), *budget);
        let (hashing, left) = self.patience.with(path, move |path| {
            let hashing = digests.sha256(path, &mut left, compliance_clock::wall())?;
            Ok((hashing, left))
        })?;
        *budget = left;
        Ok(hashing)
    }

    fn resolve(&self, path: &AbsPath) -> Result<AbsPath, HostError> {
        self.patience.with(path, files::resolve)
    }

    fn link_time(&self, path: &AbsPath) -> Result<Timestamp, HostError> {
        files::link_time(path)
    }

    fn read_link(&self, path: &AbsPath) -> Result<String, HostError> {
        files::read_link(path)
    }

    fn list(&self, path: &AbsPath) -> Result<Vec<String>, HostError> {
        files::list(path)
    }

    fn free_bytes(&self, path: &AbsPath) -> Result<u64, HostError> {
        self.patience.with(path, files::free_bytes)
    }

    fn units(&self, named: &[UnitName]) -> Result<Vec<UnitState>, HostError> {
        self.units.ask(named)
    }

    fn all_units(&self) -> Result<Vec<UnitState>, HostError> {
        self.units.all()
    }

    fn ruleset_generation(&self) -> Result<u32, HostError> {
        self.netfilter.generation()
    }

    fn ruleset_changes(&self) -> Vec<RulesetChange> {
        self.netfilter.changes()
    }

    fn log(&self, fields: &[(&str, &str)]) -> Result<(), HostError> {
        journal::write(fields)
    }

    fn clock_synchronised(&self) -> bool {
        compliance_clock::read().synchronised
    }

    fn run(&self, command: &Command) -> Result<Output, HostError> {
        command::run(command)
    }
}
