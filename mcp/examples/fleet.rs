//! A control plane with a made-up fleet, to look at the console: sites in every state, one silent, one with
//! evidence missing, orders in every state.
//!
//! `cargo run --package compliance-mcp --example fleet -- DIR [HEALTHY]` makes DIR, with HEALTHY sites that are as they
//! should be. In `DIR/live` is what changes it once it is served: the credentials of `clinic-live`, what it uploads
//! when it has drifted and when it is healed, and the trust file of a site that is not registered yet.
//! `browser/plane.py` starts it all.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub
)]

#[path = "../tests/server/bundles.rs"]
mod bundles;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bundles::{Ledger, evidence_key, now, tenant};
use compliance_mcp::app::{App, Random};
use compliance_mcp::config::Config;
use compliance_mcp::init::{self, Request};
use compliance_mcp::store::Tx;
use compliance_mcp::{ingest, push};
use compliance_pki::Authority;
use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::{
    ActionRecord, Bundle, Finding, Mode, Outcome, State, StepResult, Trigger, TriggerKind,
};
use compliance_protocol::gate::{Gate, GateName};
use compliance_protocol::key::KeySet;
use compliance_protocol::name::{Id, Site};
use compliance_protocol::order::{Action, Order, When};
use compliance_protocol::time::{Span, Timestamp};
use compliance_protocol::trust::{OrderKeys, Roles, Trust};
use compliance_protocol::wire::Upload;
use compliance_signing::{PrivateKey, sign};
use serde_json::{Map, Value, json};

const CHECKS: [&str; 6] = ["patching", "services", "backups", "firewall", "logging", "encryption"];

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().expect("usage: fleet DIR [HEALTHY]"));
    let healthy = arguments.next().map_or(9, |count| count.parse().expect("HEALTHY is a number"));
    let plane = Plane::new(&folder);
    drifted(&plane).await;
    cannot_look(&plane).await;
    silent(&plane).await;
    incomplete(&plane).await;
    for number in 1..=healthy {
        let mut site = plane.site(&format!("clinic-{number:03}")).await;
        site.round(Span::from_secs(60 + 37 * (number % 80)), &[]).await;
        site.seen(Span::from_secs(number % 60)).await;
    }
    plane.site("not-installed-yet").await;
    live(&plane, &folder.join("live")).await;
    plane.app.store.close();
}

/// A firewall that somebody changed, a service that may not be restarted before the window opens, orders.
async fn drifted(plane: &Plane) {
    let mut site = plane.site("clinic-north").await;
    site.mode = (Mode::Reseller, Some("Nordlicht IT GmbH".to_owned()));
    for hours in (4..56).rev() {
        site.round(Span::from_hours(hours), &[]).await;
    }
    site.skip(3);
    site.order(Action::RunChecks {}, Some((Outcome::Success, "done"))).await;
    let unit = "pacs.service".parse().unwrap();
    site.order(Action::RestartService { unit }, Some((Outcome::Rejected, "policy"))).await;
    site.order(Action::Reboot {}, Some((Outcome::Expired, "expired"))).await;
    site.order(Action::RunChecks {}, None).await;
    site.heal(Span::from_hours(3)).await;
    site.round(Span::from_secs(1900), &[("firewall", State::Drifted)]).await;
    let mut bundle = site.look("firewall", State::Drifted, Span::from_secs(1800));
    (bundle.outcome, bundle.reason) = (Outcome::Alert, "drifted".into());
    bundle.detail = "The ruleset differs from the baseline, and only an order may heal it.".into();
    bundle.findings = vec![
        finding(
            "inet filter input",
            "digest 9f2c41d7…",
            "digest 02be7a90…, changed by nft (pid 4711)",
        ),
        finding("table ip docker", "absent", "present, foreign"),
    ];
    bundle.gates =
        vec![Gate::closed(GateName::Policy, "the policy heals this check by order only", None)];
    site.add(bundle).await;
    let mut bundle = site.look("services", State::Drifted, Span::from_secs(240));
    let opens = now().plus(Span::from_hours(5));
    (bundle.outcome, bundle.reason) = (Outcome::Deferred, "window".into());
    bundle.detail =
        "frontdesk.service is to be restarted, which waits for the maintenance window.".into();
    bundle.findings =
        vec![finding("frontdesk.service", "active", "failed (exit-code), 3 restarts")];
    bundle.retry_after = Some(opens);
    bundle.gates = vec![
        Gate::open(GateName::Clock, "the kernel's clock is synchronised"),
        Gate::closed(GateName::Window, "outside the maintenance window", Some(opens)),
        Gate::open(GateName::Rate, "0 of 3 heals in the last day"),
        Gate::unknown(GateName::Switch, "the running system could not be read"),
    ];
    site.add(bundle).await;
    site.seen(Span::from_secs(12)).await;
}

/// Backups that cannot be looked at.
async fn cannot_look(plane: &Plane) {
    let mut site = plane.site("praxis-dr-vogel").await;
    site.round(Span::from_secs(900), &[("encryption", State::NotApplicable)]).await;
    let mut bundle = site.look("backups", State::Unknown, Span::from_secs(700));
    (bundle.outcome, bundle.reason) = (Outcome::Alert, "unknown".into());
    bundle.detail = "The status file of job records cannot be read.".into();
    bundle.findings = vec![finding("records", "a status file", "permission denied")];
    site.add(bundle).await;
    site.seen(Span::from_secs(31)).await;
}

/// A site that was not heard of for days.
async fn silent(plane: &Plane) {
    let mut site = plane.site("zahnzentrum-sued").await;
    site.round(Span::from_hours(75), &[]).await;
    site.seen(Span::from_hours(74)).await;
}

/// All is well, but evidence is missing; and its name is as long as names can be.
async fn incomplete(plane: &Plane) {
    let name = "medizinisches-versorgungszentrum-am-alten-guterbahnhof-ost-0017";
    let mut site = plane.site(name).await;
    for hours in (1..20).rev() {
        site.round(Span::from_hours(hours), &[]).await;
        if hours == 9 {
            site.skip(4);
        }
    }
    site.round(Span::from_secs(120), &[]).await;
    site.seen(Span::from_secs(44)).await;
}

/// A site that will drift and heal while somebody looks, and one that will be registered.
async fn live(plane: &Plane, folder: &Path) {
    std::fs::create_dir(folder).unwrap();
    let mut site = plane.site("clinic-live").await;
    site.round(Span::from_secs(30), &[]).await;
    site.seen(Span::from_secs(5)).await;
    let mut drifted = site.look("services", State::Drifted, Span::ZERO);
    (drifted.outcome, drifted.reason) = (Outcome::Alert, "drifted".into());
    drifted.detail = "nginx.service is not as the baseline says.".into();
    drifted.findings = vec![finding("nginx.service", "active", "inactive")];
    let drifted = site.ledger.append(&drifted);
    let mut healed = site.look("services", State::Compliant, Span::ZERO);
    (healed.reason, healed.detail) = ("healed".to_owned(), "nginx.service was started.".to_owned());
    let healed = site.ledger.append(&healed);
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).unwrap();
    for (name, bundle) in [("drifted.json", drifted), ("healed.json", healed)] {
        write(name, &serde_json::to_vec(&Upload { bundles: vec![bundle] }).unwrap());
    }
    let key = PrivateKey::from_seed(&[9; 32]).unwrap().to_pem().unwrap();
    let request = compliance_pki::csr(&key).unwrap();
    let offline = folder.with_file_name("offline");
    let read = |name: &str| std::fs::read_to_string(offline.join(name)).unwrap();
    let authority = Authority::from_pem(&read("ca.pem"), &read("ca.key")).unwrap();
    let issued = authority.issue_site(&request, &tenant(), &site.site, [7; 16], now()).unwrap();
    write("tls.pem", issued.as_bytes());
    write("tls.key", key.as_bytes());
    write("clinic-new.dsse.json", &plane.trust("clinic-new"));
}

fn finding(subject: &str, expected: &str, actual: &str) -> Finding {
    let [subject, expected, actual] = [subject, expected, actual].map(str::to_owned);
    Finding { subject, expected, actual }
}

struct Plane {
    app: Arc<App>,
    clock: Arc<AtomicI64>,
    root: PrivateKey,
    orders: PrivateKey,
    baseline: PrivateKey,
}

impl Plane {
    fn new(folder: &Path) -> Self {
        let [root, orders, baseline] =
            [1, 2, 3].map(|seed| PrivateKey::from_seed(&[seed; 32]).unwrap());
        let root_pub = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(root_pub.path(), root.public().to_pem().unwrap()).unwrap();
        let request = Request {
            folder: folder.to_owned(),
            tenant: tenant(),
            names: vec!["127.0.0.1".to_owned()],
            root_pubs: vec![root_pub.path().to_owned()],
            root_threshold: 1,
        };
        let random: Random = Arc::new(|| {
            let mut bytes = [0; 32];
            getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
            Ok(bytes)
        });
        init::init(&request, now(), &random).unwrap();
        // Nobody polls: who was just heard of shall stay that for hours.
        let file = folder.join("mcp.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let text = ["0.0.0.0:8443", "127.0.0.1:8444", "127.0.0.1:8445"]
            .iter()
            .fold(text, |text, address| text.replace(address, "127.0.0.1:0"))
            .replace("poll_after_s = 60", "poll_after_s = 3600");
        std::fs::write(&file, text).unwrap();
        let clock = Arc::new(AtomicI64::new(now().as_millis()));
        let read = Arc::clone(&clock);
        let clock_of_app = Arc::new(move || Timestamp::from_millis(read.load(Ordering::Relaxed)));
        let config = Config::read(&file).unwrap();
        let app = Arc::new(App::open(&config, clock_of_app, random).unwrap());
        Self { app, clock, root, orders, baseline }
    }

    /// The trust file of a site.
    fn trust(&self, name: &str) -> Vec<u8> {
        let one = |key: &PrivateKey| KeySet::new(vec![key.public()], 1).unwrap();
        let trust = Trust {
            version: 1,
            tenant: tenant(),
            site: name.parse().unwrap(),
            epoch: 1,
            roles: Roles {
                root: one(&self.root),
                orders: OrderKeys { any: one(&self.orders), threshold_now: 1 },
                baseline: one(&self.baseline),
                feed: KeySet::new(vec![self.app.feed_key.public()], 1).unwrap(),
                checkpoint: self.app.log.key().clone(),
                evidence: evidence_key(name).public(),
            },
            log: self.app.log.clone(),
        };
        sign(&trust, &[&self.root]).unwrap()
    }

    /// Registers a site.
    async fn site(&self, name: &str) -> Appliance<'_> {
        let site: Site = name.parse().unwrap();
        let envelope = self.trust(name);
        let (app, of) = (Arc::clone(&self.app), site.clone());
        let put = move |tx: &Tx<'_>| push::trust(tx, &app, &of, &envelope, now());
        self.app.store.write(put).await.unwrap();
        let ledger = Ledger::new(name);
        Appliance {
            plane: self,
            site,
            ledger,
            orders: 0,
            previous: None,
            mode: (Mode::Direct, None),
        }
    }
}

/// A made-up appliance.
struct Appliance<'p> {
    plane: &'p Plane,
    site: Site,
    ledger: Ledger,
    orders: u64,
    previous: Option<Digest>,
    mode: (Mode, Option<String>),
}

impl Appliance<'_> {
    /// A look at a check, so long ago.
    fn look(&self, check: &str, state: State, ago: Span) -> Bundle {
        let at = now().plus(Span::from_millis(-ago.as_millis()));
        let mut bundle = self.ledger.bundle();
        (bundle.started_at, bundle.finished_at) = (at, at);
        (bundle.mode, bundle.reseller) = self.mode.clone();
        (bundle.check, bundle.state) = (Some(check.to_owned()), Some(state));
        bundle.clock.offset_ms = 3;
        bundle.clock.max_error_ms = 21;
        bundle.system.generation = Some(41);
        bundle.last_order_sequence = self.orders;
        bundle
    }

    /// The summary of a round in which all is well but `other`.
    async fn round(&mut self, ago: Span, other: &[(&str, State)]) {
        let mut bundle = self.look("", State::Compliant, ago);
        (bundle.check, bundle.check_version, bundle.state) = (None, None, None);
        let states = CHECKS.map(|check| {
            let state = other.iter().find(|(name, _)| *name == check);
            let state = state.map_or(State::Compliant, |(_, state)| *state);
            (check.to_owned(), serde_json::to_value(state).unwrap())
        });
        bundle.reason = "round".into();
        bundle.detail = "60 rounds of checks, the longest gap 61 s.".into();
        bundle.post.insert("rounds".to_owned(), 60.into());
        let opens = now().plus(Span::from_hours(5));
        bundle.post.insert("window".to_owned(), json!({ "opens": opens }));
        bundle.post.insert("states".to_owned(), Value::Object(Map::from_iter(states)));
        self.add(bundle).await;
    }

    /// A service that was restarted.
    async fn heal(&mut self, ago: Span) {
        let mut bundle = self.look("services", State::Compliant, ago);
        bundle.reason = "healed".into();
        bundle.detail = "nginx.service was restarted and stayed up.".into();
        bundle.pre = facts(&json!({ "nginx.service": { "active": "failed", "restarts": 2 } }));
        bundle.post = facts(&json!({ "nginx.service": { "active": "active", "restarts": 3 } }));
        bundle.gates = vec![
            Gate::open(GateName::Window, "nginx.service is not disruptive"),
            Gate::open(GateName::Rate, "1 of 3 heals in the last day"),
        ];
        bundle.actions = vec![ActionRecord {
            name: "restart_unit".to_owned(),
            target: "nginx.service".to_owned(),
            duration_ms: 640,
            result: StepResult::Done,
            output_sha256: Digest::of(b""),
            output_bytes: 0,
        }];
        self.add(bundle).await;
    }

    /// Leaves some bundles out: they were made, and never came.
    fn skip(&mut self, count: usize) {
        self.ledger.make(count);
    }

    async fn add(&mut self, bundle: Bundle) {
        let came = bundle.finished_at.plus(Span::from_millis(1400));
        self.plane.clock.store(came.as_millis(), Ordering::Relaxed);
        let signed = self.ledger.append(&bundle);
        ingest::ingest(&self.plane.app, &self.site, vec![signed], 0).await.unwrap();
    }

    /// An order, and how it ended.
    async fn order(&mut self, action: Action, end: Option<(Outcome, &str)>) {
        self.orders += 1;
        let hours = i64::try_from(10 - self.orders).unwrap();
        let issued_at = now().plus(Span::from_secs(-1800 * hours));
        let order = Order {
            id: Id::new(issued_at, [u8::try_from(self.orders).unwrap(); 10]),
            tenant: tenant(),
            site: self.site.clone(),
            epoch: 1,
            sequence: self.orders,
            previous_sha256: self.previous,
            issued_at,
            not_before: None,
            expires_at: issued_at.plus(Span::from_secs(900)),
            start_before: None,
            action,
            when: When::Window,
            max_runtime_s: 300,
            reason: "a look".to_owned(),
            ticket: None,
            approvals: Vec::new(),
        };
        let payload = Digest::of(&compliance_protocol::json::to_canonical(&order).unwrap());
        let envelope = sign(&order, &[&self.plane.orders]).unwrap();
        let site = self.site.clone();
        let push = move |tx: &Tx<'_>| push::order(tx, &site, &envelope, issued_at);
        self.plane.app.store.write(push).await.unwrap();
        self.previous = Some(payload);
        let Some((outcome, reason)) = end else { return };
        let mut bundle = self.look("", State::Compliant, Span::from_secs(1800 * hours - 70));
        (bundle.check, bundle.check_version, bundle.state) = (None, None, None);
        bundle.trigger = Trigger {
            kind: TriggerKind::Order,
            order_id: Some(order.id),
            order_sequence: Some(order.sequence),
            order_sha256: Some(payload),
        };
        (bundle.outcome, bundle.reason) = (outcome, reason.to_owned());
        bundle.detail = format!("Order {} ended: {reason}.", order.sequence);
        self.add(bundle).await;
    }

    /// It was heard of so long ago.
    async fn seen(&self, ago: Span) {
        let (site, at) = (self.site.clone(), now().plus(Span::from_millis(-ago.as_millis())));
        let seen = move |tx: &Tx<'_>| tx.seen(&site, at, Some(at));
        self.plane.app.store.write(seen).await.unwrap();
    }
}

fn facts(facts: &Value) -> Map<String, Value> {
    facts.as_object().unwrap().clone()
}
