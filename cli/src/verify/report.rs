//! What a verification found.

use std::path::Path;

use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::Bundle;
use compliance_protocol::name::{Id, Site};
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};
use std::io;

use crate::Verdict;

/// What a verification found. Only what is wrong is listed one by one, so that it stays small.
#[derive(Debug, Default)]
pub struct Report {
    /// How many bundles verified.
    pub bundles: u64,
    /// How many of them have a receipt that verified.
    pub receipts: u64,
    /// How many of them have a receipt at which nobody looked, because the log's key was not given.
    pub receipts_unchecked: u64,
    /// How many of them have none; a problem says so unless that was allowed.
    pub without_receipt: u64,
    /// How many envelopes verified.
    pub envelopes: u64,
    /// Named files that verified, and what they are.
    pub verified: Vec<String>,
    /// How far each chain was followed.
    pub chains: Vec<ChainHead>,
    /// What keeps it from holding.
    pub problems: Vec<Problem>,
    /// Whether something is there that could not be read.
    pub(super) unread: bool,
}

/// The end of a chain without gaps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChainHead {
    /// The site.
    pub site: Site,
    /// The enrolment.
    pub epoch: u64,
    /// The ledger.
    pub ledger_id: Id,
    /// The first bundle's sequence: 1, unless what was before was pruned.
    pub first: u64,
    /// The last bundle's sequence.
    pub last: u64,
    /// The last bundle's digest.
    pub sha256: Digest,
    /// Whether somebody said that it ends there.
    pub tail: Tail,
}

/// Whether it is known that a chain ends where its files end. The files alone cannot show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tail {
    /// Its last bundle is the demanded one.
    Checked,
    /// Nobody said which bundle is its last.
    NotChecked,
}

/// What makes a chain: site, epoch and ledger.
pub(super) type ChainName = (Site, u64, Id);

/// The chain that a bundle belongs to.
pub(super) fn chain_name(bundle: &Bundle) -> ChainName {
    (bundle.site.clone(), bundle.epoch, bundle.ledger_id)
}

impl ChainHead {
    pub(super) fn name(&self) -> ChainName {
        (self.site.clone(), self.epoch, self.ledger_id)
    }
}

/// Something that keeps a verification from holding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where.
    pub path: String,
    /// Whether it is wrong, or could not be looked at.
    pub verdict: Verdict,
    /// Why, as a clause about the file.
    pub detail: String,
}

impl Report {
    /// It holds only if something was verified and nothing is wrong or unchecked.
    pub fn verdict(&self) -> Verdict {
        let any = |verdict| self.problems.iter().any(|problem| problem.verdict == verdict);
        if any(Verdict::Fails) {
            Verdict::Fails
        } else if any(Verdict::Unchecked) || self.receipts_unchecked > 0 {
            Verdict::Unchecked
        } else if self.bundles + self.envelopes == 0 {
            Verdict::Fails
        } else {
            Verdict::Holds
        }
    }

    /// Whether the end of every chain is known; none if no chain was followed.
    pub fn tail(&self) -> Option<Tail> {
        let open = self.chains.iter().find(|chain| chain.tail == Tail::NotChecked);
        open.or_else(|| self.chains.first()).map(|chain| chain.tail)
    }

    pub(super) fn fails(&mut self, path: &Path, detail: String) {
        self.problem(path, Verdict::Fails, detail);
    }

    pub(super) fn unchecked(&mut self, path: &Path, detail: String) {
        self.problem(path, Verdict::Unchecked, detail);
    }

    pub(super) fn unread(&mut self, path: &Path, error: &io::Error) {
        self.unread = true;
        self.unchecked(path, format!("cannot be read: {error}"));
    }

    pub(super) fn verified(&mut self, path: &Path, what: &str) {
        self.verified.push(format!("{}  {what}", path.display()));
    }

    fn problem(&mut self, path: &Path, verdict: Verdict, detail: String) {
        self.problems.push(Problem { path: path.display().to_string(), verdict, detail });
    }
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut report = serializer.serialize_struct("Report", 10)?;
        report.serialize_field("verdict", &self.verdict())?;
        report.serialize_field("bundles", &self.bundles)?;
        report.serialize_field("receipts", &self.receipts)?;
        report.serialize_field("receipts_unchecked", &self.receipts_unchecked)?;
        report.serialize_field("without_receipt", &self.without_receipt)?;
        report.serialize_field("envelopes", &self.envelopes)?;
        report.serialize_field("verified", &self.verified)?;
        report.serialize_field("chains", &self.chains)?;
        report.serialize_field("tail", &self.tail())?;
        report.serialize_field("problems", &self.problems)?;
        report.end()
    }
}
