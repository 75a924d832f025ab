//! The console in a browser.

use std::process::Command;

use compliance_protocol::digest::Digest;
use compliance_protocol::evidence::{Finding, Mode, Outcome, State, Trigger, TriggerKind};
use compliance_protocol::gate::{Gate, GateName};
use compliance_protocol::time::Span;
use compliance_protocol::tlog::TlogProof;
use hyper::{Method, StatusCode};
use serde_json::json;

use crate::bundles::{self, Ledger};
use crate::client::Reply;
use crate::process::{Mcp, new_order};

/// Every page: our own script and nothing inline, no other host, and headers that say so.
pub fn is_hardened(page: &Reply) {
    let policy = page.header("content-security-policy");
    assert_eq!(
        policy,
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
         img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(page.header("referrer-policy"), "same-origin");
    assert_eq!(page.header("cache-control"), "no-store");
    assert_eq!(page.header("cross-origin-opener-policy"), "same-origin");
    assert_eq!(page.header("cross-origin-resource-policy"), "same-origin");
    let html = page.text().to_lowercase();
    let html = html.replace("<script src=\"/console.js\" defer></script>", "");
    for never in ["<script", "http://", "https://", "javascript:", "style=", "<iframe", "<img"] {
        assert!(!html.contains(never), "{never} in {html}");
    }
}

#[tokio::test]
async fn without_a_session_there_is_nothing_to_see() {
    let mcp = Mcp::start();
    mcp.register("clinic-a").await;
    for path in ["/", "/sites/clinic-a", "/sites/clinic-a/evidence.pub", "/checkpoint.vkey"] {
        for cookie in [
            None,
            Some("compliance_console="),
            Some("compliance_console=00"),
            Some("other=1; compliance_console=x"),
        ] {
            let page = mcp.browse(path, cookie).await;
            assert_eq!(page.status, StatusCode::UNAUTHORIZED, "{path}");
            assert!(!page.text().contains("clinic-a"));
            is_hardened(&page);
        }
    }
    let made_up = format!("/enter/{}", "0".repeat(64));
    assert_eq!(mcp.browse(&made_up, None).await.status, StatusCode::GONE);
}

#[tokio::test]
async fn the_board_is_green_only_where_there_is_fresh_data() {
    let mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    mcp.register("clinic-b").await;
    let mut ledger = Ledger::new("clinic-a");
    let states = ["drifted", "unknown", "not_applicable", "compliant"];
    let checks = ["patching", "services", "firewall", "logging"];
    let mut round = ledger.bundle();
    (round.check, round.state, round.reason) = (None, None, "round".to_owned());
    let told =
        checks.into_iter().zip(states).map(|(check, state)| (check.to_owned(), state.into()));
    round.post.insert("states".to_owned(), serde_json::Value::Object(told.collect()));
    let mut old = ledger.bundle();
    old.finished_at = old.finished_at.plus(Span::from_hours(-3));
    let bundles = [ledger.append(&old), {
        round.previous_sha256 = ledger.previous;
        round.sequence = 2;
        ledger.append(&round)
    }];
    mcp.upload(&appliance, &bundles, 0).await;
    let session = mcp.session().await;
    let board = mcp.browse("/", Some(&session)).await;
    is_hardened(&board);
    let board = board.text();
    let row = |site: &str| {
        let row = board.split(&format!("<tr data-site=\"{site}\"")).nth(1).unwrap();
        row.split("</tr>").next().unwrap()
    };
    let cells: Vec<_> = row("clinic-a").split("<td class=\"cell ").skip(1).collect();
    let expected = [
        ("bad", "drifted"),
        ("unsure", "unknown"),
        ("stale", "no fresh data"),
        ("quiet", "not applicable"),
        ("good", "compliant"),
        ("stale", "no fresh data"),
    ];
    assert_eq!(cells.len(), expected.len());
    for (cell, (class, text)) in cells.iter().zip(expected) {
        assert!(cell.starts_with(class), "{cell}");
        assert!(cell.contains(&format!("<span class=\"spoken\">{text}</span>")), "{cell}");
    }
    assert!(cells[2].contains(">3 h</time>") && cells[5].contains(">never<"), "{}", cells[2]);
    assert_eq!(row("clinic-b").matches("no fresh data").count(), 7);
    assert!(board.contains("2 of 2 sites need a look."));
    assert!(board.find("clinic-a").unwrap() < board.find("clinic-b").unwrap());
    let found = mcp.browse("/?find=%22C-B", Some(&session)).await;
    assert!(
        found.text().contains("data-site=\"clinic-b\"")
            && !found.text().contains("data-site=\"clinic-a\"")
    );
}

#[tokio::test]
async fn what_is_old_is_green_nowhere_on_a_sites_page() {
    let mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    let mut ledger = Ledger::new("clinic-a");
    let mut old = ledger.bundle();
    old.finished_at = old.finished_at.plus(Span::from_hours(-3));
    let old = ledger.append(&old);
    mcp.upload(&appliance, &[old], 0).await;
    let session = mcp.session().await;
    let page = mcp.browse("/sites/clinic-a", Some(&session)).await;
    let above = page.text().split("id=\"orders\"").next().unwrap();
    assert!(above.contains("too long ago to hold") && above.contains("Every backup is fresh."));
    assert!(!above.contains("class=\"mark good\"") && !above.contains("synchronised<"), "{above}");
}

#[tokio::test]
async fn a_site_shows_its_checks_its_evidence_and_what_is_missing() {
    let mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    let mut ledger = Ledger::new("clinic-a");
    let mut bundles = ledger.make(60);
    bundles.remove(40);
    mcp.upload(&appliance, &bundles, 0).await;
    let order = mcp.signed(&new_order("clinic-a", 1, None));
    mcp.operate(Method::POST, "/api/v1/sites/clinic-a/orders", order).await;
    let session = mcp.session().await;
    let open = async |path: &str| {
        let page = mcp.browse(path, Some(&session)).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text());
        is_hardened(&page);
        page.text().to_owned()
    };
    let fleet = open("/").await;
    assert!(fleet.contains("href=\"/sites/clinic-a\""));
    assert!(fleet.contains("<td class=\"right bad\"><span class=\"hatch\" aria-hidden=\"true\">"));
    let site = open("/sites/clinic-a").await;
    for part in [
        "bundles 41 to 41",
        "Bundle 41 is missing",
        "run_checks",
        "Nothing was reported yet",
        "direct",
    ] {
        assert!(site.contains(part), "{part} in {site}");
    }
    let link = site.split("rel=\"next\" href=\"").nth(1).unwrap().split('"').next().unwrap();
    let link = link.replace("&#38;", "&").replace("#evidence", "");
    let before = open(&format!("/sites/clinic-a{link}")).await;
    assert!(before.contains("/1\">1</a>") && !before.contains("Bundle 41 is missing"), "{before}");
    assert!(open("/sites/clinic-a?check=backups").await.contains("/60\">60</a>"));
    assert!(open("/sites/clinic-a?check=logging").await.contains("None of these."));
    assert!(open("/sites/clinic-a?outcome=failed").await.contains("None of these."));
    for unreadable in ["check=X", "check=backups&outcome=alert", "outcome=x", "before=-1", "more=1"]
    {
        let page = mcp.browse(&format!("/sites/clinic-a?{unreadable}"), Some(&session)).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{unreadable}");
        is_hardened(&page);
    }
    for none in ["/sites/clinic-x", "/sites/clinic-a/evidence/x/1", "/nothing"] {
        let page = mcp.browse(none, Some(&session)).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{none}");
        is_hardened(&page);
    }
}

/// A page of the console's that says why there is no other.
pub fn is_message(page: &Reply, status: StatusCode) {
    assert_eq!(page.status, status, "{}", page.text());
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    is_hardened(page);
    assert!(page.text().contains("Back to the fleet"), "{}", page.text());
}

#[tokio::test]
async fn what_cannot_be_read_is_answered_with_a_page_too() {
    let mcp = Mcp::start();
    mcp.register("clinic-a").await;
    let session = mcp.session().await;
    for path in [
        "/sites/%ff",
        "/sites/%ff/evidence.pub",
        "/sites/clinic-a/evidence/x/y",
        "/sites/clinic-a/evidence/x/y/evidence.pub",
        "/enter/%ff",
    ] {
        is_message(&mcp.browse(path, Some(&session)).await, StatusCode::NOT_FOUND);
    }
    let page = mcp.browse("/sites/clinic-a/evidence/x/y", Some(&session)).await;
    assert!(page.text().contains("<p>Nothing has this path: "), "{}", page.text());
    assert!(!page.text().contains("urn:"), "{}", page.text());
    for form in ["", "x=1"] {
        is_message(&mcp.post_form("/login", &[], form).await, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn a_site_shows_what_waits_there_and_when_maintenance_is_as_it_said_itself() {
    let mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    let session = mcp.session().await;
    let page = async || mcp.browse("/sites/clinic-a", Some(&session)).await.text().to_string();
    let before = page().await;
    assert!(before.contains("<dt>Queue</dt><dd>not known<small>"), "{before}");
    assert!(before.contains("<dt>Maintenance</dt><dd>not known yet<"), "{before}");
    assert_eq!(mcp.poll_with(&appliance, 57).await.status, StatusCode::OK);
    let polled = page().await;
    assert!(polled.contains("57 bundles wait there<small>its courier said so"), "{polled}");
    let mut ledger = Ledger::new("clinic-a");
    let now = ledger.bundle().finished_at;
    let (past, future) = (now.plus(Span::from_hours(-1)), now.plus(Span::from_hours(2)));
    for (window, says) in [
        (json!({ "opens": future }), "opens <time"),
        (json!({ "closes": future }), "open, closes <time"),
        (json!({ "opens": past }), "was to open <time"),
        (json!({ "closes": past }), "was to close <time"),
        (json!({ "opens": null }), "this site has no maintenance window<small>"),
        (json!(null), "not known<small>"),
        (json!({ "opens": "<b>" }), "not known<small>"),
    ] {
        let mut round = ledger.bundle();
        (round.check, round.state, round.reason) = (None, None, "round".to_owned());
        round.post.insert("window".to_owned(), window);
        let bundles = [ledger.append(&round), ledger.make(1).remove(0)];
        mcp.upload(&appliance, &bundles, 0).await;
        let page = page().await;
        assert!(page.contains(&format!("<dt>Maintenance</dt><dd>{says}")), "{says}: {page}");
        assert!(page.contains("57 bundles wait there"), "an upload does not unsay it");
    }
}

#[tokio::test]
async fn a_site_tells_what_was_expected_what_is_and_why_it_is_not_healed() {
    let mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    let mut ledger = Ledger::new("clinic-a");
    let mut bundle = ledger.bundle();
    let opens = bundle.finished_at.plus(Span::from_hours(5));
    (bundle.state, bundle.outcome) = (Some(State::Drifted), Outcome::Deferred);
    bundle.retry_after = Some(opens);
    bundle.findings = vec![Finding {
        subject: "records".to_owned(),
        expected: "younger than 26 h".to_owned(),
        actual: "3 d old".to_owned(),
    }];
    bundle.gates = vec![
        Gate::open(GateName::Clock, "synchronised"),
        Gate::closed(GateName::Window, "outside the window", Some(opens)),
    ];
    let deferred = ledger.append(&bundle);
    mcp.upload(&appliance, &[deferred], 0).await;
    let session = mcp.session().await;
    let site = mcp.browse("/sites/clinic-a", Some(&session)).await;
    let words =
        ["Why not now: backups", "outside the window", "younger than 26 h", "3 d old", "next try"];
    for part in words {
        assert!(site.text().contains(part), "{part} in {}", site.text());
    }
    let closed = site.text().find("outside the window").unwrap();
    assert!(closed < site.text().find(">clock<").unwrap(), "what is closed comes first");
    let healed = ledger.make(1);
    mcp.upload(&appliance, &healed, 1).await;
    let site = mcp.browse("/sites/clinic-a", Some(&session)).await;
    assert!(!site.text().contains("Why not now") && !site.text().contains("3 d old"));
}

#[tokio::test]
async fn orders_of_all_sites_lead_to_their_evidence() {
    let mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    mcp.register("clinic-b").await;
    let order = new_order("clinic-a", 1, None);
    for (site, order) in [("clinic-a", &order), ("clinic-b", &new_order("clinic-b", 1, None))] {
        let path = format!("/api/v1/sites/{site}/orders");
        let pushed = mcp.operate(Method::POST, &path, mcp.signed(order)).await;
        assert_eq!(pushed.status, StatusCode::CREATED);
    }
    let mut ledger = Ledger::new("clinic-a");
    let mut bundle = ledger.bundle();
    let payload = compliance_protocol::json::to_canonical(&order).unwrap();
    bundle.trigger = Trigger {
        kind: TriggerKind::Order,
        order_id: Some(order.id),
        order_sequence: Some(1),
        order_sha256: Some(Digest::of(&payload)),
    };
    (bundle.outcome, bundle.reason) = (Outcome::Rejected, "policy".to_owned());
    let signed = ledger.append(&bundle);
    mcp.upload(&appliance, &[signed], 0).await;
    let session = mcp.session().await;
    let all = mcp.browse("/orders", Some(&session)).await;
    is_hardened(&all);
    let evidence = format!("href=\"/sites/clinic-a/evidence/{}/1\"", ledger.id);
    assert!(all.text().contains(&evidence) && all.text().contains("rejected"), "{}", all.text());
    assert!(all.text().contains(">policy</code>") && all.text().contains("clinic-b"));
    let one = mcp.browse("/orders?site=clinic-b", Some(&session)).await;
    for part in ["</svg>open</span>", "expires <time", ">in 14 min "] {
        assert!(one.text().contains(part), "{part} in {}", one.text());
    }
    assert!(!one.text().contains("clinic-a"));
    let none = mcp.browse("/orders?site=clinic-x", Some(&session)).await;
    assert_eq!(none.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_bundle_shows_its_proof_and_the_files_of_the_console_are_ours() {
    let mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    let mut ledger = Ledger::new("clinic-a");
    mcp.upload(&appliance, &ledger.make(7), 0).await;
    let session = mcp.session().await;
    let path = format!("/sites/clinic-a/evidence/{}/7", ledger.id);
    let bundle = mcp.browse(&path, Some(&session)).await;
    is_hardened(&bundle);
    let line = "openssl pkeyutl -verify -pubin -inkey evidence.pub -rawin -in 00000007-";
    for part in [line, "Every backup is fresh.", "c2sp.org/tlog-proof@v1"] {
        assert!(bundle.text().contains(part), "{part} in {}", bundle.text());
    }
    for (path, media_type) in [
        ("/style.css", "text/css; charset=utf-8"),
        ("/console.js", "text/javascript; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
    ] {
        let file = mcp.browse(path, None).await;
        assert_eq!((file.status, file.header("content-type")), (StatusCode::OK, media_type));
        assert_eq!(file.header("x-content-type-options"), "nosniff");
    }
}

#[tokio::test]
async fn hostile_text_is_shown_as_text() {
    let mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    let mut ledger = Ledger::new("clinic-a");
    let hostile = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>";
    let mut bundle = ledger.bundle();
    bundle.check = Some(hostile.to_owned());
    (bundle.detail, bundle.reason) = (hostile.to_owned(), hostile.to_owned());
    bundle.state = Some(State::Drifted);
    bundle.reseller = Some(hostile.to_owned());
    bundle.mode = Mode::Reseller;
    bundle.gates = vec![Gate::closed(GateName::Window, hostile, None)];
    bundle.retry_after = Some(bundle.finished_at.plus(Span::from_hours(1)));
    bundle.outcome = Outcome::Deferred;
    bundle.software.version = hostile.to_owned();
    let text = hostile.to_owned();
    bundle.findings = vec![Finding { subject: text.clone(), expected: text.clone(), actual: text }];
    bundle.post.insert("facts".to_owned(), hostile.into());
    let signed = ledger.append(&bundle);
    mcp.upload(&appliance, &[signed], 0).await;
    let session = mcp.session().await;
    let details = format!("/sites/clinic-a/evidence/{}/1", ledger.id);
    for path in ["/sites/clinic-a", &details] {
        let page = mcp.browse(path, Some(&session)).await;
        assert_eq!(page.status, StatusCode::OK);
        is_hardened(&page);
        assert!(page.text().contains("&#60;script&#62;"), "{}", page.text());
    }
    for path in ["/sites/clinic-a?outcome=success", "/orders"] {
        is_hardened(&mcp.browse(path, Some(&session)).await);
    }
    // What is no name of a check has no place on the board.
    let board = mcp.browse("/", Some(&session)).await;
    is_hardened(&board);
    assert!(!board.text().contains("alert("), "{}", board.text());
}

#[tokio::test]
async fn a_bundle_comes_with_the_key_of_the_machine_that_made_it() {
    let mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    let mut old = Ledger::new("clinic-a");
    mcp.upload(&appliance, &old.make(1), 0).await;
    let mut new = Ledger::with_id("clinic-a", 2);
    new.key = bundles::evidence_key("the machine that replaced it");
    let mut trust = mcp.trust("clinic-a");
    (trust.version, trust.epoch, trust.roles.evidence) = (2, 2, new.key.public());
    let trust = compliance_signing::sign(&trust, &[&mcp.keys.root]).unwrap();
    mcp.operate(Method::PUT, "/api/v1/sites/clinic-a", trust).await;
    let mut bundle = new.bundle();
    bundle.epoch = 2;
    let bundle = new.append(&bundle);
    mcp.upload(&appliance, &[bundle], 1).await;
    let session = mcp.session().await;
    for ledger in [&old, &new] {
        let folder = format!("/sites/clinic-a/evidence/{}/1", ledger.id);
        let page = mcp.browse(&folder, Some(&session)).await;
        let link = page.text().split("href=\"").find(|part| part.contains("evidence.pub"));
        let key = mcp.browse(link.unwrap().split('"').next().unwrap(), Some(&session)).await;
        assert_eq!(key.text(), ledger.key.public().to_pem().unwrap());
    }
}

#[tokio::test]
async fn openssl_verifies_what_was_downloaded_and_refuses_it_changed() {
    let mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    let mut ledger = Ledger::new("clinic-a");
    mcp.upload(&appliance, &ledger.make(3), 0).await;
    let session = mcp.session().await;
    let folder = tempfile::tempdir().unwrap();
    let page =
        mcp.browse(&format!("/sites/clinic-a/evidence/{}/2", ledger.id), Some(&session)).await;
    let page = page.text();
    let links = page.split("href=\"").skip(1).map(|link| link.split('"').next().unwrap());
    let mut names = Vec::new();
    for link in
        links.filter(|link| link.contains('.') && !["/style.css", "/icon.svg"].contains(link))
    {
        let file = mcp.browse(link, Some(&session)).await;
        assert_eq!(file.status, StatusCode::OK, "{link}");
        let name = link.rsplit('/').next().unwrap();
        assert_eq!(file.header("content-disposition"), format!("attachment; filename=\"{name}\""));
        std::fs::write(folder.path().join(name), &file.body).unwrap();
        names.push(name.to_owned());
    }
    let find = |ending: &str| {
        let name =
            names.iter().find(|name| name.ends_with(ending) && !name.starts_with("evidence"));
        folder.path().join(name.unwrap())
    };
    let json = find(".json");
    let command = page
        .split("id=\"openssl\"")
        .nth(1)
        .unwrap()
        .split('>')
        .nth(1)
        .unwrap()
        .split('<')
        .next()
        .unwrap();
    let verify = || {
        let mut words = command.split(' ');
        let openssl = Command::new(words.next().unwrap()).args(words).current_dir(&folder).output();
        openssl.expect("this test needs the openssl program").status.success()
    };
    assert!(verify());
    let receipt = std::fs::read_to_string(find(".tlog-proof")).unwrap();
    let vkey = std::fs::read_to_string(folder.path().join("checkpoint.vkey")).unwrap();
    let vkey = vkey.trim().parse().unwrap();
    let bytes = std::fs::read(&json).unwrap();
    TlogProof::parse(&receipt).unwrap().verify(&bytes, &vkey, "127.0.0.1/acme").unwrap();
    assert!(find(".dsse.json").exists() && find(".json.sig").exists());
    let changed = String::from_utf8(bytes).unwrap().replace("compliant", "compliamt");
    std::fs::write(&json, changed).unwrap();
    assert!(!verify());
}
