//! `compliancectl firewall`.

use std::io::{self, Read};
use std::path::PathBuf;

use clap::Subcommand;
use compliance_checks::firewall::{MAX_LISTING, Ruleset, Seen, TableName, dynamic_accepts};
use compliance_protocol::digest::Digest;
use serde::Serialize;

use crate::{Context, Error, Verdict};

/// Look at rulesets.
#[derive(Debug, Subcommand)]
pub enum FirewallCommand {
    /// Take the digest of a ruleset: `nft -j -s -n list ruleset | compliancectl firewall digest`.
    Digest {
        /// A table that counts, such as "inet filter"; once for each. Without it all tables count.
        #[arg(long = "table", value_name = "TABLE")]
        tables: Vec<TableName>,
    },
}

/// A ruleset, as baselines name it.
#[derive(Debug, Serialize)]
struct Described {
    /// The digest of the canonical form.
    sha256: Digest,
    /// The tables that are in it.
    tables: Vec<TableName>,
    /// Sets whose elements are not in it and may decide about an accept.
    dynamic_accepts: Vec<String>,
    /// What nft did not print, so that it is not in the digest.
    unseen: Vec<String>,
}

/// Carries out a command of the group.
pub fn run(context: &Context, command: FirewallCommand) -> Result<Verdict, Error> {
    match command {
        FirewallCommand::Digest { tables } => digest(context, &tables, io::stdin().lock()),
    }
}

fn digest(context: &Context, tables: &[TableName], input: impl Read) -> Result<Verdict, Error> {
    let described = describe(&read(input)?, tables)?;
    context.output.show(&described, |described, _| {
        let tables: Vec<_> = described.tables.iter().map(ToString::to_string).collect();
        let mut lines =
            vec![format!("sha256  {}", described.sha256), format!("tables  {}", tables.join(", "))];
        let left_out = |what: &String, why| format!("not in the digest: {what}, which {why}");
        let sets = described.dynamic_accepts.iter();
        lines.extend(
            sets.map(|set| left_out(&format!("the elements of {set}"), "may let something in")),
        );
        lines.extend(described.unseen.iter().map(|part| left_out(part, "nft does not print")));
        lines.join("\n")
    })?;
    Ok(Verdict::Holds)
}

fn describe(ruleset: &Ruleset, tables: &[TableName]) -> Result<Described, Error> {
    let there = ruleset.tables();
    if let Some(missing) = tables.iter().find(|table| !there.contains(table)) {
        return Err(Error::Usage(format!("there is no table {missing} in this ruleset")));
    }
    let seen = Seen::of(ruleset, |table| tables.is_empty() || tables.contains(table));
    let counts =
        |set: &String| seen.tables.keys().any(|table| set.starts_with(&format!("{table} @")));
    Ok(Described {
        sha256: seen.sha256,
        dynamic_accepts: dynamic_accepts(ruleset).into_iter().filter(counts).collect(),
        unseen: seen.unseen,
        tables: seen.tables.into_keys().collect(),
    })
}

/// Reads a listing of nft's. One byte more than fits is read, so that a longer one is refused, not cut.
fn read(input: impl Read) -> Result<Ruleset, Error> {
    let path = || PathBuf::from("standard input");
    let mut listing = Vec::new();
    let limit = u64::try_from(MAX_LISTING).unwrap_or(u64::MAX).saturating_add(1);
    input
        .take(limit)
        .read_to_end(&mut listing)
        .map_err(|source| Error::Read { path: path(), source })?;
    Ruleset::parse(&listing).map_err(Error::Ruleset)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = include_str!("../../checks/tests/fixtures/firewall/nixos.1.0.6.json");

    fn described(tables: &[&str]) -> Result<Described, Error> {
        let tables: Vec<_> = tables.iter().map(|table| table.parse().unwrap()).collect();
        describe(&read(LISTING.as_bytes())?, &tables)
    }

    #[test]
    fn the_digest_is_the_one_that_baselines_hold() {
        let all = described(&[]).unwrap();
        let canonical = compliance_checks::firewall::canonical(LISTING.as_bytes()).unwrap();
        assert_eq!(all.sha256, Digest::of(&canonical));
        assert_eq!((all.tables.len(), all.dynamic_accepts.len()), (2, 2));
        let one = described(&["inet nixos-fw"]).unwrap();
        assert_ne!(one.sha256, all.sha256);
        assert!(one.dynamic_accepts.is_empty());
        assert_eq!(one.tables, ["inet nixos-fw".parse().unwrap()]);
    }

    #[test]
    fn a_table_that_is_not_there_and_what_is_no_listing_are_refused() {
        assert!(matches!(described(&["ip filter"]), Err(Error::Usage(_))));
        for bad in ["", "table inet filter {}", "{}"] {
            assert!(matches!(read(bad.as_bytes()), Err(Error::Ruleset(_))), "{bad}");
        }
        assert!(matches!(read(io::repeat(b' ')), Err(Error::Ruleset(_))));
    }
}
