//! Names of tables, chains and sets: as the baseline writes them, and as evidence may show them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const FAMILIES: [&str; 6] = ["arp", "bridge", "inet", "ip", "ip6", "netdev"];

/// A table: its family, a space, its name, such as `inet filter`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TableName(String);

/// The text is not the name of a table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a table is written as its family (arp, bridge, inet, ip, ip6, netdev), a space and its name, such as \"inet filter\""
)]
pub struct NotATableName;

impl TableName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Family and name, as nft's commands take them.
    pub fn parts(&self) -> (&str, &str) {
        self.0.split_once(' ').unwrap_or((&self.0, ""))
    }
}

impl TryFrom<String> for TableName {
    type Error = NotATableName;

    fn try_from(text: String) -> Result<Self, NotATableName> {
        let named = |name: &str| {
            (1..=255).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic())
        };
        match text.split_once(' ') {
            Some((family, name)) if FAMILIES.contains(&family) && named(name) => Ok(Self(text)),
            _ => Err(NotATableName),
        }
    }
}

impl FromStr for TableName {
    type Err = NotATableName;

    fn from_str(text: &str) -> Result<Self, NotATableName> {
        text.to_owned().try_into()
    }
}

impl From<TableName> for String {
    fn from(name: TableName) -> Self {
        name.0
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.0))
    }
}

/// A name that others gave, for evidence: printable ASCII, at most 80 characters.
pub(super) fn shown(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    name.chars().map(plain).take(80).collect()
}
