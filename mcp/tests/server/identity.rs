//! Who gets in, and as whom.

use compliance_pki::Authority;
use compliance_protocol::name::{Site, Tenant};
use compliance_protocol::time::Span;
use hyper::{Method, StatusCode};
use rustls::version::TLS12;

use crate::client::Credentials;
use crate::process::{Mcp, now, tenant, tls_key};

#[tokio::test]
async fn a_client_without_a_certificate_gets_nothing_and_the_log_says_why() {
    let mcp = Mcp::start();
    for listener in ["appliance", "operator"] {
        mcp.gets_nothing(listener, None).await;
    }
    let line = mcp.wait_for_log(&["TLS handshake refused", "peer sent no certificates"]);
    assert!(line.contains("WARN") && line.contains("peer=127.0.0.1:"), "{line}");
}

#[tokio::test]
async fn a_certificate_of_another_authority_gets_nothing_and_the_log_says_why() {
    let mcp = Mcp::start();
    mcp.register("clinic-a").await;
    let other = Authority::generate(&tenant(), [1; 16], now()).unwrap();
    let key = tls_key("clinic-a");
    let csr = compliance_pki::csr(&key).unwrap();
    let site: Site = "clinic-a".parse().unwrap();
    let cert = other.issue_site(&csr, &tenant(), &site, [2; 16], now()).unwrap();
    mcp.gets_nothing("appliance", Some(&Credentials { cert, key })).await;
    mcp.wait_for_log(&["TLS handshake refused", "invalid peer certificate"]);
}

#[tokio::test]
async fn an_expired_certificate_gets_nothing_and_the_log_says_why() {
    let mcp = Mcp::start();
    mcp.register("clinic-a").await;
    let old = mcp.appliance_at("clinic-a", now().plus(Span::from_hours(-366 * 24)));
    mcp.gets_nothing("appliance", Some(&old)).await;
    mcp.wait_for_log(&["TLS handshake refused", "expired"]);
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    let mcp = Mcp::start();
    let operator = mcp.operator();
    assert!(mcp.connect("operator", Some(&operator), &TLS12).await.is_err());
    mcp.wait_for_log(&["TLS handshake refused", "incompatible"]);
}

#[tokio::test]
async fn a_certificate_of_another_tenant_gets_nothing_and_the_log_says_why() {
    let mcp = Mcp::start();
    let key = tls_key("clinic-a");
    let csr = compliance_pki::csr(&key).unwrap();
    let (other, site): (Tenant, Site) = ("umbrella".parse().unwrap(), "clinic-a".parse().unwrap());
    let cert = mcp.authority.issue_site(&csr, &other, &site, [2; 16], now()).unwrap();
    mcp.gets_nothing("appliance", Some(&Credentials { cert, key })).await;
    mcp.wait_for_log(&["client refused", "the tenant umbrella"]);
}

#[tokio::test]
async fn a_certificate_without_our_uri_gets_nothing_and_the_log_says_why() {
    let mcp = Mcp::start();
    // The server's own: of the right authority, but with an address in place of a URI. rustls already
    // refuses it for its extended key usage.
    let server = mcp.authority.issue_server(&["localhost".to_owned()], [3; 16], now()).unwrap();
    let who = Credentials { cert: server.cert_pem, key: server.key_pem };
    mcp.gets_nothing("operator", Some(&who)).await;
    mcp.wait_for_log(&["TLS handshake refused"]);
}

#[tokio::test]
async fn appliances_and_operators_have_each_their_own_listener() {
    let mcp = Mcp::start();
    let (appliance, operator) = (mcp.register("clinic-a").await, mcp.operator());
    let detail = mcp
        .call("operator", &appliance, Method::GET, "/api/v1/sites", "")
        .await
        .problem(403, "forbidden");
    assert!(detail.contains("for operators"), "{detail}");
    let detail = mcp.poll(&operator, 0, 0).await.problem(403, "forbidden");
    assert!(detail.contains("for appliances"), "{detail}");
}

#[tokio::test]
async fn a_site_that_is_not_registered_is_told_so() {
    let mcp = Mcp::start();
    let detail = mcp.poll(&mcp.appliance("clinic-x"), 0, 0).await.problem(403, "forbidden");
    assert!(detail.contains("clinic-x is not registered"), "{detail}");
}

#[tokio::test]
async fn health_answers_both_and_needs_a_certificate_too() {
    let mcp = Mcp::start();
    let (appliance, operator) = (mcp.appliance("clinic-a"), mcp.another_operator("second"));
    for (listener, who) in [("appliance", &appliance), ("operator", &operator)] {
        let reply = mcp.call(listener, who, Method::GET, "/api/v1/health", "").await;
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(reply.json()["status"], "ok");
    }
}
