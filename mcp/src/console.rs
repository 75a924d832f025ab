//! The console: plain pages for a browser, without scripts. Who comes with a one-time link gets a session.

mod bundle;
mod download;
mod fleet;
pub(crate) mod session;
mod site;
mod view;

use std::net::SocketAddr;
use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{FromRef, FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use compliance_protocol::name::Operator;

use crate::app::App;
use crate::body::Params;
use crate::problem::Problem;
use session::SESSION_LIFE;

/// The cookie that holds a session's secret.
const COOKIE: &str = "session";

/// Nothing but our own style: no script, no frame, no form, no other host.
const POLICY: &str = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// Where the console is, for one-time links.
#[derive(Debug, Clone)]
pub struct Links {
    base: Arc<str>,
}

impl Links {
    /// The console at `public_url`, or else at `address`.
    pub fn new(public_url: Option<&str>, address: SocketAddr) -> Self {
        let base = match public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{address}"),
        };
        Self { base: base.into() }
    }

    /// The link that `token` is taken at.
    pub(crate) fn to(&self, token: &str) -> String {
        format!("{}/enter/{token}", self.base)
    }

    /// The session's cookie. It is for TLS only where browsers reach the console by TLS.
    fn cookie(&self, secret: &str) -> String {
        let age = SESSION_LIFE.as_millis() / 1000;
        let secure = if self.base.starts_with("https://") { "; Secure" } else { "" };
        format!("{COOKIE}={secret}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}")
    }
}

/// The console's routes.
pub fn routes(app: Arc<App>, links: Links) -> Router {
    Router::new()
        .route("/", get(fleet::page))
        .route("/sites/{site}", get(site::page))
        .route("/sites/{site}/evidence.pub", get(download::evidence_key))
        .route("/sites/{site}/evidence/{ledger_id}/{sequence}", get(bundle::page))
        .route("/sites/{site}/evidence/{ledger_id}/{sequence}/{file}", get(download::file))
        .route("/checkpoint.vkey", get(download::log_key))
        // A look at the head, as previews of links take it, does not use a link up.
        .route("/enter/{token}", get(enter).head(nothing_here))
        .route("/style.css", get(style))
        .fallback(nothing_here)
        .layer(map_response(harden))
        .with_state(Shared { app, links })
}

/// What the console's routes share.
#[derive(Debug, Clone)]
struct Shared {
    app: Arc<App>,
    links: Links,
}

impl FromRef<Shared> for Arc<App> {
    fn from_ref(shared: &Shared) -> Self {
        Self::clone(&shared.app)
    }
}

/// The operator whose browser asks.
struct Viewer(Operator);

impl FromRequestParts<Shared> for Viewer {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Failure> {
        let secret = cookie(&parts.headers);
        let who = secret.and_then(|secret| shared.app.sessions.who(secret, shared.app.now()));
        who.map(Self).ok_or(Failure::NoSession)
    }
}

/// A page that cannot be shown.
enum Failure {
    /// There is no session, or it has ended.
    NoSession,
    /// What the page should show.
    Problem(Problem),
}

impl<E: Into<Problem>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Problem(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, title, text) = match self {
            Self::NoSession => (
                StatusCode::UNAUTHORIZED,
                "No session".to_owned(),
                "Ask for a one-time link with compliancectl and open it. If you have just opened one \
                 from another page, reload this page."
                    .to_owned(),
            ),
            Self::Problem(problem) => {
                let title = problem.status().canonical_reason().unwrap_or("It failed");
                (problem.status(), title.to_owned(), problem.detail().to_owned())
            }
        };
        (status, render(&Message { viewer: "", title, text })).into_response()
    }
}

#[derive(Template)]
#[template(path = "message.html")]
struct Message {
    viewer: &'static str,
    title: String,
    text: String,
}

/// A page, or the plain fact that it could not be rendered.
fn render(page: &impl Template) -> Response {
    match page.render() {
        Ok(html) => Html(html).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn enter(
    State(shared): State<Shared>,
    Params(token): Params<String>,
) -> Result<Response, Failure> {
    let Some(secret) = shared.app.sessions.enter(&shared.app, &token)? else {
        return Err(Problem::new(
            StatusCode::GONE,
            "link",
            "The link is used up",
            "This link was used already, or its five minutes are over. Ask for another one.",
        )
        .into());
    };
    let cookie = [(header::SET_COOKIE, shared.links.cookie(&secret))];
    Ok((cookie, Redirect::to("/")).into_response())
}

async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("../templates/style.css"))
}

async fn nothing_here() -> Failure {
    Problem::not_found("There is no such page.").into()
}

/// What every answer of the console says to the browser.
async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| name.trim() == COOKIE).map(|(_, secret)| secret.trim())
}
