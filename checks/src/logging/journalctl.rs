//! Entries of the journal, by the index of a field.

use std::time::Duration;

use compliance_protocol::time::Timestamp;
use serde::Deserialize;

use super::FOLDER;
use super::canary::FIELD;
use crate::command::{Argv, Command, Output};
use crate::{Host, HostError, tools};

/// An entry that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// It was found on disk. Asked only where the journal should be there.
    pub on_disk: bool,
    /// When journald received it, by its clock.
    pub at: Timestamp,
}

/// The canary with this number. Where it should be on disk, it is first looked for there.
pub(super) fn find(host: &dyn Host, id: &str, on_disk: bool) -> Result<Option<Entry>, HostError> {
    let tool = tools::find(host, "journalctl")?;
    let ask = |on_disk| -> Result<Option<Entry>, HostError> {
        let matching = format!("{FIELD}={id}");
        let mut arguments = vec!["--output=json", "--no-pager", "--lines=1", OUTPUT_FIELDS];
        let folder = format!("--directory={FOLDER}");
        if on_disk {
            arguments.push(&folder);
        }
        arguments.push(&matching);
        read(&run(host, tool.as_str(), &arguments, LIMIT)?, id, on_disk)
    };
    if let Some(entry) = ask(on_disk)? {
        return Ok(Some(entry));
    }
    // Once this has ended, journald has written all that it was sent before. Who may not ask for that, or
    // gets no answer, looks again in the next round.
    if run(host, tool.as_str(), &["--sync"], SYNC_LIMIT).is_ok_and(|output| output.code == Some(0))
        && let Some(entry) = ask(on_disk)?
    {
        return Ok(Some(entry));
    }
    if on_disk { ask(false) } else { Ok(None) }
}

const OUTPUT_FIELDS: &str = "--output-fields=COMPLIANCE_CANARY";

const LIMIT: Duration = Duration::from_secs(1);
const SYNC_LIMIT: Duration = Duration::from_millis(500);
const OUTPUT_CAP: usize = 64 * 1024;

fn run(
    host: &dyn Host,
    tool: &str,
    arguments: &[&str],
    limit: Duration,
) -> Result<Output, HostError> {
    let parts = std::iter::once(tool).chain(arguments.iter().copied()).map(str::to_owned);
    let argv = Argv::try_from(parts.collect::<Vec<_>>())
        .map_err(|_| garbage("it cannot be asked for a canary"))?;
    host.run(&Command { argv, input: Vec::new(), limit, output_cap: OUTPUT_CAP })
}

/// What journalctl says, in JSON and, where it fails, in English: it has an empty environment.
fn read(output: &Output, id: &str, on_disk: bool) -> Result<Option<Entry>, HostError> {
    let says = |text: &str| output.stderr.windows(text.len()).any(|part| part == text.as_bytes());
    if says("insufficient permissions") || says("not seeing messages") || says("Permission denied")
    {
        return Err(HostError::Denied("the journal".to_owned()));
    }
    match output.code {
        Some(0) if output.stdout.trim_ascii().is_empty() => Ok(None),
        Some(0) => parse(&output.stdout, id, on_disk).map(Some),
        Some(_) if on_disk && says("No such file or directory") => Ok(None),
        _ => Err(garbage("it failed")),
    }
}

fn parse(line: &[u8], id: &str, on_disk: bool) -> Result<Entry, HostError> {
    #[derive(Deserialize)]
    struct Line {
        #[serde(rename = "COMPLIANCE_CANARY")]
        canary: String,
        #[serde(rename = "__REALTIME_TIMESTAMP")]
        at: String,
    }
    let line: Line =
        serde_json::from_slice(line).map_err(|_| garbage("its answer is not an entry"))?;
    let micros: i64 = line.at.parse().map_err(|_| garbage("its answer has no time"))?;
    if line.canary != id {
        return Err(garbage("its answer is another entry"));
    }
    Ok(Entry { on_disk, at: Timestamp::from_millis(micros / 1000) })
}

fn garbage(why: &str) -> HostError {
    HostError::Garbage { what: "the journal".to_owned(), why: why.to_owned() }
}
