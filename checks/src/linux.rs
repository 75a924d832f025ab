//! The real host.

mod files;
mod journal;
mod netfilter;
mod units;

use compliance_protocol::digest::Digest;
use compliance_protocol::name::{AbsPath, UnitName};
use compliance_protocol::time::Timestamp;

use crate::command::{self, Command, Output};
use crate::host::{FileStat, Host, HostError, RulesetChange, UnitState};

/// This machine.
#[derive(Debug, Default)]
pub struct LinuxHost {
    hashed: files::Hashed,
    netfilter: netfilter::Netfilter,
    units: units::Units,
}

impl Host for LinuxHost {
    fn stat(&self, path: &AbsPath) -> Result<FileStat, HostError> {
        files::stat(path)
    }

    fn read(&self, path: &AbsPath, limit: usize) -> Result<Vec<u8>, HostError> {
        files::read(path, limit)
    }

    fn read_head(&self, path: &AbsPath, length: usize) -> Result<Vec<u8>, HostError> {
        files::read_head(path, length)
    }

    fn sha256(&self, path: &AbsPath) -> Result<Digest, HostError> {
        self.hashed.sha256(path)
    }

    fn resolve(&self, path: &AbsPath) -> Result<AbsPath, HostError> {
        files::resolve(path)
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

    fn units(&self, named: &[UnitName]) -> Result<Vec<UnitState>, HostError> {
        self.units.ask(named)
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
