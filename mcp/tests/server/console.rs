//! The console in a browser.

use std::process::Command;

use compliance_protocol::evidence::{Finding, State};
use compliance_protocol::tlog::TlogProof;
use hyper::{HeaderMap, Method, StatusCode};
use tokio::net::TcpStream;

use crate::bundles::Ledger;
use crate::client::{Reply, request};
use crate::process::{Mcp, new_order};

impl Mcp {
    /// The path of a new one-time link.
    async fn link(&self) -> String {
        let reply = self.operate(Method::POST, "/api/v1/links", "").await;
        assert_eq!(reply.status, StatusCode::CREATED);
        let url = reply.json()["url"].as_str().unwrap().to_owned();
        let base = format!("http://{}", self.address("console"));
        url.strip_prefix(&base).unwrap().to_owned()
    }

    /// A session's cookie.
    async fn session(&self) -> String {
        let entered = self.browse(&self.link().await, None).await;
        assert_eq!(entered.status, StatusCode::SEE_OTHER);
        entered.header("set-cookie").split(';').next().unwrap().to_owned()
    }
}

/// Every page: our own script and nothing inline, no other host, and headers that say so.
fn is_hardened(page: &Reply) {
    let policy = page.header("content-security-policy");
    assert_eq!(
        policy,
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
         img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    assert_eq!(page.header("cache-control"), "no-store");
    let html = page.text().to_lowercase();
    let html = html.replace("<script src=\"/console.js\" defer></script>", "");
    for never in ["<script", "http://", "https://", "javascript:", "style=", "<iframe", "<img"] {
        assert!(!html.contains(never), "{never} in {html}");
    }
}

#[tokio::test]
async fn a_one_time_link_becomes_one_session_and_works_once() {
    let mcp = Mcp::start();
    let link = mcp.link().await;
    let tcp = TcpStream::connect(mcp.address("console")).await.unwrap();
    let head = request(tcp, Method::HEAD, &link, HeaderMap::new(), "").await.unwrap();
    assert_eq!(head.status, StatusCode::NOT_FOUND);
    let entered = mcp.browse(&link, None).await;
    assert_eq!((entered.status, entered.header("location")), (StatusCode::SEE_OTHER, "/"));
    let cookie = entered.header("set-cookie");
    for part in ["HttpOnly", "SameSite=Strict", "Max-Age=28800", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let again = mcp.browse(&link, None).await;
    assert_eq!(again.status, StatusCode::GONE);
    assert!(again.header("set-cookie").is_empty());
    is_hardened(&again);

    let session = cookie.split(';').next().unwrap();
    assert_eq!(mcp.browse("/", Some(session)).await.status, StatusCode::OK);
    mcp.wait_for_log(&["a one-time link was used", "operator=admin"]);
}

#[tokio::test]
async fn without_a_session_there_is_nothing_to_see() {
    let mcp = Mcp::start();
    mcp.register("clinic-a").await;
    for path in ["/", "/sites/clinic-a", "/sites/clinic-a/evidence.pub", "/checkpoint.vkey"] {
        for cookie in [None, Some("session="), Some("session=00"), Some("other=1; session=x")] {
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
async fn pages_show_the_fleet_a_site_and_a_bundle() {
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
    assert!(fleet.contains("href=\"/sites/clinic-a\"") && fleet.contains("1 gaps"), "{fleet}");
    assert!(fleet.contains("backups: compliant") && fleet.contains("firewall: unknown"));
    let site = open("/sites/clinic-a").await;
    for part in ["bundles 41 to 41", "run_checks", "nothing reported yet", "Older evidence", "● "]
    {
        let part = part.trim();
        assert!(site.contains(part), "{part} in {site}");
    }
    let before = site.split("href=\"?before=").nth(1).unwrap().split('"').next().unwrap();
    assert!(open(&format!("/sites/clinic-a?before={before}")).await.contains("/1\">1</a>"));
    let bundle = open(&format!("/sites/clinic-a/evidence/{}/7", ledger.id)).await;
    assert!(
        bundle.contains("openssl pkeyutl -verify -pubin -inkey evidence.pub -rawin -in 00000007-")
    );
    assert!(bundle.contains("Every backup is fresh.") && bundle.contains("c2sp.org/tlog-proof@v1"));
    for none in ["/sites/clinic-x", "/sites/clinic-a/evidence/x/1", "/nothing"] {
        let page = mcp.browse(none, Some(&session)).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{none}");
        is_hardened(&page);
    }
    assert_eq!(
        mcp.browse("/style.css", None).await.header("content-type"),
        "text/css; charset=utf-8"
    );
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
    // What is no name of a check has no place on the board.
    let board = mcp.browse("/", Some(&session)).await;
    is_hardened(&board);
    assert!(!board.text().contains("alert"), "{}", board.text());
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
    for link in links.filter(|link| link.contains('.') && !link.ends_with(".css")) {
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
    let command = page.split("class=\"command\">").nth(1).unwrap().split('<').next().unwrap();
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
