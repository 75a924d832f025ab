//! The firewall check against the kernel's nftables, each test in a network namespace of its own.
//!
//! A test starts itself again under `unshare`, which needs no root. Where that is refused, or there is no nft,
//! it says `skipped: why`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    missing_docs
)]

#[path = "firewall_real/changes.rs"]
mod changes;
#[path = "firewall_real/namespace.rs"]
mod namespace;

use compliance_checks::capture::Captured;
use compliance_checks::firewall::{Firewall, FirewallBaseline, canonical, capture, judge};
use compliance_checks::linux::LinuxHost;
use compliance_checks::{Host as _, HostError, Verdict};
use compliance_protocol::time::Span;

use changes::{HARMFUL, Harmless, RULESET};
use namespace::{alone, alone_with, nft, nft_fails, traffic};

/// The check on this machine, with the baseline of what it found at first.
struct Watch {
    host: LinuxHost,
    check: Firewall,
    baseline: FirewallBaseline,
}

impl Watch {
    fn start() -> Self {
        nft(RULESET);
        let host = LinuxHost::default();
        let baseline = capture(&host).expected.unwrap();
        Self { host, check: Firewall::default(), baseline }
    }

    fn verdict(&mut self) -> Verdict {
        let facts = self.check.gather(&self.host, &self.baseline, Span::ZERO);
        judge(&self.baseline, &facts)
    }

    /// Puts back what is captured, as healing does.
    fn restore(&self) {
        nft(&format!("flush ruleset\n{}", self.baseline.ruleset));
    }
}

#[test]
fn ten_thousand_random_harmless_changes_leave_the_digest_alone() {
    alone("ten_thousand_random_harmless_changes_leave_the_digest_alone", || {
        const BATCHES: usize = 400;
        const EACH: usize = 25;
        let mut watch = Watch::start();
        assert_eq!(watch.verdict(), Verdict::Compliant);
        let mut harmless = Harmless::new(20_261_120);
        for batch in 0..BATCHES {
            let scripts = harmless.next(EACH);
            for script in &scripts {
                nft(script);
            }
            traffic(harmless.port());
            assert_eq!(watch.verdict(), Verdict::Compliant, "batch {batch}: {scripts:#?}");
        }
        let counter = namespace::run_nft(&["list", "counter", "inet", "traffic", "passing"]);
        assert!(counter.contains("packets") && !counter.contains("packets 0"), "{counter}");
        assert_eq!(harmless.counts.values().sum::<usize>(), 10_000);
        println!("10,000 harmless changes in {BATCHES} batches: {:?}", harmless.counts);
    });
}

#[test]
fn each_harmful_change_is_seen_and_undone_by_the_captured_ruleset() {
    alone("each_harmful_change_is_seen_and_undone_by_the_captured_ruleset", || {
        let mut watch = Watch::start();
        let mut skipped = 0;
        for (name, change, subject) in HARMFUL {
            watch.restore();
            assert_eq!(watch.verdict(), Verdict::Compliant, "before: {name}");
            if let Err(error) = namespace::try_nft(&change.script()) {
                let absent = error.contains("No such file or directory");
                assert!(absent && name.contains("flowtable"), "{name}: {error}");
                namespace::skipped(name, "this kernel has none");
                skipped += 1;
                continue;
            }
            let verdict = watch.verdict();
            let Verdict::Drifted(findings) = &verdict else { panic!("{name}: {verdict:?}") };
            let finding = findings.iter().find(|finding| finding.subject == *subject);
            let finding = finding.unwrap_or_else(|| panic!("{name}: {findings:?}"));
            assert!(finding.actual.contains(", by nft (pid "), "{name}: {finding:?}");
        }
        println!("{} harmful changes seen, {skipped} skipped", HARMFUL.len() - skipped);
    });
}

#[test]
fn a_table_that_is_switched_off_is_never_compliant() {
    alone("a_table_that_is_switched_off_is_never_compliant", || {
        let mut watch = Watch::start();
        nft("table ip6 raw { flags dormant; }\n");
        // nft 1.0.6 prints freed memory for the flag, which may not be JSON; newer ones print the flag.
        let verdict = watch.verdict();
        assert!(matches!(verdict, Verdict::Drifted(_) | Verdict::Unknown(_)), "{verdict:?}");
    });
}

#[test]
fn a_rule_that_was_added_and_removed_again_leaves_nothing() {
    alone("a_rule_that_was_added_and_removed_again_leaves_nothing", || {
        let mut watch = Watch::start();
        for _ in 0..20 {
            let added = namespace::run_nft(&["-e", "-a", "insert rule inet filter input accept"]);
            assert!(matches!(watch.verdict(), Verdict::Drifted(_)));
            let handle =
                added.split("# handle ").nth(1).unwrap().split_whitespace().next().unwrap();
            nft(&format!("delete rule inet filter input handle {handle}\n"));
            assert_eq!(watch.verdict(), Verdict::Compliant);
        }
    });
}

#[test]
fn every_ruleset_that_is_captured_loads_and_is_compliant_again() {
    alone("every_ruleset_that_is_captured_loads_and_is_compliant_again", || {
        for ruleset in [
            include_str!("fixtures/firewall/nixos.nft"),
            include_str!("fixtures/firewall/gateway.nft"),
            include_str!("fixtures/firewall/fail2ban.nft"),
        ] {
            nft(&format!("flush ruleset\n{ruleset}"));
            let host = LinuxHost::default();
            let baseline = capture(&host).expected.unwrap();
            let mut watch = Watch { host, check: Firewall::default(), baseline };
            assert_eq!(watch.verdict(), Verdict::Compliant);
            nft("flush ruleset\n");
            assert!(matches!(watch.verdict(), Verdict::Drifted(_)));
            watch.restore();
            assert_eq!(watch.verdict(), Verdict::Compliant);
        }
    });
}

#[test]
fn the_kernel_numbers_each_change_and_names_who_made_it() {
    alone("the_kernel_numbers_each_change_and_names_who_made_it", || {
        let host = LinuxHost::default();
        let before = host.ruleset_generation().unwrap();
        assert_eq!(host.ruleset_changes(), []);
        let pid = nft("add table ip one\n");
        let after = host.ruleset_generation().unwrap();
        assert!(after > before, "{before} {after}");
        let changes = host.ruleset_changes();
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert_eq!(changes[0].comm, "nft");
        assert!(namespace::is(changes[0].pid, pid), "{changes:?}");
        assert_eq!((host.ruleset_changes(), host.ruleset_generation()), (vec![], Ok(after)));
    });
}

#[test]
fn more_notices_than_the_socket_holds_are_somebody_without_a_name() {
    alone("more_notices_than_the_socket_holds_are_somebody_without_a_name", || {
        let host = LinuxHost::default();
        host.ruleset_generation().unwrap();
        nft("add table ip t\nadd chain ip t c\n");
        let rules = "add rule ip t c tcp dport 22 accept\n".repeat(400);
        for _ in 0..100 {
            nft(&rules);
        }
        let changes = host.ruleset_changes();
        assert!(changes.iter().any(|change| change.pid == 0), "{changes:?}");
        // After that it hears again.
        let pid = nft("add table ip one\n");
        assert!(host.ruleset_changes().iter().any(|change| namespace::is(change.pid, pid)));
    });
}

#[test]
fn without_cap_net_admin_nothing_is_known() {
    let dropped = ["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"];
    alone_with("without_cap_net_admin_nothing_is_known", &dropped, || {
        let host = LinuxHost::default();
        assert!(matches!(host.ruleset_generation(), Err(HostError::Denied(_))));
        assert_eq!(host.ruleset_changes(), []);
        let denied = HostError::Denied("the ruleset".to_owned());
        assert_eq!(capture(&host), Captured::nothing(&denied));
    });
}

#[test]
fn a_listing_of_the_kernels_is_in_canonical_form() {
    alone("a_listing_of_the_kernels_is_in_canonical_form", || {
        let mut watch = Watch::start();
        let listing = namespace::run_nft(&["-j", "-n", "list", "ruleset"]);
        let stateless = namespace::run_nft(&["-j", "-s", "-n", "list", "ruleset"]);
        assert_eq!(canonical(listing.as_bytes()), canonical(stateless.as_bytes()));
        assert_eq!(watch.verdict(), Verdict::Compliant);
        assert!(nft_fails("add rule inet filter nowhere accept\n"));
        assert_eq!(watch.verdict(), Verdict::Compliant);
    });
}
