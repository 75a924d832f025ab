//! Single values.

use std::str::FromStr;

use compliance_protocol::digest::Digest;
use compliance_protocol::name::StorePath;
use compliance_protocol::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};

use super::{Ledger, LedgerError, Tx};
use crate::activation::{Proven, Quarantine};

/// The name of a single value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// This ledger is a new one, why, and nobody has said so yet.
    New,
    /// The system that was last activated and proven, or adopted at the first start.
    ExpectedSystem,
    /// The latest time ever trusted.
    HighWater,
    /// Orders need a clock that the kernel says is synchronised: this ledger's past was lost.
    KernelClockOnly,
    /// The systems that have proven themselves here, as JSON.
    Proven,
    /// The systems that failed lately, as JSON.
    Quarantine,
    /// The size of the last verified checkpoint.
    LogSize,
    /// Its root.
    LogRoot,
    /// The root of a checkpoint that did not extend the last: already reported.
    LogRewritten,
    /// Orders issued up to then are not carried out: whether they were before is not known.
    OrdersAfter,
    /// Nothing is healed until then.
    PauseUntil,
    /// The ruleset of a baseline that let the appliance through to its control plane: its digest.
    FirewallProven,
    /// The ruleset of a baseline that did not, and was taken back once: its digest.
    FirewallUndone,
    /// How many refusals were not recorded since the last alert about that.
    Suppressed,
}

impl Fact {
    fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::ExpectedSystem => "expected_system",
            Self::HighWater => "high_water",
            Self::KernelClockOnly => "kernel_clock_only",
            Self::Proven => "proven",
            Self::Quarantine => "quarantine",
            Self::LogSize => "log_size",
            Self::LogRoot => "log_root",
            Self::LogRewritten => "log_rewritten",
            Self::OrdersAfter => "orders_after",
            Self::PauseUntil => "pause_until",
            Self::FirewallProven => "firewall_proven",
            Self::FirewallUndone => "firewall_undone",
            Self::Suppressed => "suppressed",
        }
    }
}

/// How far the control plane's evidence log was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogHead {
    /// Its size.
    pub size: u64,
    /// Its root.
    pub root: Digest,
}

impl Ledger {
    /// The value, if there is one.
    pub fn fact<T: FromStr>(&self, fact: Fact) -> Result<Option<T>, LedgerError> {
        read(&self.db, fact)
    }

    /// Whether each value is what was written.
    pub(super) fn facts_are_readable(&self) -> Result<(), LedgerError> {
        self.fact::<Timestamp>(Fact::HighWater)?;
        self.fact::<Timestamp>(Fact::PauseUntil)?;
        self.fact::<Digest>(Fact::LogRewritten)?;
        self.fact::<u64>(Fact::Suppressed)?;
        self.fact::<Proven>(Fact::Proven)?;
        self.fact::<Quarantine>(Fact::Quarantine)?;
        self.fact::<Digest>(Fact::FirewallProven)?;
        self.fact::<Digest>(Fact::FirewallUndone)?;
        self.fact::<u8>(Fact::KernelClockOnly)?;
        self.log_head().map(drop)
    }

    /// The systems that have proven themselves here, the expected one among them.
    pub fn proven(&self) -> Result<Proven, LedgerError> {
        proven(&self.db)
    }

    /// How far the evidence log was verified; `None` before the first checkpoint.
    pub fn log_head(&self) -> Result<Option<LogHead>, LedgerError> {
        let size = self.fact(Fact::LogSize)?;
        let root = self.fact(Fact::LogRoot)?;
        Ok(size.zip(root).map(|(size, root)| LogHead { size, root }))
    }
}

impl Tx<'_> {
    /// The value, if there is one.
    pub fn fact<T: FromStr>(&self, fact: Fact) -> Result<Option<T>, LedgerError> {
        read(&self.tx, fact)
    }

    /// Sets the value.
    pub fn set_fact(&self, fact: Fact, value: &str) -> Result<(), LedgerError> {
        self.tx
            .prepare_cached("INSERT OR REPLACE INTO facts (name, value) VALUES (?1, ?2)")?
            .execute([fact.name(), value])?;
        Ok(())
    }

    /// Expects `system` from here on, which has proven itself, or was adopted; all that have.
    pub fn expect_system(&self, system: &StorePath) -> Result<Proven, LedgerError> {
        let proven = proven(&self.tx)?.with(system);
        let json = serde_json::to_string(&proven)
            .map_err(|_| LedgerError::Unreadable("proven systems"))?;
        self.set_fact(Fact::ExpectedSystem, system.as_str())?;
        self.set_fact(Fact::Proven, &json)?;
        Ok(proven)
    }

    /// Removes the value.
    pub fn clear_fact(&self, fact: Fact) -> Result<(), LedgerError> {
        self.tx.execute("DELETE FROM facts WHERE name = ?1", [fact.name()])?;
        Ok(())
    }
}

/// The list came later than the expected system.
fn proven(db: &Connection) -> Result<Proven, LedgerError> {
    let listed: Proven = read(db, Fact::Proven)?.unwrap_or_default();
    let expected: Option<StorePath> = read(db, Fact::ExpectedSystem)?;
    Ok(expected.iter().fold(listed, Proven::with))
}

fn read<T: FromStr>(db: &Connection, fact: Fact) -> Result<Option<T>, LedgerError> {
    let value: Option<String> = db
        .prepare_cached("SELECT value FROM facts WHERE name = ?1")?
        .query_row([fact.name()], |row| row.get(0))
        .optional()?;
    value.map(|text| text.parse().map_err(|_| LedgerError::Unreadable(fact.name()))).transpose()
}
