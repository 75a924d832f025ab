//! Errors as `application/problem+json` (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use compliance_protocol::wire;

use crate::store::StoreError;

/// An answer that says what failed, on what, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: String,
}

impl Problem {
    /// A problem of this `kind`, the last part of its type's URN.
    pub fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self { status, kind, title, detail: detail.into() }
    }

    /// 400: the request itself cannot be read.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", "The request cannot be read", detail)
    }

    /// 403: whoever asks may not.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not for this client", detail)
    }

    /// 404: it is not here.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not here", detail)
    }

    /// 409: it does not fit what is here.
    pub fn conflict(kind: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, kind, "It does not fit what is here", detail)
    }

    /// 413: larger than is read.
    pub fn too_large(limit: usize) -> Self {
        let detail =
            format!("the request's body is larger than {limit} bytes, which is all that is read");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The request is too large", detail)
    }

    /// 422: it was read and is refused; the detail begins with the machine-readable `code`.
    pub fn refused(code: &str, detail: impl std::fmt::Display) -> Self {
        let detail = format!("{code}: {detail}");
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "refused", "It is refused", detail)
    }

    /// 503: not now.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not now", detail)
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What failed, on what, and what to do next.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl From<StoreError> for Problem {
    /// What failed inside is for the log; the client learns only that it was not its fault.
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "a request failed");
        Self::unavailable("the server could not read or write its database; try again later")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let problem = wire::Problem {
            kind: format!("urn:compliance-appliance:problem:{}", self.kind),
            title: self.title.to_owned(),
            status: self.status.as_u16(),
            detail: self.detail,
        };
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let json = HeaderValue::from_static("application/problem+json");
        (self.status, [(header::CONTENT_TYPE, json)], body).into_response()
    }
}

/// The answer to a path that is none of ours.
pub(crate) async fn no_such_page() -> Problem {
    Problem::not_found("there is nothing at this path")
}

/// The answer to a method that a path does not have.
pub(crate) async fn no_such_method() -> Problem {
    let detail = "this path does not take this method";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", "Not this method", detail)
}
