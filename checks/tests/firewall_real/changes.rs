//! Changes of one ruleset: harmless ones at random, and harmful ones by name.

use std::collections::BTreeMap;

/// Two tables that are always there, each as one block, and one that sees the packets which tests send.
pub(crate) const RULESET: &str = concat!(
    include_str!("../fixtures/firewall/gateway.nft"),
    include_str!("../fixtures/firewall/nixos.nft"),
    "table inet traffic {
	set seen {
		type inet_service
		size 65535
		flags dynamic,timeout
		timeout 1s
	}
	counter passing {
	}
	chain out {
		type filter hook output priority -10; policy accept;
		counter name \"passing\"
		meta l4proto udp update @seen { udp dport counter }
		udp dport 40000-50000 counter accept
	}
}
"
);

/// A stream of changes that change nothing which is allowed.
pub(crate) struct Harmless {
    seed: u64,
    tables: Vec<String>,
    /// By chain, with family and table, its rules.
    chains: Vec<(String, Vec<String>)>,
    /// How many there were of each kind.
    pub(crate) counts: BTreeMap<&'static str, usize>,
}

/// Elements of sets and maps that are neither dynamic nor timed, as the ruleset has them.
const STATIC: [(&str, &[&str]); 8] = [
    ("set inet filter clinic", &["10.20.0.0/16", "172.16.0.0-172.16.5.0", "192.168.1.5"]),
    ("set inet filter hosts", &["10.20.0.1 . 22", "10.20.0.1 . 443", "10.20.0.2 . 22"]),
    ("set inet filter ports", &["22", "80 comment \"web\"", "443 comment \"again\""]),
    ("map inet filter services", &["80 : jump www", "443 : jump www", "25 : drop"]),
    ("map inet filter interfaces", &["\"lo\" : accept", "\"guest0\" : jump guest"]),
    ("map inet filter tallies", &["10.20.0.9 : \"web\""]),
    ("map ip nat inside", &["8080 : 10.20.0.7 . 80", "8443 : 10.20.0.8 . 443"]),
    ("set inet compliance-egress resolvers", &["192.0.2.53", "198.51.100.53", "127.0.0.53"]),
];

const TIMED: [&str; 5] = [
    "filter knocked",
    "filter flooders",
    "compliance-egress mcp4",
    "compliance-egress mcp6",
    "traffic seen",
];

/// What a change is about.
#[derive(Clone, Copy)]
enum Subject {
    Static(usize),
    Timed(usize),
    Chain(usize),
    New,
}

impl Harmless {
    pub(crate) fn new(seed: u64) -> Self {
        let tables = RULESET.split("\n}\n").filter(|block| block.contains("table "));
        let tables: Vec<_> = tables.map(|block| format!("{block}\n}}\n")).collect();
        let chains = tables.iter().flat_map(|table| chains(table)).collect();
        Self { seed, tables, chains, counts: BTreeMap::new() }
    }

    /// A port that some rule counts.
    pub(crate) fn port(&mut self) -> u16 {
        40_000 + u16::try_from(self.below(10_000)).unwrap()
    }

    /// The next `count` changes, as scripts: each a transaction. No two are about the same, and what makes
    /// tables anew comes first, so that none can take back what another has done wrong.
    pub(crate) fn next(&mut self, count: usize) -> Vec<String> {
        let anew = match self.below(8) {
            0 => Some(("reload of everything", self.reload())),
            1..=3 => Some(("table made anew", self.table_anew())),
            _ => None,
        };
        let mut subjects: Vec<_> = (0..STATIC.len()).map(Subject::Static).collect();
        subjects.extend((0..TIMED.len()).map(Subject::Timed));
        subjects.extend((0..self.chains.len()).map(Subject::Chain));
        subjects.extend([Subject::New; 8]);
        self.shuffle(&mut subjects);
        let others = count - usize::from(anew.is_some());
        assert!(others <= subjects.len());
        let others: Vec<_> = subjects[..others].iter().map(|it| self.one(*it)).collect();
        let all = anew.iter().chain(&others);
        all.for_each(|(kind, _)| *self.counts.entry(kind).or_default() += 1);
        let others: String = others.into_iter().map(|(_, script)| script).collect();
        anew.into_iter().map(|(_, script)| script).chain([others]).collect()
    }

    fn one(&mut self, subject: Subject) -> (&'static str, String) {
        match subject {
            Subject::Static(set) => ("static set filled anew", self.static_set(set)),
            Subject::Timed(set) if self.below(3) == 0 => {
                ("timed set emptied", format!("flush set inet {}\n", TIMED[set]))
            }
            Subject::Timed(set) => ("element added to a timed set", self.timed_element(set)),
            Subject::Chain(chain) => ("chain filled anew", self.chain_anew(chain)),
            Subject::New => ("object added and removed", self.come_and_gone()),
        }
    }

    fn reload(&mut self) -> String {
        let mut tables = self.tables.clone();
        self.shuffle(&mut tables);
        let comment = format!("comment \"{}\"", self.below(1_000_000));
        format!("flush ruleset\n{}", tables.concat().replace("comment \"allow ping\"", &comment))
    }

    fn table_anew(&mut self) -> String {
        let n = self.below(self.tables.len());
        let block = &self.tables[n];
        format!("delete table {}\n{block}", name_of(block))
    }

    fn static_set(&mut self, set: usize) -> String {
        let (set, elements) = STATIC[set];
        let mut elements = elements.to_vec();
        self.shuffle(&mut elements);
        let name = set.split_once(' ').unwrap().1;
        format!("flush {set}\nadd element {name} {{ {} }}\n", elements.join(", "))
    }

    fn timed_element(&mut self, set: usize) -> String {
        let (n, timeout) = (self.below(65_536), 1 + self.below(9));
        let (name, element) = (
            TIMED[set],
            match TIMED[set] {
                "compliance-egress mcp6" => format!("2001:db8::{n:x}"),
                "compliance-egress mcp4" => format!("198.18.{}.{}", n / 256, n % 256),
                "filter flooders" => {
                    format!("198.18.{}.{} limit rate over 10/second", n / 256, n % 256)
                }
                "filter knocked" => format!("198.18.{}.{} timeout {timeout}s", n / 256, n % 256),
                _ => format!("{n} timeout 1s"),
            },
        );
        format!("add element inet {name} {{ {element} }}\n")
    }

    /// The same rules with new handles, and new comments where they have none.
    fn chain_anew(&mut self, chain: usize) -> String {
        let comment = self.below(1_000_000);
        let (name, rules) = &self.chains[chain];
        let rules = rules.iter().map(|rule| {
            let commented = rule.contains(" comment ");
            let comment = if commented { "" } else { &*format!(" comment \"{comment}\"") };
            format!("add rule {name} {rule}{comment}\n")
        });
        format!("flush chain {name}\n{}", rules.collect::<String>())
    }

    fn come_and_gone(&mut self) -> String {
        let n = self.below(1_000_000_000);
        match self.below(4) {
            0 => format!("add table ip gone{n}\ndelete table ip gone{n}\n"),
            1 => format!(
                "add chain inet filter gone{n}\nadd rule inet filter gone{n} accept\ndelete chain inet filter gone{n}\n"
            ),
            2 => format!(
                "add set inet filter gone{n} {{ type ipv4_addr; }}\ndelete set inet filter gone{n}\n"
            ),
            _ => format!("add counter ip nat gone{n}\ndelete counter ip nat gone{n}\n"),
        }
    }

    /// xorshift64*
    fn below(&mut self, end: usize) -> usize {
        self.seed ^= self.seed >> 12;
        self.seed ^= self.seed << 25;
        self.seed ^= self.seed >> 27;
        usize::try_from(self.seed.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % end
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for n in (1..items.len()).rev() {
            let other = self.below(n + 1);
            items.swap(n, other);
        }
    }
}

/// Family and name of a table that is written as a block.
fn name_of(table: &str) -> &str {
    let head = table.lines().find_map(|line| line.strip_prefix("table ")).unwrap();
    head.trim_end_matches(" {")
}

/// The chains of a table that is written as a block.
fn chains(table: &str) -> impl Iterator<Item = (String, Vec<String>)> {
    table.split("\n\tchain ").skip(1).map(move |block| {
        let (chain, body) = block.split_once(" {\n").unwrap();
        let lines = body.split("\t}").next().unwrap().lines().map(str::trim);
        let rules =
            lines.filter(|line| !line.starts_with("type ") && !line.starts_with("comment "));
        (format!("{} {chain}", name_of(table)), rules.map(str::to_owned).collect())
    })
}

/// A change of what is allowed.
pub(crate) enum Change {
    /// By these commands.
    Script(&'static str),
    /// By loading the ruleset with one text in place of another.
    Edit(&'static str, &'static str),
}

use Change::{Edit, Script};

impl Change {
    /// The script that makes it.
    pub(crate) fn script(&self) -> String {
        match self {
            Script(script) => (*script).to_owned(),
            Edit(from, to) => {
                assert!(RULESET.contains(from), "{from}");
                format!("flush ruleset\n{}", RULESET.replacen(from, to, 1))
            }
        }
    }
}

const IN: &str = "inet filter/input";
const FORWARD: &str = "inet filter/forward";
const WWW: &str = "inet filter/www";
const GUEST: &str = "inet filter/guest";
const RPFILTER: &str = "inet nixos-fw/rpfilter";
const ALLOW: &str = "inet nixos-fw/input-allow";
const EGRESS: &str = "inet compliance-egress/output";
const POST: &str = "ip nat/postrouting";
const PRE: &str = "ip nat/prerouting";
const RAW: &str = "ip6 raw/prerouting";

/// What is done, how, and the subject of the finding that must tell of it.
pub(crate) const HARMFUL: &[(&str, Change, &str)] = &[
    // Chains.
    ("a policy is accept", Script("chain inet filter input { policy accept; }\n"), IN),
    ("another policy is accept", Script("chain inet filter forward { policy accept; }\n"), FORWARD),
    (
        "a hook changes",
        Edit("hook output priority -10", "hook postrouting priority -10"),
        "inet traffic/out",
    ),
    ("a priority changes", Edit("hook prerouting priority raw", "hook prerouting priority 0"), RAW),
    (
        "a type changes",
        Edit(
            "type nat hook postrouting priority srcnat; policy accept;\n\t\toifname \"wan0\" ip saddr 10.20.0.0/16 masquerade fully-random",
            "type filter hook postrouting priority srcnat; policy accept;\n\t\toifname \"wan0\" ip saddr 10.20.0.0/16 accept",
        ),
        POST,
    ),
    (
        "a new base chain comes first",
        Script(
            "add chain inet filter early { type filter hook input priority -200; policy accept; }\n",
        ),
        "inet filter/early",
    ),
    ("a new chain", Script("add chain inet filter more\n"), "inet filter/more"),
    ("a chain is emptied", Script("flush chain inet filter guest\n"), GUEST),
    // Rules.
    ("an accept comes first", Script("insert rule inet filter input accept\n"), IN),
    (
        "an accept comes last",
        Script("add rule inet filter input ip saddr 203.0.113.66 accept\n"),
        IN,
    ),
    (
        "an accept comes between",
        Script("add rule inet filter input index 3 tcp dport 4444 accept\n"),
        IN,
    ),
    ("a rule stands twice", Script("add rule inet filter www return\n"), WWW),
    (
        "two rules change places",
        Edit(
            "quota name \"guests\" drop\n\t\ttcp dport { 80, 443 } accept",
            "tcp dport { 80, 443 } accept\n\t\tquota name \"guests\" drop",
        ),
        GUEST,
    ),
    ("a drop is gone", Edit("accept\n\t\tdrop\n", "accept\n"), GUEST),
    ("a drop is an accept", Edit("quota over 10 mbytes drop", "quota over 10 mbytes accept"), IN),
    ("a jump goes elsewhere", Edit("jump rpfilter-allow", "jump input-allow"), RPFILTER),
    ("a jump is a goto", Edit("jump rpfilter-allow", "goto rpfilter-allow"), RPFILTER),
    (
        "a state more",
        Edit("ct state established,related accept", "ct state established,related,new accept"),
        FORWARD,
    ),
    (
        "a state of another verdict",
        Edit("untracked : jump input-allow", "untracked : accept"),
        "inet nixos-fw/input",
    ),
    ("another interface", Edit("iifname \"lan0\"", "iifname \"lan1\""), FORWARD),
    ("any interface of a kind", Edit("iifname \"lan0\"", "iifname \"lan*\""), FORWARD),
    ("another set", Edit("ip saddr @knocked tcp dport 22", "ip saddr @clinic tcp dport 22"), IN),
    ("another status", Edit("ct status dnat", "ct status snat"), FORWARD),
    (
        "a negation",
        Edit("oifname \"wan0\" ip saddr @clinic", "oifname != \"wan0\" ip saddr @clinic"),
        FORWARD,
    ),
    ("a condition is gone", Edit("ip saddr @clinic tcp dport @ports", "tcp dport @ports"), IN),
    ("a wider range of ports", Edit("8000-8010", "8000-9000"), ALLOW),
    ("a port more", Edit("{ 22, 443, 8000-8010 }", "{ 22, 23, 443, 8000-8010 }"), ALLOW),
    ("a wider prefix", Edit("fe80::/64", "fe80::/10"), ALLOW),
    ("another mask", Edit("meta mark & 0xff == 1", "meta mark & 0x0f == 1"), IN),
    ("other bytes of the packet", Edit("@th,16,16 6000-6010", "@th,0,16 6000-6010"), IN),
    ("another user", Edit("meta skuid != 980", "meta skuid != 981"), EGRESS),
    ("a faster limit", Edit("limit rate over 10/second", "limit rate over 10000/second"), IN),
    ("a limit the other way round", Edit("limit rate over 10/second", "limit rate 10/second"), IN),
    (
        "a larger burst",
        Edit("limit rate 5/second burst 5 packets", "limit rate 5/second burst 500 packets"),
        IN,
    ),
    ("a larger quota", Edit("quota over 10 mbytes", "quota over 10000 mbytes"), IN),
    ("more connections", Edit("ct count over 100", "ct count over 10000"), WWW),
    ("another refusal", Edit("icmpx admin-prohibited", "icmpx port-unreachable"), IN),
    (
        "an element lives longer",
        Edit("add @knocked { ip saddr }", "add @knocked { ip saddr timeout 30d }"),
        IN,
    ),
    ("another translation", Edit("masquerade fully-random", "masquerade"), POST),
    ("another redirection", Edit("redirect to :22", "redirect to :23"), PRE),
    // Sets and maps.
    (
        "an element more",
        Script("add element inet filter clinic { 203.0.113.0/24 }\n"),
        "inet filter set clinic",
    ),
    (
        "an element less",
        Script("delete element inet filter hosts { 10.20.0.1 . 22 }\n"),
        "inet filter set hosts",
    ),
    (
        "an empty set is filled",
        Script("add element inet nixos-fw temp-ports { tcp . 31337 }\n"),
        "inet nixos-fw set temp-ports",
    ),
    ("a wider element", Edit("192.168.1.5", "192.168.1.4/31"), "inet filter set clinic"),
    ("an element of another verdict", Edit("25 : drop", "25 : accept"), "inet filter map services"),
    (
        "an element of another target",
        Edit("80 : jump www", "80 : jump guest"),
        "inet filter map services",
    ),
    (
        "an element that leads elsewhere",
        Edit("8080 : 10.20.0.7 . 80", "8080 : 203.0.113.9 . 80"),
        "ip nat map inside",
    ),
    (
        "a static set is timed",
        Edit(
            "set resolvers {\n\t\ttype ipv4_addr",
            "set resolvers {\n\t\ttype ipv4_addr\n\t\tflags timeout",
        ),
        "inet compliance-egress set resolvers",
    ),
    (
        "a timed set is static",
        Edit("flags timeout\n\t\ttimeout 1h\n\t\telements = { 2001", "elements = { 2001"),
        "inet compliance-egress set mcp6",
    ),
    ("a longer time", Edit("timeout 10m", "timeout 30d"), "inet filter set knocked"),
    ("a new set", Script("add set inet filter more { type ipv4_addr; }\n"), "inet filter set more"),
    // Other objects.
    (
        "a new flowtable",
        Script(
            "add flowtable inet filter fast-lane { hook ingress priority 0; devices = { lo }; }\n",
        ),
        "inet filter flowtable fast-lane",
    ),
    (
        "a higher quota by name",
        Edit("over 500 mbytes", "over 5000 mbytes"),
        "inet filter quota guests",
    ),
    (
        "a higher limit by name",
        Edit("rate 10/second burst 20 packets", "rate 10/second burst 2000 packets"),
        "inet filter limit pings",
    ),
    ("another proxy", Edit("mss 1460", "mss 1200"), "inet filter synproxy fast"),
    (
        "another policy of time-outs",
        Edit("established : 3600", "established : 36000"),
        "inet filter ct timeout patient",
    ),
    ("another expectation", Edit("dport 9876", "dport 22"), "inet filter ct expectation media"),
    ("a helper is gone", Script("delete ct helper inet filter ftp\n"), "inet filter ct helper ftp"),
    // Tables.
    ("a table is gone", Script("delete table ip6 raw\n"), "ip6 raw"),
    (
        "a new table",
        Script(
            "table ip evil {\nchain c {\ntype filter hook input priority -300; policy accept;\n}\n}\n",
        ),
        "ip evil",
    ),
    ("a new empty table", Script("add table netdev evil\n"), "netdev evil"),
    ("a table is of another family", Edit("table ip6 raw", "table inet raw"), "ip6 raw"),
    ("everything is gone", Script("flush ruleset\n"), "inet filter"),
];
