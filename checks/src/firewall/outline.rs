//! The outline of a ruleset: enough to say in words what changed, too little to tell what the rules are.

use std::collections::BTreeMap;
use std::fmt;

use compliance_protocol::digest::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::canonical::{Object, Ruleset};
use super::name::TableName;

/// Tables by name.
pub type Outline = BTreeMap<TableName, TableOutline>;

/// The outline of one table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TableOutline {
    /// Its flags, such as `dormant`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// Its chains by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub chains: BTreeMap<String, ChainOutline>,
    /// Its other objects by kind and name, such as `set allowed`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub objects: BTreeMap<String, Fingerprint>,
}

/// The outline of one chain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChainOutline {
    /// Type, hook, priority and devices of a base chain, such as `filter hook input priority 0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The policy of a base chain: `accept` or `drop`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Its rules, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Fingerprint>,
}

/// The first 64 bits of the SHA-256 of an object's canonical form, as 16 lower-case hexadecimal digits.
/// It words a finding; whether there is one, the whole digest decides.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(u64);

/// The text is not a fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is written as 16 lower-case hexadecimal digits")]
pub struct NotAFingerprint;

impl Fingerprint {
    fn of(canonical: &[u8]) -> Self {
        let digest = Digest::of(canonical);
        let first = digest.as_bytes().iter().take(8);
        Self(first.fold(0, |bits, byte| (bits << 8) | u64::from(*byte)))
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = NotAFingerprint;

    fn try_from(text: String) -> Result<Self, NotAFingerprint> {
        let digits = text.len() == 16
            && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let bits = if digits { u64::from_str_radix(&text, 16).ok() } else { None };
        bits.map(Self).ok_or(NotAFingerprint)
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.to_string()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The outline of a ruleset's tables.
pub(super) fn outline(ruleset: &Ruleset) -> Outline {
    let mut outline = Outline::new();
    for object in ruleset.objects() {
        if let Some(name) = &object.table {
            add(outline.entry(name.clone()).or_default(), object);
        }
    }
    outline
}

fn add(table: &mut TableOutline, object: &Object) {
    let body = &object.body;
    match object.kind.as_str() {
        "table" => table.flags = texts(body.get("flags")),
        "chain" => {
            let chain = table.chains.entry(object.name.clone()).or_default();
            chain.base = base(body);
            chain.policy = body.get("policy").and_then(Value::as_str).map(str::to_owned);
        }
        "rule" => {
            let rules = &mut table.chains.entry(object.name.clone()).or_default().rules;
            rules.push(Fingerprint::of(&object.canonical));
        }
        kind => {
            let name = format!("{kind} {}", object.name);
            table.objects.insert(name, Fingerprint::of(&object.canonical));
        }
    }
}

fn base(chain: &Value) -> Option<String> {
    let text = |field| chain.get(field).and_then(Value::as_str);
    let (kind, hook) = (text("type")?, text("hook")?);
    let priority = chain.get("prio").map(Value::to_string).unwrap_or_default();
    let mut base = format!("{kind} hook {hook} priority {priority}");
    let devices = texts(chain.get("dev"));
    if !devices.is_empty() {
        base = format!("{base} on {}", devices.join(", "));
    }
    Some(base)
}

fn texts(list: Option<&Value>) -> Vec<String> {
    let items = list.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_the_beginning_of_the_digest() {
        let fingerprint = Fingerprint::of(b"{}");
        assert!(Digest::of(b"{}").to_string().starts_with(&fingerprint.to_string()));
        assert_eq!(Fingerprint::try_from(fingerprint.to_string()), Ok(fingerprint));
        for bad in ["", "0123456789ABCDEF", "+123456789abcdef", "0123456789abcdef0"] {
            assert_eq!(Fingerprint::try_from(bad.to_owned()), Err(NotAFingerprint), "{bad}");
        }
    }
}
