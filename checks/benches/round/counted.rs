//! The real host, with a count of the programs that it started, and with the links of NixOS.

use std::sync::atomic::{AtomicUsize, Ordering};

use compliance_checks::command::{Command, Output};
use compliance_checks::host::{FileStat, Hashing, RulesetChange, UnitState};
use compliance_checks::linux::LinuxHost;
use compliance_checks::{Host, HostError};
use compliance_protocol::name::{AbsPath, UnitName};
use compliance_protocol::time::Timestamp;

use crate::nixos::{known, placed};

static STARTED: AtomicUsize = AtomicUsize::new(0);

/// How many programs all hosts together have started.
pub(crate) fn total() -> usize {
    STARTED.load(Ordering::Relaxed)
}

#[derive(Debug, Default)]
pub(crate) struct Counted(LinuxHost);

impl Host for Counted {
    fn stat(&self, path: &AbsPath) -> Result<FileStat, HostError> {
        self.0.stat(path)
    }

    fn read(&self, path: &AbsPath, limit: usize) -> Result<Vec<u8>, HostError> {
        self.0.read(path, limit)
    }

    fn read_head(&self, path: &AbsPath, length: usize) -> Result<Vec<u8>, HostError> {
        self.0.read_head(path, length)
    }

    fn sha256(&self, path: &AbsPath, budget: &mut u64) -> Result<Hashing, HostError> {
        self.0.sha256(path, budget)
    }

    fn resolve(&self, path: &AbsPath) -> Result<AbsPath, HostError> {
        self.0.resolve(&placed(path)).map(known)
    }

    fn link_time(&self, path: &AbsPath) -> Result<Timestamp, HostError> {
        self.0.link_time(&placed(path))
    }

    fn read_link(&self, path: &AbsPath) -> Result<String, HostError> {
        self.0.read_link(&placed(path))
    }

    fn list(&self, path: &AbsPath) -> Result<Vec<String>, HostError> {
        self.0.list(path)
    }

    fn free_bytes(&self, path: &AbsPath) -> Result<u64, HostError> {
        self.0.free_bytes(path)
    }

    fn units(&self, named: &[UnitName]) -> Result<Vec<UnitState>, HostError> {
        self.0.units(named)
    }

    fn all_units(&self) -> Result<Vec<UnitState>, HostError> {
        self.0.all_units()
    }

    fn ruleset_generation(&self) -> Result<u32, HostError> {
        self.0.ruleset_generation()
    }

    fn ruleset_changes(&self) -> Vec<RulesetChange> {
        self.0.ruleset_changes()
    }

    fn log(&self, fields: &[(&str, &str)]) -> Result<(), HostError> {
        self.0.log(fields)
    }

    fn clock_synchronised(&self) -> bool {
        self.0.clock_synchronised()
    }

    fn run(&self, command: &Command) -> Result<Output, HostError> {
        STARTED.fetch_add(1, Ordering::Relaxed);
        self.0.run(command)
    }
}
