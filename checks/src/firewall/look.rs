//! Looking at the ruleset: one run of nft, between two readings of the kernel's generation number.

use std::time::Duration;

use compliance_protocol::digest::Digest;

use super::canonical::{MAX_LISTING, Ruleset};
use super::limits;
use super::name::TableName;
use super::outline::{Outline, outline};
use crate::command::{Argv, Command};
use crate::{Host, HostError, tools};

/// What was seen of a ruleset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The digest of the canonical form of the tables that the baseline names.
    pub sha256: Digest,
    /// The outline of the tables that the baseline names, as far as they are there.
    pub tables: Outline,
    /// The outline of all other tables.
    pub foreign: Outline,
    /// What nft does not print of the tables that the baseline names.
    pub unseen: Vec<String>,
    /// The version of nft.
    pub nft: String,
}

impl Seen {
    /// What there is to see in `ruleset` for a baseline that names the tables which `named` holds for.
    pub fn of(ruleset: &Ruleset, named: impl Fn(&TableName) -> bool) -> Self {
        let (tables, foreign) = outline(ruleset).into_iter().partition(|(name, _)| named(name));
        Self {
            sha256: ruleset.sha256(&named),
            tables,
            foreign,
            unseen: limits::unseen(ruleset, &named),
            nft: ruleset.version().to_owned(),
        }
    }
}

/// Reads the ruleset, and its generation after that. When it changed in between, once more.
pub(super) fn look(
    host: &dyn Host,
    mut before: Result<u32, HostError>,
) -> (Result<u32, HostError>, Result<Ruleset, HostError>) {
    for _ in 0..2 {
        let ruleset = list(host);
        let after = host.ruleset_generation();
        let moved = matches!((&before, &after), (Ok(before), Ok(after)) if before != after);
        if ruleset.is_err() || !moved {
            return (before.and(after), ruleset);
        }
        before = after;
    }
    let why = "it changed twice while it was read".to_owned();
    (before, Err(HostError::Io { what: "the ruleset".to_owned(), why }))
}

fn list(host: &dyn Host) -> Result<Ruleset, HostError> {
    // -n: otherwise names stand for numbers by /etc/protocols and its like, which anybody may edit.
    let listing = nft(host, &["-j", "-s", "-n", "list", "ruleset"])?;
    Ruleset::parse(&listing).map_err(|error| HostError::Garbage {
        what: "nft's listing".to_owned(),
        why: error.to_string(),
    })
}

/// The command that runs nft with these arguments and this input.
pub fn nft_command(
    host: &dyn Host,
    arguments: &[&str],
    input: Vec<u8>,
) -> Result<Command, HostError> {
    let path = tools::find(host, "nft")?;
    let argv = std::iter::once(path.as_str()).chain(arguments.iter().copied());
    let argv = Argv::try_from(argv.map(str::to_owned).collect::<Vec<_>>())
        .map_err(|error| HostError::Io { what: "nft".to_owned(), why: error.to_string() })?;
    Ok(Command { argv, input, limit: LIMIT, output_cap: MAX_LISTING })
}

/// What nft printed.
pub(super) fn nft(host: &dyn Host, arguments: &[&str]) -> Result<Vec<u8>, HostError> {
    let output = host.run(&nft_command(host, arguments, Vec::new())?)?;
    let refused = b"Operation not permitted";
    match output.code {
        Some(0) => Ok(output.stdout),
        _ if output.stderr.windows(refused.len()).any(|words| words == refused) => {
            Err(HostError::Denied("the ruleset".to_owned()))
        }
        Some(code) => Err(ended(&format!("it ended with code {code}"))),
        None => Err(ended("a signal ended it")),
    }
}

/// How long nft may take.
const LIMIT: Duration = Duration::from_secs(3);

fn ended(why: &str) -> HostError {
    HostError::Io { what: "nft".to_owned(), why: why.to_owned() }
}
