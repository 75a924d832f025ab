//! What nft printed, and a host whose nft prints it.

use std::collections::VecDeque;

use compliance_checks::HostError;
use compliance_checks::command::Output;
use compliance_checks::firewall::{FirewallBaseline, Ruleset, Seen};
use compliance_testkit::FakeHost;

pub(crate) const NFT: &str = "/usr/sbin/nft";

pub(crate) const NIXOS: &str = include_str!("../fixtures/firewall/nixos.1.0.6.json");
pub(crate) const NIXOS_NEWER: &str = include_str!("../fixtures/firewall/nixos.1.1.3.json");
pub(crate) const GATEWAY: &str = include_str!("../fixtures/firewall/gateway.1.0.6.json");
pub(crate) const GATEWAY_NEWER: &str = include_str!("../fixtures/firewall/gateway.1.1.3.json");
pub(crate) const FAIL2BAN: &str = include_str!("../fixtures/firewall/fail2ban.1.0.6.json");
pub(crate) const FAIL2BAN_NEWER: &str = include_str!("../fixtures/firewall/fail2ban.1.1.3.json");
pub(crate) const DOCKER: &str = include_str!("../fixtures/firewall/docker.1.0.6.json");
pub(crate) const DOCKER_NEWER: &str = include_str!("../fixtures/firewall/docker.1.1.3.json");
pub(crate) const NETDEV: &str = include_str!("../fixtures/firewall/netdev.1.0.6.json");
pub(crate) const NETDEV_NEWER: &str = include_str!("../fixtures/firewall/netdev.1.1.3.json");
pub(crate) const DORMANT: &str = include_str!("../fixtures/firewall/dormant.1.1.3.json");
pub(crate) const DOCUMENTED: &str = include_str!("../fixtures/firewall/documented.json");

/// Every listing that can be read.
pub(crate) const READABLE: [&str; 12] = [
    NIXOS,
    NIXOS_NEWER,
    GATEWAY,
    GATEWAY_NEWER,
    FAIL2BAN,
    FAIL2BAN_NEWER,
    DOCKER,
    DOCKER_NEWER,
    NETDEV,
    NETDEV_NEWER,
    DORMANT,
    DOCUMENTED,
];

pub(crate) fn parse(listing: &str) -> Ruleset {
    Ruleset::parse(listing.as_bytes()).unwrap()
}

/// A listing without one of its tables.
pub(crate) fn without_table(listing: &str, family: &str, table: &str) -> String {
    let mut value: serde_json::Value = serde_json::from_str(listing).unwrap();
    let objects = value["nftables"].as_array_mut().unwrap();
    objects.retain(|object| {
        let (kind, body) = object.as_object().unwrap().iter().next().unwrap();
        let name = &body[if kind == "table" { "name" } else { "table" }];
        body["family"] != family || *name != table
    });
    value.to_string()
}

/// The baseline by which a listing is compliant.
pub(crate) fn baseline(listing: &str) -> FirewallBaseline {
    let seen = Seen::of(&parse(listing), |_| true);
    FirewallBaseline {
        sha256: seen.sha256,
        exclusive: false,
        dynamic_accepts: Vec::new(),
        ruleset: String::new(),
        tables: seen.tables,
    }
}

pub(crate) type Answer = Result<Output, HostError>;

/// nft ended well and printed this.
#[allow(clippy::unnecessary_wraps)] // It is one answer among those that are errors.
pub(crate) fn printed(text: &str) -> Answer {
    Ok(Output { code: Some(0), stdout: text.as_bytes().to_vec(), stderr: Vec::new() })
}

/// nft ended with this code and these words.
#[allow(clippy::unnecessary_wraps)] // The same.
pub(crate) fn failed(code: Option<i32>, stderr: &str) -> Answer {
    Ok(Output { code, stdout: Vec::new(), stderr: stderr.as_bytes().to_vec() })
}

/// Lets nft answer with each of `answers` in turn, and with the last one for good.
pub(crate) fn install(host: &FakeHost, answers: Vec<Answer>) {
    host.write(NFT, "");
    let mut answers = VecDeque::from(answers);
    let next = move |_: &mut _| match answers.len() {
        1 => answers[0].clone(),
        _ => answers.pop_front().unwrap(),
    };
    host.install(NFT, Box::new(next));
}

/// A host with `nf_tables` at generation 1, whose nft prints `listing`.
pub(crate) fn host(listing: &str) -> FakeHost {
    let host = FakeHost::default();
    host.set_ruleset(Ok(1), &[]);
    install(&host, vec![printed(listing)]);
    host
}
