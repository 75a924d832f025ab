//! New certificates for old ones.

use compliance_pki::csr;
use compliance_protocol::name::Site;
use hyper::{Method, StatusCode};

use crate::client::Credentials;
use crate::process::{Mcp, now, tenant, tls_key};

const PATH: &str = "/api/v1/certificate";

#[tokio::test]
async fn a_request_waits_for_an_operator_and_then_gives_the_new_certificate() {
    let mcp = Mcp::start();
    mcp.register("clinic-a").await;
    let old = mcp.ending_in("clinic-a", 29);
    let ask = async |who: &Credentials| {
        mcp.call("appliance", who, Method::POST, PATH, csr(&old.key).unwrap()).await
    };
    assert_eq!(ask(&old).await.status, StatusCode::ACCEPTED);
    assert_eq!(ask(&old).await.status, StatusCode::ACCEPTED);
    let pending = mcp.get("/api/v1/certificates").await;
    let request = pending["pending"][0]["csr"].as_str().unwrap();
    assert_eq!(pending["pending"][0]["site"], "clinic-a");

    let site: Site = "clinic-a".parse().unwrap();
    let new = mcp.authority.issue_site(request, &tenant(), &site, [8; 16], now()).unwrap();
    let put = mcp.operate(Method::PUT, "/api/v1/sites/clinic-a/certificate", new.clone()).await;
    assert_eq!(put.status, StatusCode::OK, "{}", put.text());
    assert_eq!(mcp.get("/api/v1/certificates").await["pending"], serde_json::json!([]));
    let answer = ask(&old).await;
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, new.as_str()));

    let new = Credentials { cert: new, key: old.key.clone() };
    assert_eq!(mcp.poll(&new, 0, 0).await.status, StatusCode::OK);
    assert_eq!(ask(&new).await.status, StatusCode::NO_CONTENT, "it is good for a year");
}

#[tokio::test]
async fn an_older_answer_is_not_handed_out_to_whom_has_a_newer_certificate() {
    let mcp = Mcp::start();
    mcp.register("clinic-a").await;
    let ask = async |who: &Credentials| {
        mcp.call("appliance", who, Method::POST, PATH, csr(&who.key).unwrap()).await
    };
    assert_eq!(ask(&mcp.ending_in("clinic-a", 20)).await.status, StatusCode::ACCEPTED);
    let older = mcp.ending_in("clinic-a", 40).cert;
    let put = mcp.operate(Method::PUT, "/api/v1/sites/clinic-a/certificate", older).await;
    assert_eq!(put.status, StatusCode::OK, "{}", put.text());
    let newer = mcp.ending_in("clinic-a", 300);
    assert_eq!(ask(&newer).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_certificate_is_asked_for_in_its_last_thirty_days_and_not_before() {
    let mcp = Mcp::start();
    mcp.register("clinic-a").await;
    for (days, status) in [(31, StatusCode::NO_CONTENT), (29, StatusCode::ACCEPTED)] {
        let who = mcp.ending_in("clinic-a", days);
        let asked = mcp.call("appliance", &who, Method::POST, PATH, csr(&who.key).unwrap()).await;
        assert_eq!(asked.status, status, "{days} days before its end");
    }
}

#[tokio::test]
async fn a_request_is_for_the_key_in_use_and_proves_that_its_sender_has_it() {
    let mcp = Mcp::start();
    let appliance = mcp.register("clinic-a").await;
    let other = csr(&tls_key("clinic-b")).unwrap();
    let ask =
        async |body: String| mcp.call("appliance", &appliance, Method::POST, PATH, body).await;
    let detail = ask(other).await.problem(422, "refused");
    assert!(detail.starts_with("other_key: "), "{detail}");
    let detail = ask("nonsense".to_owned()).await.problem(422, "refused");
    assert!(detail.starts_with("malformed: "), "{detail}");
    assert_eq!(mcp.get("/api/v1/certificates").await["pending"], serde_json::json!([]));
}

#[tokio::test]
async fn a_certificate_that_would_not_fit_is_refused() {
    let mcp = Mcp::start();
    mcp.register("clinic-a").await;
    let appliance = mcp.ending_in("clinic-a", 29);
    mcp.register("clinic-b").await;
    let put = async |cert: String| {
        mcp.operate(Method::PUT, "/api/v1/sites/clinic-a/certificate", cert).await
    };
    put(mcp.appliance("clinic-a").cert).await.problem(404, "not-found");
    mcp.call("appliance", &appliance, Method::POST, PATH, csr(&appliance.key).unwrap()).await;
    let detail = put(mcp.appliance("clinic-b").cert).await.problem(422, "refused");
    assert!(detail.contains("it is for spiffe://acme/site/clinic-b"), "{detail}");
    let other_key = csr(&tls_key("clinic-b")).unwrap();
    let site: Site = "clinic-a".parse().unwrap();
    let cert = mcp.authority.issue_site(&other_key, &tenant(), &site, [8; 16], now()).unwrap();
    let detail = put(cert).await.problem(422, "refused");
    assert!(detail.contains("another key"), "{detail}");
    let detail = put(mcp.authority.cert_pem().to_owned()).await.problem(422, "refused");
    assert!(detail.contains("would not be taken"), "{detail}");
    let detail = put("nonsense".to_owned()).await.problem(422, "refused");
    assert!(detail.contains("not a PEM certificate"), "{detail}");
}
