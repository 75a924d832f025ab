//! `logging`: the journal records, keeps and forwards, and its clock is right.
//!
//! A *canary*, an entry with a random number, is written to the journal and looked for again by its number.

mod canary;
mod capture;
mod journalctl;

use compliance_protocol::evidence::Finding;
use compliance_protocol::name::{AbsPath, UnitName};
use compliance_protocol::time::Span;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use canary::{Canaries, Canary};
pub use capture::capture;
pub use journalctl::Entry;

use crate::baseline::Baseline;
use crate::host::UnitState;
use crate::services::{CriticalUnit, Standing, Watch, standing};
use crate::{Check, CheckId, Circumstances, Host, HostError, Report, Verdict};

/// What the logging check expects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoggingBaseline {
    /// The journal is kept on disk, not only in memory.
    #[serde(default = "yes")]
    pub persistent: bool,
    /// How often a canary is written, in minutes.
    #[serde(default = "default_canary_minutes")]
    pub canary_minutes: u32,
    /// After how long a canary that is not found is lost, in seconds.
    #[serde(default = "default_canary_limit_s")]
    pub canary_limit_s: u32,
    /// How old the last canary that was found may be, in minutes.
    #[serde(default = "default_max_gap_minutes")]
    pub max_gap_minutes: u32,
    /// Units that forward the journal; each must be active.
    #[serde(default)]
    pub forwarders: Vec<UnitName>,
    /// The kernel's clock is synchronised.
    #[serde(default = "yes")]
    pub clock_synchronised: bool,
}

impl Default for LoggingBaseline {
    fn default() -> Self {
        Self {
            persistent: true,
            canary_minutes: default_canary_minutes(),
            canary_limit_s: default_canary_limit_s(),
            max_gap_minutes: default_max_gap_minutes(),
            forwarders: Vec::new(),
            clock_synchronised: true,
        }
    }
}

/// The check, with the canaries that it wrote and what it saw of the forwarders before.
#[derive(Debug, Default)]
pub struct Logging {
    canaries: Canaries,
    watch: Watch,
}

impl Check for Logging {
    fn id(&self) -> CheckId {
        CheckId::Logging
    }

    fn version(&self) -> u32 {
        2
    }

    fn run(&mut self, host: &dyn Host, baseline: &Baseline, about: &Circumstances) -> Report {
        let Some(expected) = baseline.logging.expected() else {
            let why = "the baseline does not say how this machine logs".to_owned();
            return Report::new(self.id(), self.version(), Verdict::Unknown(why));
        };
        let facts = Facts {
            canary: self.canaries.step(host, expected, about),
            on_disk: keeps_on_disk(host),
            forwarders: forwarders(host, expected, &mut self.watch, about.uptime),
            synchronised: host.clock_synchronised(),
            uptime: about.uptime,
        };
        let verdict = judge(expected, &facts);
        Report { check: self.id(), version: self.version(), verdict, facts: facts.to_json() }
    }
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The canaries.
    pub canary: Canary,
    /// Whether there is a folder on disk for this machine's journal.
    pub on_disk: Result<bool, HostError>,
    /// The forwarders, in the baseline's order, and how long each was seen starting or stopping.
    pub forwarders: Result<Vec<(Option<UnitState>, Span)>, HostError>,
    /// Whether the kernel's clock is synchronised.
    pub synchronised: bool,
    /// How long the machine is up.
    pub uptime: Span,
}

/// Judges the journal: any drift is drift; else any doubt is doubt. Where there never was one to write to,
/// nobody can say how this machine logs.
pub fn judge(expected: &LoggingBaseline, facts: &Facts) -> Verdict {
    if let Canary { age: None, unwritten: Some(error), .. } = &facts.canary
        && is_absent(error)
    {
        return Verdict::Unknown(format!("there is no journal here: {error}"));
    }
    let mut judged = canary::judge(expected, &facts.canary);
    if expected.persistent {
        judged.push(judge_storage(facts));
    }
    judged.extend(judge_forwarders(expected, facts));
    if expected.clock_synchronised && !facts.synchronised {
        judged.push(if facts.uptime < CLOCK_GRACE {
            Standing::Unclear("the clock is not synchronised yet".to_owned())
        } else {
            Standing::Wrong(finding("clock", "synchronised", "not synchronised"))
        });
    }
    let (mut findings, mut doubts) = (Vec::new(), Vec::new());
    for standing in judged {
        match standing {
            Standing::Well => {}
            Standing::Wrong(finding) => findings.push(finding),
            Standing::Unclear(why) => doubts.push(why),
        }
    }
    match (findings.is_empty(), doubts.is_empty()) {
        (false, _) => Verdict::Drifted(findings),
        (true, false) => Verdict::Unknown(doubts.join("; ")),
        (true, true) => Verdict::Compliant,
    }
}

/// How long after boot the clock may take to be synchronised.
const CLOCK_GRACE: Span = Span::from_secs(600);

/// What findings about the journal itself are about, for which journald is restarted.
pub const JOURNAL: &str = "journal";
/// What the finding about its missing folder is about, which no restart of journald makes.
const STORAGE: &str = "journal storage";
const FOLDER: &str = "/var/log/journal";
const MACHINE_ID: &str = "/etc/machine-id";

fn is_absent(error: &HostError) -> bool {
    matches!(error, HostError::NotFound(_) | HostError::ToolMissing(_))
}

fn judge_storage(facts: &Facts) -> Standing {
    let on_disk = match &facts.on_disk {
        Ok(on_disk) => *on_disk,
        Err(error) => return Standing::Unclear(error.to_string()),
    };
    let volatile = facts.canary.entry.as_ref().is_some_and(|entry| !entry.on_disk);
    if on_disk && !volatile {
        return Standing::Well;
    }
    let (subject, actual) = if on_disk {
        (JOURNAL, "entries do not get there")
    } else {
        (STORAGE, "there is no such folder")
    };
    Standing::Wrong(finding(subject, "kept on disk in /var/log/journal", actual))
}

fn judge_forwarders(expected: &LoggingBaseline, facts: &Facts) -> Vec<Standing> {
    match &facts.forwarders {
        Ok(seen) => {
            let pairs = expected.forwarders.iter().zip(seen);
            let judge = |(unit, (state, busy)): (&UnitName, &(Option<UnitState>, Span))| {
                standing(&CriticalUnit::new(unit.clone()), state.as_ref(), *busy)
            };
            pairs.map(judge).collect()
        }
        Err(error) => vec![Standing::Unclear(error.to_string())],
    }
}

fn forwarders(
    host: &dyn Host,
    expected: &LoggingBaseline,
    watch: &mut Watch,
    uptime: Span,
) -> Result<Vec<(Option<UnitState>, Span)>, HostError> {
    let names = &expected.forwarders;
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let units = host.units(names)?;
    watch.see(names, &units, uptime, Span::ZERO);
    let state = |name: &UnitName| units.iter().find(|unit| unit.unit == name.as_str()).cloned();
    Ok(names.iter().map(|name| (state(name), watch.busy_for(name, uptime))).collect())
}

/// Whether journald, which makes this folder when it keeps the journal on disk, has done so.
fn keeps_on_disk(host: &dyn Host) -> Result<bool, HostError> {
    let path = |text: &str| -> Result<AbsPath, HostError> {
        text.parse().map_err(|_| HostError::NotFound(text.to_owned()))
    };
    let folders = match host.list(&path(FOLDER)?) {
        Err(HostError::NotFound(_)) => return Ok(false),
        folders => folders?,
    };
    let id = host.read(&path(MACHINE_ID)?, 64)?;
    let id = id.trim_ascii();
    Ok(folders.iter().any(|folder| folder.as_bytes() == id))
}

impl Facts {
    fn to_json(&self) -> Map<String, Value> {
        let mut facts = self.canary.to_json();
        facts.insert("clock_synchronised".to_owned(), json!(self.synchronised));
        if let Ok(on_disk) = self.on_disk {
            facts.insert("persistent".to_owned(), json!(on_disk));
        }
        facts
    }
}

fn finding(subject: &str, expected: &str, actual: &str) -> Finding {
    let [subject, expected, actual] = [subject, expected, actual].map(str::to_owned);
    Finding { subject, expected, actual }
}

const fn yes() -> bool {
    true
}

const fn default_canary_minutes() -> u32 {
    5
}

const fn default_canary_limit_s() -> u32 {
    10
}

const fn default_max_gap_minutes() -> u32 {
    15
}
