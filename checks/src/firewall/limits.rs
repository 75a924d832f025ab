//! What the digest does not cover: sets whose elements come and go, and what nft does not print.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::canonical::{Object, Ruleset, updated_set};
use super::name::{TableName, shown};

/// The dynamic and timed sets and maps that may decide about an accept, such as `inet filter @knocked`.
///
/// A set is left out only where every rule that asks it can do nothing but drop its elements, or nothing
/// at all.
pub fn dynamic_accepts(ruleset: &Ruleset) -> Vec<String> {
    let dynamic: BTreeSet<_> = ruleset
        .objects()
        .iter()
        .filter(|object| object.dynamic)
        .filter_map(|set| Some((set.table.as_ref()?, set.name.as_str())))
        .collect();
    let mut feeding = BTreeSet::new();
    for rule in ruleset.objects().iter().filter(|object| object.kind == "rule") {
        let (Some(table), Some(expr)) = (&rule.table, rule.body.get("expr")) else { continue };
        for set in may_accept_by(expr) {
            if dynamic.contains(&(table, set)) {
                feeding.insert(format!("{table} @{}", shown(set)));
            }
        }
    }
    feeding.into_iter().collect()
}

/// The sets by which a rule decides about more than a drop.
fn may_accept_by(expr: &Value) -> BTreeSet<&str> {
    let statements = expr.as_array().map(Vec::as_slice).unwrap_or_default();
    let has = |kinds: &[&str]| statements.iter().any(|s| kinds.iter().any(|k| s.get(k).is_some()));
    let drops = has(&["drop", "reject"]);
    let only_looks = statements.iter().all(|statement| {
        LOOKS.iter().any(|kind| statement.get(kind).is_some()) || updated_set(statement).is_some()
    });
    let mut sets = BTreeSet::new();
    for statement in statements {
        match asked(statement) {
            Asked::Members(set) if !drops && !only_looks => {
                sets.insert(set);
            }
            Asked::Others(set) if !only_looks => {
                sets.insert(set);
            }
            Asked::Data => sets_within(statement, &mut sets),
            _ => {}
        }
    }
    sets
}

/// Statements that decide nothing by themselves.
const LOOKS: [&str; 6] = ["match", "counter", "log", "limit", "quota", "last"];

enum Asked<'a> {
    /// The rule goes on for the set's elements.
    Members(&'a str),
    /// The rule goes on for all but the set's elements.
    Others(&'a str),
    /// The statement may take something from a map.
    Data,
    /// The statement asks no set.
    Nothing,
}

fn asked(statement: &Value) -> Asked<'_> {
    if let Some(set) = updated_set(statement) {
        // With a limit, an element's own state decides whether the rule goes on.
        let update = statement.get("set").or_else(|| statement.get("map"));
        let limited = update.and_then(|update| update.get("stmt")).is_some();
        return if limited { Asked::Members(set) } else { Asked::Nothing };
    }
    let Some(matched) = statement.get("match") else { return Asked::Data };
    let set = matched.get("right").and_then(Value::as_str).and_then(|text| text.strip_prefix('@'));
    match (set, matched.get("op").and_then(Value::as_str)) {
        (Some(set), Some("==" | "in")) => Asked::Members(set),
        (Some(set), _) => Asked::Others(set),
        (None, _) => Asked::Data,
    }
}

/// Every `@name` at any depth.
fn sets_within<'a>(value: &'a Value, sets: &mut BTreeSet<&'a str>) {
    match value {
        Value::String(text) => sets.extend(text.strip_prefix('@')),
        Value::Array(items) => items.iter().for_each(|item| sets_within(item, sets)),
        Value::Object(fields) => fields.values().for_each(|field| sets_within(field, sets)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What nft does not print of the tables that `chosen` names, so that no digest covers it.
pub(super) fn unseen(ruleset: &Ruleset, chosen: impl Fn(&TableName) -> bool) -> Vec<String> {
    let mut rules: BTreeMap<(&TableName, &str), usize> = BTreeMap::new();
    let mut unseen = Vec::new();
    for object in ruleset.objects() {
        let Some(table) = object.table.as_ref().filter(|table| chosen(table)) else { continue };
        let place = || format!("{table}/{}", shown(&object.name));
        if object.kind == "chain" && hangs_on_unnamed_devices(object) {
            unseen.push(format!("the devices of {}", place()));
        }
        if object.kind == "rule" {
            let number = rules.entry((table, &object.name)).or_default();
            *number += 1;
            if holds_extension(&object.body) {
                unseen.push(format!("the iptables extension in rule {number} of {}", place()));
            }
        }
    }
    unseen
}

/// nft 1.0.6 prints no devices in JSON.
fn hangs_on_unnamed_devices(chain: &Object) -> bool {
    let hook = chain.body.get("hook").and_then(Value::as_str);
    matches!(hook, Some("ingress" | "egress")) && chain.body.get("dev").is_none()
}

/// What iptables-nft puts into a rule; nft prints its name, not what it matches or does.
fn holds_extension(rule: &Value) -> bool {
    let statements = rule.get("expr").and_then(Value::as_array).into_iter().flatten();
    statements.into_iter().any(|statement| statement.get("xt").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn asks(statements: &Value) -> Vec<String> {
        may_accept_by(statements).into_iter().map(str::to_owned).collect()
    }

    fn member(op: &str) -> Value {
        let saddr = json!({ "payload": { "protocol": "ip", "field": "saddr" } });
        json!({ "match": { "op": op, "left": saddr, "right": "@s" } })
    }

    #[test]
    fn a_set_feeds_an_accept_unless_all_it_can_do_is_drop() {
        let accept = || json!({ "accept": null });
        let drop = || json!({ "drop": null });
        let limit = || json!([{ "limit": { "rate": 5, "per": "second" } }]);
        let update =
            |stmt: Value| json!({ "set": { "op": "add", "elem": 1, "set": "@s", "stmt": stmt } });
        let plain = json!({ "set": { "op": "add", "elem": 1, "set": "@s" } });
        for feeds in [
            json!([member("=="), accept()]),
            json!([member("!="), drop()]),
            json!([member("=="), { "jump": { "target": "x" } }]),
            json!([member("=="), { "return": null }]),
            json!([member("=="), { "mangle": { "key": { "meta": { "key": "mark" } }, "value": 1 } }]),
            json!([update(limit()), accept()]),
            json!([{ "vmap": { "key": { "meta": { "key": "iif" } }, "data": "@s" } }]),
            json!([{ "dnat": { "addr": { "map": { "key": { "ct": 1 }, "data": "@s" } } } }]),
            json!([{ "something new": { "data": "@s" } }]),
        ] {
            assert_eq!(asks(&feeds), ["s"], "{feeds}");
        }
        for does_not in [
            json!([member("=="), drop()]),
            json!([member("=="), { "counter": null }, { "reject": null }]),
            json!([member("=="), { "counter": null }, { "log": null }]),
            json!([plain, accept()]),
            json!([update(limit()), drop()]),
        ] {
            assert!(asks(&does_not).is_empty(), "{does_not}");
        }
    }
}
