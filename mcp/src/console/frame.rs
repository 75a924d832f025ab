//! What all requests to the console go through, and all answers.

use axum::Form;
use axum::body::Body;
use axum::extract::{FromRequest as _, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use compliance_protocol::digest::Digest;
use serde::Deserialize;

use super::links::COOKIE;
use super::page::{Layout, Viewer};
use super::{Failure, Shared, failure};
use crate::body;
use crate::problem::Problem;

/// Our own style, script, pictures and forms, and nothing inline; no frame, no other host.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
     img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The header that a script sends a session's token in.
const TOKEN_HEADER: &str = "x-csrf-token";

/// The largest form that is read, in bytes.
const MAX_FORM: usize = 64 * 1024;

/// Every request and every answer: whose session it is, that no other site posts, a page for what
/// failed, and what every answer says to the browser.
pub(super) async fn dress(
    State(shared): State<Shared>,
    mut request: Request,
    next: Next,
) -> Response {
    let (layout, viewer) = identify(&shared, &request);
    if let Some(viewer) = viewer {
        request.extensions_mut().insert(viewer);
    }
    let mut response = match is_for_us(&shared, &request) {
        Ok(()) => {
            request.extensions_mut().insert(layout.clone());
            next.run(request).await
        }
        Err(problem) => Failure::from(problem).into_response(),
    };
    response = match response.extensions_mut().remove::<Failure>() {
        Some(failure) => failure.page(response, layout),
        None if failure::is_bare(&response) => failure::page_of(response, layout).await,
        None => response,
    };
    harden(response)
}

/// What is for sessions only. What does more than look has to carry the session's token.
pub(super) async fn guard(request: Request, next: Next) -> Result<Response, Failure> {
    let viewer = request.extensions().get::<Viewer>().ok_or(Failure::NoSession)?;
    if request.method().is_safe() {
        return Ok(next.run(request).await);
    }
    let token = viewer.csrf().to_owned();
    Ok(next.run(with_token(request, &token).await?).await)
}

fn identify(shared: &Shared, request: &Request) -> (Layout, Option<Viewer>) {
    let mut layout = Layout {
        at: request.uri().path().to_owned(),
        now: shared.app.now().to_string(),
        ..Layout::default()
    };
    if let Some(extension) = &shared.extension {
        layout.banner = Some(extension.banner.clone());
        layout.link = Some(extension.link.clone());
    }
    let secret = cookie(request.headers());
    let who = secret.and_then(|s| Some((s, shared.app.sessions.who(s, shared.app.now())?)));
    let Some((secret, operator)) = who else { return (layout, None) };
    layout.viewer = operator.to_string();
    layout.csrf = token_of(secret);
    let viewer = Viewer { operator, layout: layout.clone() };
    (layout, Some(viewer))
}

/// A session's token: who has it does not have the session.
fn token_of(secret: &str) -> String {
    Digest::of(format!("csrf of {secret}").as_bytes()).to_string()
}

/// Whether it names us, and comes from us if it does more than look.
fn is_for_us(shared: &Shared, request: &Request) -> Result<(), Problem> {
    let host = request.headers().get(header::HOST).map(|value| value.to_str().unwrap_or_default());
    if host.is_some_and(|host| !shared.links.are_of(host)) {
        let detail =
            "The console is at localhost, or at the address that [console] public_url names.";
        return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "host", "Not our name", detail));
    }
    if request.method().is_safe() || is_from_here(request.headers()) {
        Ok(())
    } else {
        Err(Problem::forbidden("Another site sent this; nothing was done."))
    }
}

/// Whether a page of ours sent this, or no browser at all. A browser says by itself where a request comes
/// from, and another port of the same host is another site here, though not to a cookie.
fn is_from_here(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => {
            let host = origin.split_once("://").map(|(_, host)| host);
            host.is_some() && host == text("host")
        }
        (None, None) => true,
    }
}

/// The request, if it carries the session's token in its header or in its form.
async fn with_token(request: Request, token: &str) -> Result<Request, Failure> {
    #[derive(Deserialize)]
    struct Token {
        csrf: String,
    }
    let is = |given: &str| Digest::of(given.as_bytes()) == Digest::of(token.as_bytes());
    let given = request.headers().get(TOKEN_HEADER).and_then(|value| value.to_str().ok());
    if given.is_some_and(is) {
        return Ok(request);
    }
    let (parts, body) = request.into_parts();
    let bytes = body::read(&parts.headers, body, MAX_FORM).await?;
    let form = Request::from_parts(parts.clone(), Body::from(bytes.clone()));
    let given = Form::<Token>::from_request(form, &()).await;
    if given.is_ok_and(|Form(form)| is(&form.csrf)) {
        return Ok(Request::from_parts(parts, Body::from(bytes)));
    }
    Err(Problem::forbidden("This page is from another session. Load it again, and try again.")
        .into())
}

/// What every answer of the console says to the browser.
fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Not "no-referrer", which makes a browser hide from us that a form is ours.
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_FRAME_OPTIONS, "DENY"),
        // To a browser the other ports of this host are other origins, but the same site.
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

pub(super) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| name.trim() == COOKIE).map(|(_, secret)| secret.trim())
}
