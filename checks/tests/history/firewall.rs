//! The ruleset of a NixOS machine, less some chains.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use compliance_checks::command::Output;
use compliance_checks::firewall::{self, Firewall};
use compliance_checks::host::RulesetChange;
use compliance_checks::{Check, Host};
use compliance_protocol::time::Span;
use compliance_testkit::host::FakeHost;
use serde_json::{Value, json};

use super::{Event, Machine};

const NFT: &str = "/usr/sbin/nft";

/// Chains and sets where nothing happens.
const ELSEWHERE: [&str; 4] = ["rpfilter", "rpfilter-allow", "input-allow", "temp-ports"];

pub(super) struct Ruleset {
    uptime: Span,
    generation: u32,
    objects: Vec<Value>,
}

impl Default for Ruleset {
    fn default() -> Self {
        static LISTED: LazyLock<Vec<Value>> = LazyLock::new(|| {
            let listing = include_str!("../fixtures/firewall/nixos.1.1.3.json");
            let mut listing: BTreeMap<String, Vec<Value>> = serde_json::from_str(listing).unwrap();
            let mut objects = listing.remove("nftables").unwrap();
            objects.retain(|object| !ELSEWHERE.iter().any(|name| is_of(object, name)));
            objects
        });
        Self { uptime: Span::from_hours(1), generation: 7, objects: LISTED.clone() }
    }
}

impl Ruleset {
    fn bodies(&mut self, kind: &'static str) -> impl Iterator<Item = &mut Value> {
        self.objects.iter_mut().filter_map(move |object| object.get_mut(kind))
    }

    fn positions(&self, is_it: impl Fn(&Value) -> bool) -> Vec<usize> {
        (0..self.objects.len()).filter(|at| is_it(&self.objects[*at])).collect()
    }

    fn one_rule(&self, event: Event) -> usize {
        let rules = self.positions(|object| object.get("rule").is_some());
        rules[event.amount as usize % rules.len()]
    }

    fn host(&self) -> FakeHost {
        let host = FakeHost::default();
        let listing = json!({ "nftables": self.objects }).to_string().into_bytes();
        host.write(NFT, "");
        let answer = move |_: &mut _| {
            Ok(Output { code: Some(0), stdout: listing.clone(), stderr: Vec::new() })
        };
        host.install(NFT, Box::new(answer));
        let by = RulesetChange { pid: 7, comm: "nft".to_owned() };
        host.set_ruleset(Ok(self.generation), &[by]);
        host
    }
}

impl Machine for Ruleset {
    const HARMS: usize = 9;

    fn check() -> impl Check {
        Firewall::default()
    }

    fn baseline() -> Value {
        static CAPTURED: LazyLock<Value> = LazyLock::new(|| {
            let captured = firewall::capture(&Ruleset::default().host()).expected.unwrap();
            json!({ "firewall": captured })
        });
        CAPTURED.clone()
    }

    /// Several changes come between two rounds.
    fn live(&mut self, event: Event) {
        for n in 0..=event.below(4) {
            let (kind, amount) = (event.kind.rotate_left(3 * n), event.amount.rotate_left(8 * n));
            self.change(Event { kind, amount });
        }
    }

    fn harm(&mut self, kind: usize, event: Event) {
        let rule = self.one_rule(event);
        match kind {
            0 => drop(self.objects.remove(rule)),
            1 => {
                let input = self.bodies("chain").find(|chain| chain["name"] == "input").unwrap();
                input["policy"] = json!("accept");
            }
            2 => {
                self.objects[rule]["rule"]["expr"] =
                    json!([{ "accept": null }, { "accept": null }]);
            }
            3 => {
                let accept = self.objects[rule].clone();
                self.objects.insert(rule, accept);
            }
            4 => self
                .objects
                .push(json!({ "table": { "family": "ip", "name": "other", "handle": 99 } })),
            5 => self.objects.push(json!({ "chain": {
                "family": "inet", "table": "nixos-fw", "name": "first", "handle": 99,
                "type": "filter", "hook": "input", "prio": -400, "policy": "accept",
            } })),
            6 => {
                let set = self.bodies("set").find(|set| set["name"] == "resolvers").unwrap();
                set["elem"].as_array_mut().unwrap().push(json!("203.0.113.66"));
            }
            7 => {
                let input = self.bodies("chain").find(|chain| chain["name"] == "input").unwrap();
                input["prio"] = json!(1);
            }
            _ => self.objects.truncate(1),
        }
        self.generation += 1;
    }

    fn show(&self, look: &mut dyn FnMut(&dyn Host)) {
        look(&self.host());
    }

    fn uptime(&self) -> Span {
        self.uptime
    }
}

impl Ruleset {
    /// Changes nothing that is allowed.
    fn change(&mut self, event: Event) {
        let n = event.amount;
        match event.one_of(6) {
            0 => {
                let later = self.uptime.as_millis() + i64::from(n % 10_000_000);
                self.uptime = Span::from_millis(later);
                return;
            }
            // Loaded again: all handles are others.
            1 => {
                for (i, object) in self.objects.iter_mut().enumerate().skip(1) {
                    let body = object.as_object_mut().unwrap().values_mut().next().unwrap();
                    body["handle"] = json!(i as u64 + u64::from(n));
                }
            }
            2 => {
                for set in self.bodies("set").filter(|set| set["name"] == "mcp4") {
                    set["elem"] = json!([{ "elem": { "val": "203.0.113.9", "timeout": 3600, "expires": n % 3600 } }]);
                }
            }
            3 => {
                for set in self.bodies("set").filter(|set| set["name"] == "resolvers") {
                    set["elem"].as_array_mut().unwrap().rotate_left(1);
                }
            }
            // Traffic.
            4 => {
                for rule in self.bodies("rule") {
                    for statement in rule["expr"].as_array_mut().unwrap() {
                        if statement.get("counter").is_some() {
                            *statement =
                                json!({ "counter": { "packets": n, "bytes": u64::from(n) * 60 } });
                        }
                    }
                }
            }
            // The tables came in another order.
            _ => {
                let second = self.positions(|object| object.get("table").is_some())[1];
                self.objects[1..].rotate_left(second - 1);
            }
        }
        self.generation += 1;
    }
}

fn is_of(object: &Value, name: &str) -> bool {
    let body = object.as_object().unwrap().values().next().unwrap();
    body["name"] == name || body["chain"] == name
}
