//! Pages that another binary adds to the console.

use axum::Router;
use axum::extract::Path;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use compliance_mcp::console::{Extension, NavigationLink, Page, Viewer, asset};
use hyper::StatusCode;

use crate::console::{is_hardened, is_message};
use crate::process::Mcp;

const BANNER: &str = "DEV ONLY - NOT FOR PRODUCTION";

fn extension() -> Extension {
    let link = NavigationLink { path: "/demo".to_owned(), label: "Scenarios".to_owned() };
    Extension::new(BANNER, link, |app| {
        let tenant = app.tenant.to_string();
        let show = async move |viewer: Viewer| {
            let main = format!("<h1>{tenant}</h1><p>of {}</p>", viewer.operator());
            viewer.show(Page::new("Scenarios", main).style("/demo.css"))
        };
        Router::new()
            .route("/demo", get(show))
            .route("/demo.css", get(async || asset("text/css; charset=utf-8", "p { margin: 0 }")))
            .route("/demo/act", post(async |viewer: Viewer| viewer.operator().to_string()))
            .route("/demo/runs/{number}", get(async |Path(number): Path<u64>| number.to_string()))
            .route("/demo/busy", get(async || busy()))
    })
}

/// An answer that is no page of the console's.
fn busy() -> impl IntoResponse {
    let headers = [("retry-after", "7"), ("content-length", "20")];
    (StatusCode::SERVICE_UNAVAILABLE, headers, "<b>another plays</b>")
}

#[tokio::test]
async fn what_an_extension_refuses_is_a_page_with_its_banner() {
    let mut mcp = Mcp::start();
    let _serving = mcp.extend(extension()).await;
    let session = mcp.session().await;
    assert_eq!(mcp.browse("/demo/runs/1", Some(&session)).await.text(), "1");
    let unread = mcp.browse("/demo/runs/x", Some(&session)).await;
    is_message(&unread, StatusCode::BAD_REQUEST);
    let busy = mcp.browse("/demo/busy", Some(&session)).await;
    is_message(&busy, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(busy.header("retry-after"), "7");
    assert!(busy.text().contains("&#60;b&#62;another plays"), "{}", busy.text());
    for page in [unread, busy] {
        assert!(page.text().contains(BANNER), "{}", page.text());
    }
}

#[tokio::test]
async fn an_extension_has_the_consoles_layout_its_sessions_and_its_headers() {
    let mut mcp = Mcp::start();
    let before = mcp.browse("/login", None).await;
    assert!(!before.text().contains(BANNER));
    let _serving = mcp.extend(extension()).await;
    let session = mcp.session().await;
    for path in ["/", "/orders", "/demo", "/nothing"] {
        let page = mcp.browse(path, Some(&session)).await;
        is_hardened(&page);
        assert!(page.text().contains(BANNER) && page.text().contains(">Scenarios</a>"), "{path}");
    }
    let page = mcp.browse("/demo", Some(&session)).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text().contains("<h1>acme</h1><p>of admin</p>"), "{}", page.text());
    assert!(page.text().contains("<link rel=\"stylesheet\" href=\"/demo.css\">"));
    let style = mcp.browse("/demo.css", Some(&session)).await;
    assert_eq!(style.header("content-type"), "text/css; charset=utf-8");

    for path in ["/", "/login", "/demo", "/demo.css", "/enter/x", "/nothing"] {
        let page = mcp.browse(path, None).await;
        is_hardened(&page);
        assert!(page.text().contains(BANNER) && !page.text().contains("admin"), "{path}");
        let expected = match path {
            "/" | "/demo" | "/demo.css" => StatusCode::UNAUTHORIZED,
            "/login" => StatusCode::OK,
            "/enter/x" => StatusCode::GONE,
            _ => StatusCode::NOT_FOUND,
        };
        assert_eq!(page.status, expected, "{path}");
    }
}

#[tokio::test]
async fn what_is_posted_to_an_extension_carries_the_sessions_token() {
    let mut mcp = Mcp::start();
    let _serving = mcp.extend(extension()).await;
    let session = mcp.session().await;
    let token = mcp.token(&session).await;
    let post = async |headers: &[(&'static str, &str)], form: &str| {
        mcp.post_form("/demo/act", headers, form).await.status
    };
    let cookie = ("cookie", session.as_str());
    let form = format!("what=x&csrf={token}");
    assert_eq!(post(&[], &form).await, StatusCode::UNAUTHORIZED);
    assert_eq!(post(&[cookie], "what=x").await, StatusCode::FORBIDDEN);
    assert_eq!(post(&[cookie], "csrf=").await, StatusCode::FORBIDDEN);
    assert_eq!(post(&[cookie, ("x-csrf-token", "x")], "what=x").await, StatusCode::FORBIDDEN);
    assert_eq!(post(&[cookie], &form).await, StatusCode::OK);
    assert_eq!(post(&[cookie, ("x-csrf-token", &token)], "what=x").await, StatusCode::OK);
    let from_elsewhere = [cookie, ("sec-fetch-site", "same-site")];
    assert_eq!(post(&from_elsewhere, &form).await, StatusCode::FORBIDDEN);
}
