//! Pages that cannot be shown.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::problem::Problem;

/// A page that cannot be shown. The layout around it comes when the answer leaves the console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// There is no session, or it has ended.
    NoSession,
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
            Self::NoSession => StatusCode::UNAUTHORIZED,
            Self::Problem(problem) => problem.status(),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

pub(super) async fn nothing_here() -> Failure {
    Problem::not_found("There is no such page.").into()
}

pub(super) async fn not_this_way() -> Failure {
    let detail = "This page does not take this method.";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", "Not this method", detail).into()
}
