//! In and out: a one-time link or its code becomes a session.

use askama::Template;
use axum::Form;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;

use super::frame::cookie;
use super::page::{Layout, Viewer, render};
use super::{Failure, Shared};
use crate::body::Params;
use crate::problem::Problem;

#[derive(Template)]
#[template(path = "login.html")]
pub(super) struct LoginPage {
    pub(super) layout: Layout,
}

/// How to log in; or the way on for who is.
pub(super) async fn page(
    viewer: Option<Extension<Viewer>>,
    Extension(layout): Extension<Layout>,
) -> Response {
    match viewer {
        Some(_) => Redirect::to("/").into_response(),
        None => render(&LoginPage { layout }),
    }
}

/// What the login page sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Code {
    code: String,
}

/// The code of a one-time link, typed in.
pub(super) async fn log_in(
    State(shared): State<Shared>,
    form: Result<Form<Code>, axum::extract::rejection::FormRejection>,
) -> Result<Response, Failure> {
    let Form(Code { code }) = form.map_err(|error| Problem::bad_request(error.to_string()))?;
    session(&shared, code.trim())
}

/// A one-time link, opened.
pub(super) async fn enter(
    State(shared): State<Shared>,
    Params(token): Params<String>,
) -> Result<Response, Failure> {
    session(&shared, &token)
}

fn session(shared: &Shared, token: &str) -> Result<Response, Failure> {
    let Some(secret) = shared.app.sessions.enter(&shared.app, token)? else {
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

/// Ends the session.
pub(super) async fn leave(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    if let Some(secret) = cookie(&headers) {
        shared.app.sessions.leave(secret);
    }
    ([(header::SET_COOKIE, shared.links.no_cookie())], Redirect::to("/login")).into_response()
}
