//! The canonical form of a ruleset: what is allowed, and nothing that changes by itself.
//!
//! It is a JSON array (RFC 8785) of the objects that `nft -j -s -n list ruleset` prints, sorted by table,
//! kind and name, rules of a chain in their order. Left out are `metainfo`, handles, comments, what
//! counters and quotas have counted, and the elements of dynamic and timed sets and maps. Elements of
//! other sets are sorted. Whatever else nft prints stays as it is, so that what is not understood here
//! still changes the digest.

use std::collections::BTreeSet;

use compliance_protocol::digest::Digest;
use compliance_protocol::json::to_canonical;
use serde_json::{Map, Number, Value, json};

use super::name::TableName;

/// The largest listing that is read, in bytes.
pub const MAX_LISTING: usize = 4 * 1024 * 1024;

/// Why bytes are not a listing of nft's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotARuleset {
    /// Longer than [`MAX_LISTING`].
    #[error("it has {0} bytes; at most {MAX_LISTING} are read")]
    TooLarge(usize),
    /// Not JSON, cut off, or nested too deeply.
    #[error("it is not JSON from line {0}, column {1} on")]
    NotJson(usize, usize),
    /// JSON, but not what nft prints.
    #[error("it is not what nft -j prints: {0}")]
    Shape(&'static str),
}

/// The canonical form of all tables in a listing of nft's.
pub fn canonical(listing: &[u8]) -> Result<Vec<u8>, NotARuleset> {
    Ok(Ruleset::parse(listing)?.bytes(|_| true))
}

/// A ruleset in its canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruleset {
    version: String,
    objects: Vec<Object>,
}

/// One object of a ruleset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    /// Its table; `None` for what belongs to no table that nft can name.
    pub(super) table: Option<TableName>,
    /// `table`, `chain`, `rule`, `set`, `map`, ...
    pub(super) kind: String,
    /// Its name; that of its chain for a rule.
    pub(super) name: String,
    /// Its fields without those that change by themselves.
    pub(super) body: Value,
    /// A set whose elements come and go.
    pub(super) dynamic: bool,
    /// The canonical form of `{kind: body}`.
    pub(super) canonical: Vec<u8>,
}

impl Ruleset {
    /// Reads what `nft -j -s -n list ruleset` printed.
    pub fn parse(listing: &[u8]) -> Result<Self, NotARuleset> {
        if listing.len() > MAX_LISTING {
            return Err(NotARuleset::TooLarge(listing.len()));
        }
        let value: Value = serde_json::from_slice(listing)
            .map_err(|error| NotARuleset::NotJson(error.line(), error.column()))?;
        let mut listed = listed(value)?.into_iter();
        let version = version(listed.next().as_ref())?;
        let mut objects = listed.map(object).collect::<Result<Vec<_>, _>>()?;
        drop_what_moves(&mut objects);
        // A stable sort: the rules of a chain stay in their order.
        objects.sort_by(|a, b| (&a.table, &a.kind, &a.name).cmp(&(&b.table, &b.kind, &b.name)));
        for object in &mut objects {
            object.canonical = to_canonical(&json!({ &object.kind: &object.body }))
                .map_err(|_| NotARuleset::Shape("a number is not an integer of 64 bits"))?;
        }
        Ok(Self { version, objects })
    }

    /// The version of the nft that printed it.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// All tables.
    pub fn tables(&self) -> BTreeSet<TableName> {
        self.objects.iter().filter_map(|object| object.table.clone()).collect()
    }

    /// The digest of the canonical form of the tables that `chosen` names, and of what is in no table.
    pub fn sha256(&self, chosen: impl Fn(&TableName) -> bool) -> Digest {
        Digest::of(&self.bytes(chosen))
    }

    /// The canonical form of the tables that `chosen` names, and of what is in no table.
    pub fn bytes(&self, chosen: impl Fn(&TableName) -> bool) -> Vec<u8> {
        let objects = self.objects.iter();
        let chosen = objects.filter(|object| object.table.as_ref().is_none_or(&chosen));
        let listed: Vec<_> = chosen.map(|object| object.canonical.as_slice()).collect();
        [b"[", listed.join(&b","[..]).as_slice(), b"]"].concat()
    }

    pub(super) fn objects(&self) -> &[Object] {
        &self.objects
    }
}

fn listed(value: Value) -> Result<Vec<Value>, NotARuleset> {
    let shape = NotARuleset::Shape("it is not an object with the one field nftables, a list");
    match value {
        Value::Object(mut fields) if fields.len() == 1 => match fields.remove("nftables") {
            Some(Value::Array(listed)) => Ok(listed),
            _ => Err(shape),
        },
        _ => Err(shape),
    }
}

fn version(first: Option<&Value>) -> Result<String, NotARuleset> {
    let metainfo = first.and_then(|first| first.get("metainfo"));
    let field = |name| metainfo.and_then(|metainfo: &Value| metainfo.get(name));
    match (field("json_schema_version").and_then(Value::as_u64), field("version")) {
        (Some(1), Some(Value::String(version))) => Ok(version.clone()),
        _ => Err(NotARuleset::Shape("it does not begin with metainfo of JSON schema version 1")),
    }
}

fn object(mut value: Value) -> Result<Object, NotARuleset> {
    let shape = NotARuleset::Shape("an entry is not an object with one field");
    clean(&mut value)?;
    let Value::Object(fields) = value else { return Err(shape) };
    let mut fields = fields.into_iter();
    let (Some((kind, mut body)), None) = (fields.next(), fields.next()) else { return Err(shape) };
    let text = |field| body.get(field).and_then(Value::as_str);
    let table = match (text("family"), text(if kind == "table" { "name" } else { "table" })) {
        (Some(family), Some(table)) => format!("{family} {table}").parse().ok(),
        _ => None,
    };
    let name = text(if kind == "rule" { "chain" } else { "name" }).unwrap_or_default().to_owned();
    if let Value::Object(fields) = &mut body {
        fields.remove("handle");
        fields.remove("comment");
        // One flag or device is printed as itself or as a list of one, as versions of nft go.
        for field in ["flags", "dev"] {
            if let Some(value) = fields.get_mut(field) {
                as_sorted_list(value);
            }
        }
    }
    Ok(Object { table, kind, name, body, dynamic: false, canonical: Vec::new() })
}

/// Drops the elements of dynamic and timed sets, and sorts those of the others.
fn drop_what_moves(objects: &mut [Object]) {
    // Old versions of nft do not print the flag `dynamic`; but only such a set can be updated by a rule.
    let mut updated = BTreeSet::new();
    for rule in objects.iter().filter(|object| object.kind == "rule") {
        for set in updated_sets(&rule.body) {
            updated.insert((rule.table.clone(), set.to_owned()));
        }
    }
    for set in objects.iter_mut().filter(|object| matches!(&*object.kind, "set" | "map")) {
        set.dynamic =
            declared_dynamic(&set.body) || updated.contains(&(set.table.clone(), set.name.clone()));
        let Value::Object(fields) = &mut set.body else { continue };
        if set.dynamic {
            fields.remove("elem");
        } else if let Some(elements) = fields.get_mut("elem") {
            sort_if_list(elements);
        }
    }
}

fn declared_dynamic(set: &Value) -> bool {
    let flag = |flag: &Value| flag == "dynamic" || flag == "timeout";
    set.get("timeout").is_some()
        || set.get("flags").and_then(Value::as_array).is_some_and(|flags| flags.iter().any(flag))
}

/// The sets and maps that a rule's statements add to, update or delete from.
fn updated_sets(rule: &Value) -> impl Iterator<Item = &str> {
    let statements = rule.get("expr").and_then(Value::as_array).into_iter().flatten();
    statements.filter_map(updated_set)
}

/// The set or map that a statement updates, without its `@`.
pub(super) fn updated_set(statement: &Value) -> Option<&str> {
    let (field, update) = ["set", "map"]
        .into_iter()
        .find_map(|field| Some((field, statement.get(field)?.as_object()?)))?;
    update.get("op")?;
    update.get(field)?.as_str()?.strip_prefix('@')
}

/// Removes, at any depth, what counts or runs out, and sorts the elements of sets within rules.
fn clean(value: &mut Value) -> Result<(), NotARuleset> {
    match value {
        Value::Number(number) => {
            if let Some(text) = exact(number)? {
                *value = json!({ "integer": text });
            }
        }
        Value::Array(items) => items.iter_mut().try_for_each(clean)?,
        Value::Object(fields) => {
            for (field, value) in fields.iter_mut() {
                clean(value)?;
                match field.as_str() {
                    "counter" => forget(value, &["packets", "bytes"]),
                    "quota" => forget(value, &["used", "used_unit"]),
                    "last" => forget(value, &["used"]),
                    "elem" => forget(value, &["comment", "expires"]),
                    "set" => sort_if_list(value),
                    _ => {}
                }
            }
            if let Some(plain) = plain_element(fields) {
                *value = plain;
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
    Ok(())
}

/// Removes fields; an object that had no others becomes `null`, as nft prints a counter without state.
fn forget(value: &mut Value, names: &[&str]) {
    let Value::Object(fields) = value else { return };
    let had_some = !fields.is_empty();
    fields.retain(|field, _| !names.contains(&field.as_str()));
    if had_some && fields.is_empty() {
        *value = Value::Null;
    }
}

/// `{"elem": {"val": x}}`, which nft writes when there was more than `x`, as `x`.
fn plain_element(fields: &Map<String, Value>) -> Option<Value> {
    let element = fields.get("elem")?.as_object()?;
    if fields.len() == 1 && element.len() == 1 { element.get("val").cloned() } else { None }
}

/// The text of an integer that a double cannot hold, which canonical JSON has no number for.
fn exact(number: &Number) -> Result<Option<String>, NotARuleset> {
    const SAFE: u64 = (1 << 53) - 1;
    let magnitude = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
    match magnitude {
        Some(magnitude) if magnitude <= SAFE => Ok(None),
        Some(_) => Ok(Some(number.to_string())),
        None => Err(NotARuleset::Shape("a number is not an integer of 64 bits")),
    }
}

fn as_sorted_list(value: &mut Value) {
    if !value.is_array() {
        *value = Value::Array(vec![value.take()]);
    }
    sort_if_list(value);
}

fn sort_if_list(value: &mut Value) {
    let Value::Array(items) = value else { return };
    items.sort_by_cached_key(Value::to_string);
}
