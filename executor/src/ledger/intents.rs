//! Intents: what is about to be done, on disk before it is done.

use std::collections::VecDeque;

use compliance_checks::CheckId;
use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::{ActionRecord, Finding};
use compliance_protocol::gate::Gate;
use compliance_protocol::name::{BootId, Id};
use compliance_protocol::time::Timestamp;
use rusqlite::params;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::{Ledger, LedgerError, Tx};
use crate::activation::Activation;
use crate::effect::Effect;

/// Names an open intent.
pub type IntentId = i64;

/// What is about to be done, why, and how things were before. A later release may have written it, and a
/// rollback have brought this one back: fields that this one does not know are left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// The effect on the host; `None` for an order that only looks.
    pub effect: Option<Effect>,
    /// On whose authority.
    pub trigger: Trigger,
    /// The check that will say whether it helped.
    pub check: Option<CheckId>,
    /// What it is done to.
    pub subject: String,
    /// What was wrong.
    #[serde(deserialize_with = "readable")]
    pub findings: Vec<Finding>,
    /// The check's facts before.
    pub pre: Map<String, Value>,
    /// The gates that were open.
    #[serde(deserialize_with = "readable")]
    pub gates: Vec<Gate>,
    /// When, by the machine's clock.
    pub started_at: Timestamp,
    /// In which boot.
    pub boot_id: BootId,
    /// The activation that it is, if it is one.
    #[serde(default)]
    pub activation: Option<Activation>,
    /// Which steps of it were carried out: the switch restarts the executor, and evidence is to show all.
    #[serde(default, deserialize_with = "readable")]
    pub steps: VecDeque<ActionRecord>,
    /// The window does not count for it: an order with the signatures for that says so.
    #[serde(default)]
    pub overrides_window: bool,
    /// A later release wrote it, and this one cannot tell what it is about: only whose it is.
    #[serde(skip)]
    pub is_unread: bool,
}

/// Reads of a list what this release can read: it is for evidence only.
fn readable<'de, D, T, C>(from: D) -> Result<C, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
    C: FromIterator<T>,
{
    let all = Vec::<Value>::deserialize(from)?;
    Ok(all.into_iter().filter_map(|one| serde_json::from_value(one).ok()).collect())
}

/// What every release's intents say.
#[derive(Deserialize)]
struct Header {
    trigger: Trigger,
    subject: String,
    started_at: Timestamp,
    boot_id: BootId,
}

impl Intent {
    fn read(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json).or_else(|whole: serde_json::Error| {
            let header: Header = serde_json::from_str(json).map_err(|_| whole)?;
            tracing::warn!(subject = header.subject, "only whose this intent is can be read");
            Ok(Self::unread(header))
        })
    }

    fn unread(header: Header) -> Self {
        let Header { trigger, subject, started_at, boot_id } = header;
        Self {
            effect: None,
            trigger,
            check: None,
            subject,
            findings: Vec::new(),
            pre: Map::new(),
            gates: Vec::new(),
            started_at,
            boot_id,
            activation: None,
            steps: VecDeque::new(),
            overrides_window: false,
            is_unread: true,
        }
    }
}

/// Proof that an activation is on disk as it is here, so that its next step may be carried out.
#[derive(Debug)]
pub struct OnRecord<'a>(&'a Activation);

impl OnRecord<'_> {
    /// The activation.
    pub fn activation(&self) -> &Activation {
        self.0
    }
}

/// On whose authority something is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trigger {
    /// An order's.
    Order {
        /// Its id.
        id: Id,
        /// Its epoch.
        epoch: u64,
        /// Its sequence.
        sequence: u64,
        /// The digest of its payload.
        payload_sha256: Digest,
    },
    /// The local policy's, for a drift just observed.
    Drift,
}

impl Ledger {
    /// The intents without an outcome: while running at most one, or a heal and the activation that is prepared
    /// meanwhile; and what a crash left. Those of a newer release of which this one cannot read anything stay for
    /// that release to conclude.
    pub fn open_intents(&self) -> Result<Vec<(IntentId, Intent)>, LedgerError> {
        let newer = self.is_newer()?;
        let mut statement = self.db.prepare("SELECT n, json FROM intents ORDER BY n")?;
        let mut rows = statement.query([])?;
        let mut open = Vec::new();
        while let Some(row) = rows.next()? {
            let json: String = row.get(1)?;
            match Intent::read(&json) {
                Ok(intent) => open.push((row.get(0)?, intent)),
                Err(_) if newer => tracing::warn!("an intent of a newer release is left to it"),
                Err(_) => return Err(LedgerError::Unreadable("intent")),
            }
        }
        Ok(open)
    }
}

impl Ledger {
    /// Puts on disk how far the activation of `intent` is.
    pub fn record_activation<'a>(
        &mut self,
        id: IntentId,
        intent: &'a Intent,
    ) -> Result<Option<OnRecord<'a>>, LedgerError> {
        let json = serde_json::to_string(intent).map_err(|_| LedgerError::Unreadable("intent"))?;
        self.commit(|tx| {
            tx.tx.execute("UPDATE intents SET json = ?2 WHERE n = ?1", params![id, json])?;
            Ok(())
        })?;
        Ok(intent.activation.as_ref().map(OnRecord))
    }
}

impl Tx<'_> {
    /// Puts an intent on record.
    pub fn open_intent(&self, intent: &Intent) -> Result<IntentId, LedgerError> {
        let json = serde_json::to_string(intent).map_err(|_| LedgerError::Unreadable("intent"))?;
        self.tx.execute("INSERT INTO intents (json) VALUES (?1)", [json])?;
        Ok(self.tx.last_insert_rowid())
    }

    /// Its outcome is on record.
    pub fn close_intent(&self, intent: IntentId) -> Result<(), LedgerError> {
        self.tx.execute("DELETE FROM intents WHERE n = ?1", [intent])?;
        Ok(())
    }
}
