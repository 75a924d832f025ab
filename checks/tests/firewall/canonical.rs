//! The canonical form: what must not change it, and that everything else does.

use compliance_checks::firewall::{MAX_LISTING, NotARuleset, Ruleset, canonical, dynamic_accepts};
use compliance_protocol::digest::Digest;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::fixtures::*;

fn digest(listing: &str) -> Digest {
    Digest::of(&canonical(listing.as_bytes()).unwrap())
}

fn digest_of(value: &Value) -> Option<Digest> {
    canonical(value.to_string().as_bytes()).ok().map(|bytes| Digest::of(&bytes))
}

#[test]
fn the_digests_of_real_rulesets_stay_as_they_were() {
    for (listing, expected) in [
        (NIXOS, "39faa55380c767c3ec1d310019ac954a6a64c20adbc280431ff80e8f108441ee"),
        (GATEWAY, "26a7d6f02e4b14c7ac744cff50366e8ba8105f1564e5c66bf80057a0b9d9e8e0"),
        (FAIL2BAN, "a1495a082eae1eb5308fcc787441f2b480f40cd10e0bb83461497a616c681151"),
        (DOCKER, "4438cb751de68aeab4afdf0666a026f300e86720f99c5ab112bda3a398cc8e80"),
        (NETDEV, "07bf131195a87cfba0b5cb44eb8f2379e1d1358f2d5c25aefe1bcfb9e9034b2c"),
        (DOCUMENTED, "c874b33df65aca39a07814458551a922e3f04dd433c135882be7dcdaa80a7ad4"),
    ] {
        assert_eq!(digest(listing).to_string(), expected, "{}", &listing[..200]);
    }
}

#[test]
fn the_canonical_form_is_what_the_documents_show() {
    let shown = include_str!("../fixtures/firewall/fail2ban.canonical.json");
    let bytes = canonical(FAIL2BAN.as_bytes()).unwrap();
    let readable: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(readable, serde_json::from_str::<Value>(shown).unwrap());
    assert_eq!(compliance_protocol::json::to_canonical(&readable).unwrap(), bytes);
}

#[test]
fn two_versions_of_nft_that_print_the_same_thing_differently_give_one_digest() {
    assert_eq!(digest(FAIL2BAN), digest(FAIL2BAN_NEWER));
    assert_eq!(digest(DOCKER), digest(DOCKER_NEWER));
}

#[test]
fn a_table_that_is_not_asked_for_is_not_in_the_digest() {
    let filter = |table: &compliance_checks::firewall::TableName| table.as_str() == "inet filter";
    let chosen = parse(FAIL2BAN).bytes(filter);
    let alone = without_table(FAIL2BAN, "inet", "f2b-table");
    assert_eq!(chosen, canonical(alone.as_bytes()).unwrap());
    assert_ne!(chosen, canonical(FAIL2BAN.as_bytes()).unwrap());
}

#[test]
fn sets_that_come_and_go_and_may_let_something_in_are_named() {
    let nixos = ["inet compliance-egress @mcp4", "inet compliance-egress @mcp6"];
    assert_eq!(dynamic_accepts(&parse(NIXOS)), nixos);
    assert_eq!(dynamic_accepts(&parse(GATEWAY)), ["inet filter @knocked"]);
    assert_eq!(dynamic_accepts(&parse(FAIL2BAN)), [""; 0]);
}

#[test]
fn what_nft_does_not_print_is_refused() {
    let metainfo = r#"{"metainfo":{"version":"1","json_schema_version":1}}"#;
    let with = |entry: &str| format!(r#"{{"nftables":[{metainfo},{entry}]}}"#);
    assert!(canonical(with(r#"{"table":{}}"#).as_bytes()).is_ok());
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for bad in [
        "",
        "{}",
        "[]",
        "null",
        r#"{"nftables":[]}"#,
        r#"{"nftables":{}}"#,
        r#"{"nftables":[{"table":{}}]}"#,
        r#"{"nftables":[{"metainfo":{"version":"1","json_schema_version":2}}]}"#,
        &format!(r#"{{"nftables":[{metainfo}],"more":1}}"#),
        &with("1"),
        &with("{}"),
        &with(r#"{"table":{},"chain":{}}"#),
        &with(r#"{"table":{"n":1.5}}"#),
        &with(r#"{"table":{"n":99999999999999999999}}"#),
        &with(&deep),
        &GATEWAY[..GATEWAY.len() / 2],
    ] {
        assert!(canonical(bad.as_bytes()).is_err(), "{bad}");
    }
    let long = vec![b' '; MAX_LISTING + 1];
    assert_eq!(canonical(&long), Err(NotARuleset::TooLarge(MAX_LISTING + 1)));
}

/// Sets of the fixtures whose elements come and go.
const DYNAMIC: [&str; 5] = ["mcp4", "mcp6", "knocked", "flooders", "hits"];

/// Whether a change at `path` below one object of a listing changes nothing that is allowed: written down
/// here by hand, apart from the code that decides it.
fn harmless(kind: &str, body: &Value, path: &[String]) -> bool {
    let path: Vec<_> = path.iter().map(String::as_str).collect();
    let of_dynamic_set = body["name"].as_str().is_some_and(|name| DYNAMIC.contains(&name));
    match path.as_slice() {
        ["packets" | "bytes"] => kind == "counter",
        ["used"] => kind == "quota",
        ["elem", ..] if of_dynamic_set => true,
        ["handle" | "comment"]
        | [.., "elem", "comment"]
        | [.., "counter", "packets" | "bytes"]
        | [.., "quota", "used" | "used_unit"]
        | [.., "last", "used"] => true,
        _ => false,
    }
}

/// The paths to all leaves of a value.
fn leaves(value: &Value, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Array(items) => {
            items.iter().enumerate().map(|(n, item)| (n.to_string(), item)).collect()
        }
        Value::Object(fields) => fields.iter().map(|(name, field)| (name.clone(), field)).collect(),
        _ => Vec::new(),
    };
    if children.is_empty() {
        found.push(path.clone());
    }
    for (step, child) in children {
        path.push(step);
        leaves(child, path, found);
        path.pop();
    }
}

fn at<'a>(value: &'a mut Value, path: &[String]) -> &'a mut Value {
    path.iter().fold(value, |value, step| match value {
        Value::Array(items) => &mut items[step.parse::<usize>().unwrap()],
        other => &mut other[step.as_str()],
    })
}

fn another(value: &Value) -> Value {
    match value {
        Value::String(text) => json!(format!("{text}x")),
        Value::Number(n) if n.as_u64() == Some(u64::MAX) => json!(u64::MAX - 1),
        Value::Number(n) => n.as_u64().map_or_else(|| json!(0), |n| json!(n + 1)),
        Value::Bool(on) => json!(!on),
        _ => json!(true),
    }
}

#[test]
fn changing_any_single_leaf_changes_the_digest_unless_it_is_harmless() {
    let (mut changed, mut left_alone) = (0, 0);
    for listing in READABLE {
        let value: Value = serde_json::from_str(listing).unwrap();
        let before = digest_of(&value);
        for n in 1..value["nftables"].as_array().unwrap().len() {
            let (kind, body) = value["nftables"][n].as_object().unwrap().iter().next().unwrap();
            let mut paths = Vec::new();
            leaves(body, &mut Vec::new(), &mut paths);
            for path in paths {
                let mut edited = value.clone();
                let leaf = at(&mut edited["nftables"][n][kind], &path);
                *leaf = another(leaf);
                let same = digest_of(&edited) == before;
                assert_eq!(same, harmless(kind, body, &path), "{kind} {path:?} of {body}");
                *if same { &mut left_alone } else { &mut changed } += 1;
            }
        }
    }
    assert!(changed > 2000 && left_alone > 250, "{changed} {left_alone}");
}

#[test]
fn leaving_out_any_object_or_any_part_of_a_list_changes_the_digest() {
    for listing in READABLE {
        let value: Value = serde_json::from_str(listing).unwrap();
        let before = digest_of(&value);
        for n in 1..value["nftables"].as_array().unwrap().len() {
            let mut fewer = value.clone();
            let gone = fewer["nftables"].as_array_mut().unwrap().remove(n);
            assert_ne!(digest_of(&fewer), before, "{gone}");
            let (kind, body) = gone.as_object().unwrap().iter().next().unwrap();
            for list in lists(body) {
                if harmless(kind, body, &list) {
                    continue;
                }
                let mut fewer = value.clone();
                let items = at(&mut fewer["nftables"][n][kind], &list);
                let gone = items.as_array_mut().unwrap().pop();
                assert_ne!(digest_of(&fewer), before, "{gone:?} of {list:?} of {body}");
            }
        }
    }
}

/// The paths to all lists that are not empty.
fn lists(body: &Value) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    leaves(body, &mut Vec::new(), &mut paths);
    let mut lists = std::collections::BTreeSet::new();
    for path in paths {
        for end in 0..path.len() {
            if at(&mut body.clone(), &path[..end]).is_array() {
                lists.insert(path[..end].to_vec());
            }
        }
    }
    lists.into_iter().collect()
}

#[test]
fn swapping_two_rules_of_a_chain_changes_the_digest() {
    let mut swapped = 0;
    for listing in READABLE {
        let value: Value = serde_json::from_str(listing).unwrap();
        let objects = value["nftables"].as_array().unwrap();
        for n in 1..objects.len() {
            let (Some(rule), Some(next)) = (objects[n - 1].get("rule"), objects[n].get("rule"))
            else {
                continue;
            };
            if rule["chain"] == next["chain"]
                && rule["table"] == next["table"]
                && rule["expr"] != next["expr"]
            {
                let mut edited = value.clone();
                edited["nftables"].as_array_mut().unwrap().swap(n - 1, n);
                assert_ne!(digest_of(&edited), digest_of(&value), "{rule} {next}");
                swapped += 1;
            }
        }
    }
    assert!(swapped > 90, "{swapped}");
}

/// Random numbers from a seed (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % end.max(1)
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for n in (1..items.len()).rev() {
            items.swap(n, self.below(n + 1));
        }
    }
}

/// The same ruleset as another moment or another load would list it.
fn listed_anew(listing: &str, random: &mut Random) -> Value {
    let mut value: Value = serde_json::from_str(listing).unwrap();
    let objects = value["nftables"].as_array_mut().unwrap();
    let metainfo = objects.remove(0);
    for object in objects.iter_mut() {
        let (kind, body) = object.as_object_mut().unwrap().iter_mut().next().unwrap();
        body["handle"] = json!(random.below(1000));
        if random.below(2) == 0 {
            body["comment"] = json!(format!("comment {}", random.below(1000)));
        }
        if kind == "counter" {
            body["packets"] = json!(random.below(1000));
        }
        if body["name"].as_str().is_some_and(|name| DYNAMIC.contains(&name)) {
            body["elem"] = (0..random.below(5))
                .map(|_| json!({ "elem": { "val": random.below(1000), "expires": 9 } }))
                .collect();
        }
        shuffle_within(body, random);
    }
    // Rules trade places with those of other chains only.
    let mut chains: Vec<(String, Vec<Value>)> = Vec::new();
    for object in objects.drain(..) {
        let key = object.get("rule").map_or_else(
            || object.to_string(),
            |rule| format!("{} {} {}", rule["family"], rule["table"], rule["chain"]),
        );
        match chains.iter_mut().find(|(other, _)| *other == key) {
            Some((_, objects)) => objects.push(object),
            None => chains.push((key, vec![object])),
        }
    }
    random.shuffle(&mut chains);
    objects.push(metainfo);
    while !chains.is_empty() {
        let n = random.below(chains.len());
        objects.push(chains[n].1.remove(0));
        chains.retain(|(_, objects)| !objects.is_empty());
    }
    value
}

fn shuffle_within(value: &mut Value, random: &mut Random) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| shuffle_within(item, random)),
        Value::Object(fields) => {
            for (name, field) in fields {
                shuffle_within(field, random);
                match (name.as_str(), &mut *field) {
                    ("set" | "elem", Value::Array(items)) => random.shuffle(items),
                    ("counter", counter)
                        if counter.is_null() || counter.get("packets").is_some() =>
                    {
                        *counter = json!({ "packets": random.below(9), "bytes": random.below(9) });
                    }
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn handles_counters_comments_and_the_order_of_what_has_none_leave_the_digest_alone(seed in 1_u64..) {
        let mut random = Random(seed);
        let listing = READABLE[random.below(READABLE.len())];
        let anew = listed_anew(listing, &mut random);
        prop_assert_eq!(digest_of(&anew), Some(digest(listing)), "{}", anew);
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, cut in 0..GATEWAY.len(), byte: u8) {
        let _ = canonical(&bytes);
        let mut edited = GATEWAY.as_bytes().to_vec();
        edited[cut] = byte;
        if let Ok(ruleset) = Ruleset::parse(&edited) {
            let _ = dynamic_accepts(&ruleset);
        }
        let _ = canonical(&GATEWAY.as_bytes()[..cut]);
    }

    #[test]
    fn no_json_panics(entry in arbitrary_json()) {
        let listing = json!({ "nftables": [
            { "metainfo": { "version": "1", "json_schema_version": 1 } },
            { "set": entry.clone() },
            { "rule": { "family": "ip", "table": "t", "chain": "c", "expr": [entry.clone(), { "match": entry }] } },
        ] });
        let ruleset = Ruleset::parse(listing.to_string().as_bytes()).unwrap();
        let _ = dynamic_accepts(&ruleset);
        let _ = compliance_checks::firewall::Seen::of(&ruleset, |_| true);
    }
}

/// JSON that is made of nft's words.
fn arbitrary_json() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "set", "map", "elem", "val", "op", "match", "right", "counter", "quota", "last", "flags",
        "dev", "timeout", "name", "table", "family", "comment", "expires", "used", "@s", "dynamic",
        "xt",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..6).prop_map(|fields| {
                fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            }),
        ]
    })
}
