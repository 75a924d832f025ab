//! The canaries: when one is written, looked for, found or lost.

use compliance_protocol::time::Span;
use serde_json::{Map, Value, json};

use super::journalctl::{self, Entry};
use super::{JOURNAL, LoggingBaseline, finding};
use crate::services::Standing;
use crate::{Circumstances, Host, HostError};

/// The `MESSAGE_ID` of all canaries: `journalctl MESSAGE_ID=…` shows them.
pub(super) const MESSAGE_ID: &str = "885dea0d638f4880819781abf64a1bd4";

/// The field with the random number.
pub(super) const FIELD: &str = "COMPLIANCE_CANARY";

/// The canaries of this run of the executor, in times of `CLOCK_BOOTTIME`.
#[derive(Debug, Default)]
pub struct Canaries {
    pending: Option<Pending>,
    found: Option<(Span, Entry)>,
    written_at: Option<Span>,
    lost: bool,
}

#[derive(Debug)]
struct Pending {
    id: String,
    written_at: Span,
}

/// What is known of the canaries in one round.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Canary {
    /// How long ago the last one was written that was found.
    pub age: Option<Span>,
    /// Where that one was found.
    pub entry: Option<Entry>,
    /// How long ago one was written that is still looked for.
    pub pending: Option<Span>,
    /// The last one whose time was over had not been found.
    pub lost: bool,
    /// Why none could be written in this round.
    pub unwritten: Option<HostError>,
    /// Why none could be looked for in this round.
    pub unseen: Option<HostError>,
}

impl Canaries {
    /// Looks for the canary that is on its way; writes one when it is time, and looks for it at once.
    pub(super) fn step(
        &mut self,
        host: &dyn Host,
        expected: &LoggingBaseline,
        about: &Circumstances,
    ) -> Canary {
        let (uptime, mut unwritten) = (about.uptime, None);
        let mut unseen = self.look(host, expected, uptime).err();
        if self.is_due(expected, uptime) {
            let id = format!("{:032x}", u128::from_be_bytes(about.nonce));
            match host.log(&entry(&id)) {
                Ok(()) => {
                    self.written_at = Some(uptime);
                    self.pending = Some(Pending { id, written_at: uptime });
                    unseen = self.look(host, expected, uptime).err();
                }
                Err(error) => unwritten = Some(error),
            }
        }
        Canary {
            age: self.found.as_ref().map(|(at, _)| since(*at, uptime)),
            entry: self.found.as_ref().map(|(_, entry)| entry.clone()),
            pending: self.pending.as_ref().map(|pending| since(pending.written_at, uptime)),
            lost: self.lost,
            unwritten,
            unseen,
        }
    }

    /// After a loss the next round tries again, so that a remedy shows at once.
    fn is_due(&self, expected: &LoggingBaseline, uptime: Span) -> bool {
        let volatile = self.found.as_ref().is_some_and(|(_, entry)| !entry.on_disk);
        let again = self.lost || (expected.persistent && volatile);
        let due = self.written_at.is_none_or(|at| since(at, uptime) >= interval(expected));
        self.pending.is_none() && (again || due)
    }

    fn look(
        &mut self,
        host: &dyn Host,
        expected: &LoggingBaseline,
        uptime: Span,
    ) -> Result<(), HostError> {
        let Some(pending) = self.pending.take() else { return Ok(()) };
        let (written_at, age) = (pending.written_at, since(pending.written_at, uptime));
        match journalctl::find(host, &pending.id, expected.persistent) {
            Ok(Some(entry)) => {
                self.found = Some((written_at, entry));
                self.lost = false;
            }
            Ok(None) if age >= seconds(expected.canary_limit_s) => self.lost = true,
            Ok(None) => self.pending = Some(pending),
            Err(error) => {
                // Not to have been able to look is no loss.
                self.pending = Some(pending);
                return Err(error);
            }
        }
        Ok(())
    }
}

/// Judges the canaries alone.
pub(super) fn judge(expected: &LoggingBaseline, canary: &Canary) -> Vec<Standing> {
    let max_gap = seconds(expected.max_gap_minutes.saturating_mul(60));
    let wanted = format!("a canary found within {} s of being written", expected.canary_limit_s);
    let wrong = |actual: &str| vec![Standing::Wrong(finding(JOURNAL, &wanted, actual))];
    let unclear = |why: String| vec![Standing::Unclear(why)];
    let stale = canary.age.filter(|age| *age > max_gap);
    match (canary, stale) {
        (Canary { lost: true, .. }, _) => wrong("canary not found"),
        (Canary { unwritten: Some(_), .. }, Some(age)) => {
            wrong(&format!("no canary could be written; the last that was found is {age} old"))
        }
        (Canary { unwritten: Some(error), .. } | Canary { unseen: Some(error), .. }, _) => {
            unclear(error.to_string())
        }
        (Canary { age: None, .. }, _) => unclear("the first canary is on its way".to_owned()),
        (Canary { pending: Some(_), .. }, Some(age)) => {
            unclear(format!("a canary is on its way; the last that was found is {age} old"))
        }
        (_, Some(age)) => wrong(&format!("the last canary that was found is {age} old")),
        (_, None) => Vec::new(),
    }
}

impl Canary {
    pub(super) fn to_json(&self) -> Map<String, Value> {
        let mut facts = Map::new();
        let mut add = |name: &str, fact| facts.insert(name.to_owned(), fact);
        if let Some(age) = self.age {
            add("canary_age_s", json!(age.as_millis() / 1000));
        }
        if let Some(pending) = self.pending {
            add("canary_pending_s", json!(pending.as_millis() / 1000));
        }
        if let Some(entry) = &self.entry {
            add("last_entry_at", json!(entry.at));
        }
        facts
    }
}

fn entry(id: &str) -> [(&str, &str); 5] {
    [
        ("MESSAGE", "Canary of the logging check: it shows that the journal records."),
        ("MESSAGE_ID", MESSAGE_ID),
        ("PRIORITY", "6"),
        ("SYSLOG_IDENTIFIER", "compliance-executor"),
        (FIELD, id),
    ]
}

/// A canary at least as often as a gap would be drift.
fn interval(expected: &LoggingBaseline) -> Span {
    seconds(expected.canary_minutes.min(expected.max_gap_minutes).saturating_mul(60))
}

fn seconds(seconds: u32) -> Span {
    Span::from_secs(i64::from(seconds))
}

fn since(from: Span, to: Span) -> Span {
    Span::from_millis(to.as_millis().saturating_sub(from.as_millis()))
}
