//! `firewall`: the ruleset is the baseline's.
//!
//! What nft lists is brought into its canonical form, whose digest is compared. It is taken again when the
//! kernel's generation number moved, and once an hour anyway; whoever moved it is named in the finding.

mod canonical;
mod capture;
mod diff;
mod limits;
mod load;
mod look;
mod name;
mod outline;

pub use canonical::{MAX_LISTING, NotARuleset, Ruleset, canonical};
pub use capture::capture;
pub use limits::dynamic_accepts;
pub use load::{NotLoadable, load_script, undo_script};
pub use look::{Seen, nft_command};
pub use name::{NotATableName, TableName};
pub use outline::{ChainOutline, Fingerprint, NotAFingerprint, Outline, TableOutline};

use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::Finding;
use compliance_protocol::time::Span;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::baseline::Baseline;
use crate::host::RulesetChange;
use crate::{Check, CheckId, Circumstances, Host, HostError, Report, Verdict};

/// What the firewall check expects. `compliance-executor capture` writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirewallBaseline {
    /// The digest of the canonical form of the tables below, together.
    pub sha256: Digest,
    /// Whether healing removes tables that are not named below. They are drift either way.
    #[serde(default)]
    pub exclusive: bool,
    /// For the person who reviews this: the dynamic and timed sets that may decide about an accept, such
    /// as `inet filter @knocked`. Their elements are not in the digest.
    #[serde(default)]
    pub dynamic_accepts: Vec<String>,
    /// The tables below as `nft -f` loads them, without the elements of dynamic and timed sets.
    pub ruleset: String,
    /// The tables that are judged and healed, each with the outline that findings are worded by.
    pub tables: Outline,
}

/// What a finding is about that names no table.
pub const RULESET: &str = "the ruleset";

/// The check.
#[derive(Debug, Default)]
pub struct Firewall {
    last: Option<Look>,
    /// Who changed the ruleset since it was last looked at.
    changes: Vec<RulesetChange>,
}

/// A look at the ruleset, good for as long as its generation is.
#[derive(Debug)]
struct Look {
    /// `None`: the kernel did not say, so it is good for nothing but comparing.
    generation: Option<u32>,
    at: Span,
    tables: Vec<TableName>,
    seen: Seen,
    changed_by: Vec<RulesetChange>,
}

impl Check for Firewall {
    fn id(&self) -> CheckId {
        CheckId::Firewall
    }

    fn version(&self) -> u32 {
        1
    }

    fn run(&mut self, host: &dyn Host, baseline: &Baseline, about: &Circumstances) -> Report {
        let Some(expected) = baseline.firewall.expected() else {
            let why = "the baseline has no firewall section".to_owned();
            return Report::new(self.id(), self.version(), Verdict::Unknown(why));
        };
        let facts = self.gather(host, expected, about.uptime);
        let verdict = judge(expected, &facts);
        Report { check: self.id(), version: self.version(), verdict, facts: facts.to_json() }
    }
}

/// What was seen of the firewall.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The kernel's number of the ruleset.
    pub generation: Result<u32, HostError>,
    /// The ruleset.
    pub ruleset: Result<Seen, HostError>,
    /// Who made the change that led to it, as far as the kernel told.
    pub changed_by: Vec<RulesetChange>,
}

impl Firewall {
    /// Looks at the ruleset, or remembers what is known not to have changed.
    pub fn gather(&mut self, host: &dyn Host, expected: &FirewallBaseline, now: Span) -> Facts {
        let generation = host.ruleset_generation();
        if let Some(last) = self.last.as_ref().filter(|l| l.holds(&generation, expected, now)) {
            let (seen, changed_by) = (last.seen.clone(), last.changed_by.clone());
            return Facts { generation, ruleset: Ok(seen), changed_by };
        }
        let named = |table: &TableName| expected.tables.contains_key(table);
        let (generation, ruleset) = look::look(host, generation);
        let ruleset = ruleset.map(|ruleset| Seen::of(&ruleset, named));
        self.remember_changes(host);
        let changed_by = match &ruleset {
            Ok(seen) => self.remember(generation.as_ref().ok(), seen, expected, now),
            Err(_) => Vec::new(),
        };
        Facts { generation, ruleset, changed_by }
    }

    fn remember_changes(&mut self, host: &dyn Host) {
        for change in host.ruleset_changes() {
            if self.changes.len() < MAX_CHANGES && !self.changes.contains(&change) {
                self.changes.push(change);
            }
        }
    }

    /// Keeps a look, and gives who made the change that led to it: what changed nothing here is nobody's.
    fn remember(
        &mut self,
        generation: Option<&u32>,
        seen: &Seen,
        expected: &FirewallBaseline,
        now: Span,
    ) -> Vec<RulesetChange> {
        let changes = std::mem::take(&mut self.changes);
        let changed_by = match self.last.take() {
            Some(last) if last.seen == *seen => last.changed_by,
            _ => changes,
        };
        self.last = Some(Look {
            generation: generation.copied(),
            at: now,
            tables: expected.tables.keys().cloned().collect(),
            seen: seen.clone(),
            changed_by: changed_by.clone(),
        });
        changed_by
    }
}

/// The most different changes that are kept.
const MAX_CHANGES: usize = 16;

/// After this long the ruleset is read again though its generation is the same: rules that add to sets as
/// packets pass do not move it.
const READ_AGAIN: Span = Span::from_hours(1);

impl Look {
    fn holds(
        &self,
        generation: &Result<u32, HostError>,
        expected: &FirewallBaseline,
        now: Span,
    ) -> bool {
        let age = now.as_millis().saturating_sub(self.at.as_millis());
        generation.as_ref().ok().is_some_and(|now| self.generation == Some(*now))
            && (0..READ_AGAIN.as_millis()).contains(&age)
            && self.tables.iter().eq(expected.tables.keys())
    }
}

/// Judges what was seen: a difference is drift, and a table that is not named as well; what nft does not
/// print is doubt.
pub fn judge(expected: &FirewallBaseline, facts: &Facts) -> Verdict {
    if expected.tables.is_empty() {
        return Verdict::Unknown(
            "the baseline names no table, nor says why there is none".to_owned(),
        );
    }
    let seen = match &facts.ruleset {
        Ok(seen) => seen,
        Err(error) => return Verdict::Unknown(error.to_string()),
    };
    let mut findings = Vec::new();
    if seen.sha256 != expected.sha256 {
        findings = diff::differences(&expected.tables, &seen.tables);
        if findings.is_empty() {
            findings.push(elsewhere(expected, seen));
        }
    }
    findings.extend(seen.foreign.iter().map(|(name, table)| diff::foreign(name, table)));
    match (findings.is_empty(), seen.unseen.first()) {
        (false, _) => Verdict::Drifted(bounded(findings, &facts.changed_by)),
        (true, Some(first)) => Verdict::Unknown(format!(
            "nft {} does not print {first}{}, so nobody can say whether it changed",
            name::shown(&seen.nft),
            and_more(seen.unseen.len() - 1),
        )),
        (true, None) => Verdict::Compliant,
    }
}

/// A difference in what outlines do not hold.
fn elsewhere(expected: &FirewallBaseline, seen: &Seen) -> Finding {
    Finding {
        subject: RULESET.to_owned(),
        expected: format!("SHA-256 {}", expected.sha256),
        actual: format!("SHA-256 {}, with the outline that the baseline has", seen.sha256),
    }
}

/// The most findings that are written out.
const MAX_FINDINGS: usize = 20;

fn bounded(mut findings: Vec<Finding>, changed_by: &[RulesetChange]) -> Vec<Finding> {
    let more = findings.len().saturating_sub(MAX_FINDINGS);
    findings.truncate(MAX_FINDINGS);
    if let Some(last) = findings.last_mut().filter(|_| more > 0) {
        last.actual = format!("{}; and {more} more differences", last.actual);
    }
    if !changed_by.is_empty() {
        let by = by(changed_by);
        for finding in &mut findings {
            finding.actual = format!("{}, by {by}", finding.actual);
        }
    }
    findings
}

/// Who changed the ruleset, as the kernel named them.
fn by(changes: &[RulesetChange]) -> String {
    const NAMED: usize = 3;
    let named: Vec<_> = changes
        .iter()
        .take(NAMED)
        .map(|change| match change.pid {
            0 => "a process that the kernel could not name".to_owned(),
            pid => format!("{} (pid {pid})", name::shown(&change.comm)),
        })
        .collect();
    format!("{}{}", named.join(" or "), and_more(changes.len().saturating_sub(NAMED)))
}

fn and_more(count: usize) -> String {
    if count == 0 { String::new() } else { format!(" and {count} more") }
}

impl Facts {
    fn to_json(&self) -> Map<String, Value> {
        let mut facts = Map::new();
        let mut put = |name: &str, value: Value| facts.insert(name.to_owned(), value);
        match &self.generation {
            Ok(generation) => put("generation", json!(generation)),
            Err(error) => put("generation_error", json!(error.to_string())),
        };
        match &self.ruleset {
            Ok(seen) => {
                put("sha256", json!(seen.sha256));
                put("tables", counts(&seen.tables));
                put("foreign_tables", counts(&seen.foreign));
                put("unseen", json!(seen.unseen.len()));
                put("nft", json!(name::shown(&seen.nft)));
            }
            Err(error) => {
                put("ruleset_error", json!(error.to_string()));
            }
        }
        let changed_by = self
            .changed_by
            .iter()
            .map(|change| json!({ "pid": change.pid, "comm": name::shown(&change.comm) }));
        put("changed_by", changed_by.collect());
        facts
    }
}

/// How many chains, rules and other objects each table has.
fn counts(tables: &Outline) -> Value {
    let count = |table: &TableOutline| {
        let rules: usize = table.chains.values().map(|chain| chain.rules.len()).sum();
        json!({ "chains": table.chains.len(), "rules": rules, "objects": table.objects.len() })
    };
    tables.iter().map(|(name, table)| (name.to_string(), count(table))).collect()
}
