//! Putting the baseline's tables in place, and putting back what was there: scripts for `nft -f`, which
//! carries each out in one transaction or not at all.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{FirewallBaseline, TableName};

/// The scripts for a ruleset cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotLoadable {
    /// A name.
    #[error("the table {0:?} has a name that nft does not read back; remove it by its handle")]
    Name(String),
    /// Rules of iptables.
    #[error(
        "the table {0:?} holds rules of iptables, which nft cannot load back; have them written for nft"
    )]
    Iptables(String),
}

/// Replaces the baseline's tables by what it says of them, and removes all others if it is exclusive.
/// `before` is what `nft -s list ruleset` printed.
pub fn load_script(expected: &FirewallBaseline, before: &str) -> Result<String, NotLoadable> {
    let mut script = removal(&touched(expected, before)?)?;
    script.push_str(&expected.ruleset);
    Ok(script)
}

/// Puts back what [`load_script`] replaced and removed, as it was `before`. What iptables put there cannot
/// be: nft does not print all of it.
pub fn undo_script(expected: &FirewallBaseline, before: &str) -> Result<String, NotLoadable> {
    let touched = touched(expected, before)?;
    let mut script = removal(&touched)?;
    for (table, text) in tables(before)? {
        if touched.contains(&table) {
            if text.split_whitespace().any(|word| word == "xt") {
                return Err(NotLoadable::Iptables(table.to_string()));
            }
            script.push_str(&text);
        }
    }
    Ok(script)
}

/// The tables that loading `expected` changes.
fn touched(expected: &FirewallBaseline, before: &str) -> Result<BTreeSet<TableName>, NotLoadable> {
    let mut touched: BTreeSet<_> = expected.tables.keys().cloned().collect();
    if expected.exclusive {
        touched.extend(tables(before)?.into_iter().map(|(table, _)| table));
    }
    Ok(touched)
}

/// Removes tables, whether they are there or not.
fn removal(tables: &BTreeSet<TableName>) -> Result<String, NotLoadable> {
    let mut script = String::new();
    for table in tables {
        let (family, name) = table.parts();
        if !is_identifier(name) {
            return Err(NotLoadable::Name(table.to_string()));
        }
        let _ = writeln!(script, "add table {family} {name}\ndelete table {family} {name}");
    }
    Ok(script)
}

/// The tables of a listing, each with its text.
fn tables(listing: &str) -> Result<Vec<(TableName, String)>, NotLoadable> {
    let mut tables: Vec<(TableName, String)> = Vec::new();
    for line in listing.lines() {
        if let Some(header) = line.strip_prefix("table ") {
            let name = header.strip_suffix(" {").unwrap_or(header);
            // nft appends who owns a table: `table inet x { # progname y`.
            let name = name.split(" { #").next().unwrap_or(name);
            let table =
                name.to_owned().try_into().map_err(|_| NotLoadable::Name(name.to_owned()))?;
            tables.push((table, String::new()));
        }
        if let Some((_, text)) = tables.last_mut() {
            text.push_str(line);
            text.push('\n');
        }
    }
    Ok(tables)
}

/// What nft's scanner takes for a name.
fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"/\\-_.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::outline::TableOutline;
    use compliance_protocol::digest::Digest;

    const BEFORE: &str = "table inet filter {\n\tchain input {\n\t}\n}\ntable ip other {\n}\n";

    fn expected(exclusive: bool) -> FirewallBaseline {
        let tables =
            [("inet filter", TableOutline::default()), ("ip nat", TableOutline::default())];
        FirewallBaseline {
            sha256: Digest::of(b""),
            exclusive,
            dynamic_accepts: Vec::new(),
            ruleset: "table inet filter {\n}\ntable ip nat {\n}\n".to_owned(),
            tables: tables.map(|(name, outline)| (name.parse().unwrap(), outline)).into(),
        }
    }

    #[test]
    fn only_the_tables_that_the_baseline_names_are_replaced_and_put_back() {
        let replaced = "add table inet filter\ndelete table inet filter\nadd table ip nat\ndelete table ip nat\n";
        let expected = expected(false);
        assert_eq!(
            load_script(&expected, BEFORE).unwrap(),
            format!("{replaced}{}", expected.ruleset)
        );
        assert_eq!(
            undo_script(&expected, BEFORE).unwrap(),
            format!("{replaced}table inet filter {{\n\tchain input {{\n\t}}\n}}\n")
        );
    }

    #[test]
    fn an_exclusive_baseline_removes_the_others_and_the_undo_brings_them_back() {
        let expected = expected(true);
        assert!(load_script(&expected, BEFORE).unwrap().contains("delete table ip other\n"));
        assert!(undo_script(&expected, BEFORE).unwrap().ends_with("table ip other {\n}\n"));
    }

    #[test]
    fn a_name_that_would_be_read_as_something_else_is_refused() {
        let before = "table ip a;flush {\n}\n";
        assert!(load_script(&expected(true), before).is_err());
        assert!(load_script(&expected(false), before).is_ok());
    }

    #[test]
    fn the_table_that_nixos_makes_has_a_name_that_can_be_read_back() {
        let before = "table inet nixos-fw {\n}\ntable ip 0-a {\n}\n";
        assert!(is_identifier("nixos-fw") && !is_identifier("0-a"));
        assert!(load_script(&expected(false), before).is_ok());
    }

    #[test]
    fn what_iptables_put_there_is_not_touched_since_it_could_not_be_put_back() {
        let before =
            "table inet filter {\n\tchain a {\n\t\txt match \"conntrack\" accept\n\t}\n}\n";
        let iptables = NotLoadable::Iptables("inet filter".to_owned());
        assert_eq!(undo_script(&expected(false), before), Err(iptables));
    }
}
