//! Into the console, and out of it.

use compliance_pki::OPERATOR_LIFE;
use compliance_protocol::time::{Span, Timestamp};
use hyper::{Method, StatusCode};
use serde_json::Value;

use crate::client::{Credentials, Reply};
use crate::console::is_hardened;
use crate::process::{Mcp, now, tenant};

impl Mcp {
    /// A new invitation: `url`, `code`, `expires_at`.
    async fn invitation(&self) -> Value {
        let reply = self.operate(Method::POST, "/api/v1/links", "").await;
        assert_eq!(reply.status, StatusCode::CREATED);
        reply.json()
    }

    /// The path of a new one-time link.
    pub async fn link(&self) -> String {
        let invitation = self.invitation().await;
        let base = format!("http://{}", self.address("console"));
        invitation["url"].as_str().unwrap().strip_prefix(&base).unwrap().to_owned()
    }

    /// A session's cookie.
    pub async fn session(&self) -> String {
        let entered = self.browse(&self.link().await, None).await;
        assert_eq!(entered.status, StatusCode::SEE_OTHER);
        cookie(&entered)
    }

    /// The token that a session's forms carry.
    pub async fn token(&self, session: &str) -> String {
        let page = self.browse("/", Some(session)).await;
        let token = page.text().split("name=\"csrf\" value=\"").nth(1).unwrap();
        token.split('"').next().unwrap().to_owned()
    }

    async fn type_code(&self, headers: &[(&'static str, &str)], code: &str) -> Reply {
        self.post_form("/login", headers, &format!("code={code}")).await
    }
}

fn cookie(reply: &Reply) -> String {
    reply.header("set-cookie").split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_one_time_link_becomes_one_session_and_works_once() {
    let mcp = Mcp::start();
    let link = mcp.link().await;
    let head = mcp.ask_console(Method::HEAD, &link, &[], "").await;
    assert_eq!(head.status, StatusCode::NOT_FOUND);
    let entered = mcp.browse(&link, None).await;
    assert_eq!((entered.status, entered.header("location")), (StatusCode::SEE_OTHER, "/"));
    let set = entered.header("set-cookie");
    for part in ["HttpOnly", "SameSite=Strict", "Max-Age=28800", "Path=/"] {
        assert!(set.contains(part), "{set}");
    }
    let again = mcp.browse(&link, None).await;
    assert_eq!(again.status, StatusCode::GONE);
    assert!(again.header("set-cookie").is_empty());
    is_hardened(&again);
    assert_eq!(mcp.browse("/", Some(&cookie(&entered))).await.status, StatusCode::OK);
    mcp.wait_for_log(&["a one-time link was used", "operator=admin"]);
}

#[tokio::test]
async fn no_link_outlives_the_certificate_that_asked_for_it() {
    let mcp = Mcp::start();
    let ends = Timestamp::from_millis((now().as_millis() / 1000 + 120) * 1000);
    let issued = ends.plus(Span::from_millis(-OPERATOR_LIFE.as_millis()));
    let name = "brief".parse().unwrap();
    let issued = mcp.authority.issue_operator(&tenant(), &name, [9; 16], issued).unwrap();
    let brief = Credentials { cert: issued.cert_pem, key: issued.key_pem };
    let reply = mcp.call("operator", &brief, Method::POST, "/api/v1/links", "").await;
    assert_eq!(reply.json()["expires_at"], ends.to_string());
}

#[tokio::test]
async fn a_code_that_is_typed_is_worth_the_link_and_uses_it_up() {
    let mcp = Mcp::start();
    let invitation = mcp.invitation().await;
    let code = invitation["code"].as_str().unwrap().to_lowercase().replace('-', "+");
    let entered = mcp.type_code(&[], &code).await;
    assert_eq!((entered.status, entered.header("location")), (StatusCode::SEE_OTHER, "/"));
    let session = cookie(&entered);
    assert_eq!(mcp.browse("/", Some(&session)).await.status, StatusCode::OK);
    let login = mcp.browse("/login", Some(&session)).await;
    assert_eq!((login.status, login.header("location")), (StatusCode::SEE_OTHER, "/"));
    let again = mcp.type_code(&[], &code).await;
    assert_eq!(again.status, StatusCode::UNAUTHORIZED);
    assert!(again.text().contains("This code is wrong, or used up"), "{}", again.text());
    is_hardened(&again);
    let link = invitation["url"].as_str().unwrap().split("/enter/").nth(1).unwrap();
    assert_eq!(mcp.browse(&format!("/enter/{link}"), None).await.status, StatusCode::GONE);
}

#[tokio::test]
async fn after_ten_wrong_codes_nobody_tries_for_a_while() {
    let mcp = Mcp::start();
    let [right, link] = [mcp.invitation().await["code"].clone(), mcp.link().await.into()];
    for _ in 0..10 {
        let wrong = mcp.type_code(&[], "0000-0000-0000").await;
        assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    }
    for code in ["0000-0000-0000", right.as_str().unwrap()] {
        let refused = mcp.type_code(&[], code).await;
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
        let wait: u32 = refused.header("retry-after").parse().unwrap();
        assert!((1..=6).contains(&wait), "{wait}");
        is_hardened(&refused);
    }
    let guessed = mcp.browse("/enter/00", None).await;
    assert_eq!(guessed.status, StatusCode::GONE);
    let entered = mcp.browse(link.as_str().unwrap(), None).await;
    assert_eq!(entered.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn what_another_site_posts_is_refused() {
    let mcp = Mcp::start();
    let code = mcp.invitation().await["code"].as_str().unwrap().to_owned();
    let address = mcp.address("console");
    let ours = format!("http://{address}");
    for headers in [
        [("sec-fetch-site", "cross-site"), ("host", address.as_str())],
        [("sec-fetch-site", "same-site"), ("host", &address)],
        [("sec-fetch-site", "none"), ("host", &address)],
        [("origin", "https://elsewhere.example"), ("host", &address)],
        [("origin", "http://127.0.0.1:1"), ("host", &address)],
        [("origin", "null"), ("host", &address)],
    ] {
        let refused = mcp.type_code(&headers, &code).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{headers:?}");
        is_hardened(&refused);
    }
    let entered = mcp.type_code(&[("origin", &ours), ("host", &address)], &code).await;
    assert_eq!(entered.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn under_a_name_that_is_not_ours_there_is_nothing() {
    let mcp = Mcp::start();
    let code = mcp.invitation().await["code"].as_str().unwrap().to_owned();
    // A name of somebody else's that was made to lead to loopback: to the browser, that page is ours.
    for host in
        ["rebound.example", "rebound.example:8445", "127.0.0.1.rebound.example", "10.0.0.1", ""]
    {
        let headers = [("host", host), ("sec-fetch-site", "same-origin")];
        let refused = mcp.type_code(&headers, &code).await;
        assert_eq!(refused.status, StatusCode::MISDIRECTED_REQUEST, "{host}");
        is_hardened(&refused);
        let page = mcp.ask_console(Method::GET, "/login", &headers, "").await;
        assert_eq!(page.status, StatusCode::MISDIRECTED_REQUEST, "{host}");
    }
    for host in ["localhost:9000", "LOCALHOST", "127.0.0.1", "[::1]:8445"] {
        let page = mcp.ask_console(Method::GET, "/login", &[("host", host)], "").await;
        assert_eq!(page.status, StatusCode::OK, "{host}");
    }
}

#[tokio::test]
async fn logging_out_takes_the_sessions_token_and_ends_it() {
    let mcp = Mcp::start();
    let (session, other) = (mcp.session().await, mcp.session().await);
    let (token, foreign) = (mcp.token(&session).await, mcp.token(&other).await);
    let cookie = ("cookie", session.as_str());
    for form in [String::new(), format!("csrf={foreign}")] {
        let refused = mcp.post_form("/logout", &[cookie], &form).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
    }
    let get = mcp.browse("/logout", Some(&session)).await;
    assert_eq!(get.status, StatusCode::METHOD_NOT_ALLOWED);
    is_hardened(&get);
    assert_eq!(mcp.browse("/", Some(&session)).await.status, StatusCode::OK);
    let left = mcp.post_form("/logout", &[cookie], &format!("csrf={token}")).await;
    assert_eq!((left.status, left.header("location")), (StatusCode::SEE_OTHER, "/login"));
    assert!(left.header("set-cookie").starts_with("compliance_console=; Path=/; Max-Age=0;"));
    assert_eq!(mcp.browse("/", Some(&session)).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(mcp.browse("/", Some(&other)).await.status, StatusCode::OK);
}
