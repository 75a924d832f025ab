//! Pages that cannot be shown.

use askama::Template;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use compliance_protocol::time::Span;
use compliance_protocol::wire;

use super::login::LoginPage;
use super::page::{Layout, render};
use crate::problem::Problem;

/// As much is read of a refusal that is no page, in bytes.
const MOST: usize = 4096;

/// A page that cannot be shown. The layout around it comes when the answer leaves the console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// There is no session, or it has ended.
    NoSession,
    /// The code that was typed is none, or none any more.
    WrongCode,
    /// Too many tried to log in; for this long nobody may.
    TooManyTries(Span),
    /// The session has as many pages open that keep themselves up to date as it may.
    TooManyStreams,
    /// What the page says instead.
    Problem(Problem),
}

impl<E: Into<Problem>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Problem(error.into())
    }
}

impl Failure {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoSession | Self::WrongCode => StatusCode::UNAUTHORIZED,
            Self::TooManyTries(_) | Self::TooManyStreams => StatusCode::TOO_MANY_REQUESTS,
            Self::Problem(problem) => problem.status(),
        }
    }

    /// The page that says it, with status and headers of `answer`.
    pub(super) fn page(self, answer: Response, layout: Layout) -> Response {
        let text = |text: &str| Some(text.to_owned());
        let page = match self {
            Self::NoSession => render(&LoginPage { layout, wrong: None }),
            Self::WrongCode => {
                let wrong = text("This code is wrong, or used up, or its five minutes are over.");
                render(&LoginPage { layout, wrong })
            }
            Self::TooManyTries(wait) => {
                let wrong =
                    text(&format!("Too many wrong codes. Try again in {} s.", seconds(wait)));
                render(&LoginPage { layout, wrong })
            }
            Self::TooManyStreams => render(&Message {
                layout,
                title: "Too many open pages".to_owned(),
                text: "Other pages of this session keep themselves up to date. Close some."
                    .to_owned(),
            }),
            Self::Problem(problem) => {
                let title = problem.status().canonical_reason().unwrap_or("It failed").to_owned();
                render(&Message { layout, title, text: sentence(problem.detail()) })
            }
        };
        let (head, _) = answer.into_parts();
        let (mut page, body) = page.into_parts();
        page.headers.extend(head.headers);
        if page.status == StatusCode::OK {
            page.status = head.status;
        }
        Response::from_parts(page, body)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        if let Self::TooManyTries(wait) = self
            && let Ok(wait) = HeaderValue::from_str(&seconds(wait).to_string())
        {
            response.headers_mut().insert(header::RETRY_AFTER, wait);
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Whether this refuses something without a page that says so.
pub(super) fn is_bare(answer: &Response) -> bool {
    let status = answer.status();
    let media_type = answer.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let is_page = media_type.is_some_and(|name| name.starts_with(b"text/html"));
    (status.is_client_error() || status.is_server_error()) && !is_page
}

/// The page of a refusal that is bare: an extractor's, or an extension's own. It says what that said.
pub(super) async fn page_of(answer: Response, layout: Layout) -> Response {
    let (mut head, body) = answer.into_parts();
    let said = to_bytes(body, MOST).await.unwrap_or_default();
    let detail = match serde_json::from_slice::<wire::Problem>(&said) {
        Ok(problem) => problem.detail,
        Err(_) => String::from_utf8_lossy(&said).into_owned(),
    };
    for of_the_body in [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::CONTENT_ENCODING] {
        head.headers.remove(of_the_body);
    }
    let problem = Problem::new(head.status, "refused", "It is refused", detail);
    Failure::from(problem).page(Response::from_parts(head, Body::empty()), layout)
}

/// A problem's detail as a page writes it: clients get it without a capital and a full stop.
fn sentence(detail: &str) -> String {
    let mut rest = detail.trim_end().chars();
    let Some(first) = rest.next() else { return String::new() };
    let end = if rest.as_str().ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{}{}{end}", first.to_uppercase(), rest.as_str())
}

/// Whole seconds, rounded up.
fn seconds(wait: Span) -> i64 {
    wait.as_millis().saturating_add(999) / 1000
}

#[derive(Template)]
#[template(path = "message.html")]
struct Message {
    layout: Layout,
    title: String,
    text: String,
}

pub(super) async fn nothing_here() -> Failure {
    Problem::not_found("There is no such page.").into()
}

pub(super) async fn not_this_way() -> Failure {
    let detail = "This page does not take this method.";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", "Not this method", detail).into()
}
