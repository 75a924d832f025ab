//! What the user demands of a verification because the files alone cannot show it: how far chains reach.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use clap::Args;
use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::VerifiedBundle;
use serde::{Serialize, Serializer};

use super::report::{ChainName, Report, Tail};

/// What is demanded, and what is allowed to be missing.
#[derive(Debug, Clone, Default, Args)]
pub struct Demands {
    /// A bundle that must be there: the newest one of a chain, as `compliancectl status SITE --json` and
    /// `evidence list --json` print its sequence and sha256. Give one for each chain: without it nobody sees
    /// that the end of a chain, or a whole chain, is missing.
    #[arg(long = "head", value_name = "SEQUENCE:SHA256")]
    pub heads: Vec<Head>,
    /// Allow the newest bundles of a chain to have no receipt yet. One that a bundle with a receipt follows
    /// fails all the same.
    #[arg(long)]
    pub pending_ok: bool,
}

/// A bundle by its place in its chain and its digest; written `SEQUENCE:SHA256`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Head {
    /// The sequence, from 1.
    pub sequence: u64,
    /// The digest of the bundle's bytes.
    pub sha256: Digest,
}

/// The text is not a [`Head`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a head is a bundle's sequence, a colon and its SHA-256 digest: 21:5f70…, 64 lower-case hexadecimal digits"
)]
pub struct NotAHead;

impl FromStr for Head {
    type Err = NotAHead;

    fn from_str(text: &str) -> Result<Self, NotAHead> {
        let (sequence, sha256) = text.split_once(':').ok_or(NotAHead)?;
        let sequence = sequence.parse().ok().filter(|sequence| *sequence > 0).ok_or(NotAHead)?;
        Ok(Self { sequence, sha256: sha256.parse().map_err(|_| NotAHead)? })
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.sequence, self.sha256)
    }
}

impl Serialize for Head {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The demanded heads, and in which chain each was met.
#[derive(Debug)]
pub(super) struct Heads(BTreeMap<Head, Option<ChainName>>);

impl Heads {
    pub(super) fn demanded(heads: &[Head]) -> Self {
        Self(heads.iter().map(|head| (*head, None)).collect())
    }

    /// A bundle of a chain verified.
    pub(super) fn meet(&mut self, chain: &ChainName, verified: &VerifiedBundle) {
        let head = Head { sequence: verified.bundle().sequence, sha256: verified.sha256() };
        if let Some(met) = self.0.get_mut(&head) {
            *met = Some(chain.clone());
        }
    }

    /// Reports heads that are not there, and chains that end before theirs. A chain that goes on beyond its
    /// head has what is demanded, but nobody said that it ends there.
    pub(super) fn judge(&self, report: &mut Report) {
        for (head, _) in self.0.iter().filter(|(_, met)| met.is_none()) {
            let option = format!("--head {head}");
            if report.unread {
                report.unchecked(Path::new(&option), "may be in what cannot be read".to_owned());
            } else {
                let why = "is in no chain here: the end of its chain, or all of it, is missing";
                report.fails(Path::new(&option), why.to_owned());
            }
        }
        let mut short = Vec::new();
        for chain in &mut report.chains {
            if self.0.contains_key(&Head { sequence: chain.last, sha256: chain.sha256 }) {
                chain.tail = Tail::Checked;
            }
            let name = chain.name();
            let of_chain = self.0.iter().filter(|(_, met)| met.as_ref() == Some(&name));
            let farthest = of_chain.map(|(head, _)| head).max();
            short.extend(farthest.filter(|head| head.sequence > chain.last).map(|head| {
                let path = format!("chain {}", chain.ledger_id);
                (
                    path,
                    format!(
                        "ends at bundle {} in one of the exports, before --head {head}",
                        chain.last
                    ),
                )
            }));
        }
        for (path, why) in short {
            report.fails(Path::new(&path), why);
        }
    }
}
