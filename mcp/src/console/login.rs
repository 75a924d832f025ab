//! In and out: a one-time link or its code becomes a session.

use askama::Template;
use axum::Form;
use axum::extract::rejection::FormRejection;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;

use super::code::Code;
use super::frame::cookie;
use super::page::{Layout, Viewer, render};
use super::session::Denied;
use super::{Failure, Shared};
use crate::body::Params;
use crate::problem::Problem;

/// How to log in, and what was wrong the last time.
#[derive(Template)]
#[template(path = "login.html")]
pub(super) struct LoginPage {
    pub(super) layout: Layout,
    pub(super) wrong: Option<String>,
}

/// How to log in; or the way on for who is.
pub(super) async fn page(
    viewer: Option<Extension<Viewer>>,
    Extension(layout): Extension<Layout>,
) -> Response {
    match viewer {
        Some(_) => Redirect::to("/").into_response(),
        None => render(&LoginPage { layout, wrong: None }),
    }
}

/// What the login page sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Typed {
    code: String,
}

/// The code of an invitation, typed in.
pub(super) async fn log_in(
    State(shared): State<Shared>,
    typed: Result<Form<Typed>, FormRejection>,
) -> Result<Response, Failure> {
    let Form(Typed { code }) = typed.map_err(|error| Problem::bad_request(error.to_string()))?;
    let app = &shared.app;
    match app.sessions.by_code(&Code::typed(&code), app.now(), &app.random) {
        Ok(secret) => Ok(logged_in(&shared, &secret)),
        Err(Denied::Wrong) => {
            tracing::warn!("somebody typed a wrong code for the console");
            Err(Failure::WrongCode)
        }
        Err(Denied::TooMany(wait)) => Err(Failure::TooManyTries(wait)),
        Err(Denied::Problem(problem)) => Err(problem.into()),
    }
}

/// A one-time link, opened.
pub(super) async fn enter(
    State(shared): State<Shared>,
    Params(token): Params<String>,
) -> Result<Response, Failure> {
    let app = &shared.app;
    match app.sessions.by_link(&token, app.now(), &app.random) {
        Ok(secret) => Ok(logged_in(&shared, &secret)),
        Err(Denied::Wrong) => Err(Problem::new(
            StatusCode::GONE,
            "link",
            "The link is used up",
            "This link was used already, or its five minutes are over. Ask for another one.",
        )
        .into()),
        Err(Denied::TooMany(wait)) => Err(Failure::TooManyTries(wait)),
        Err(Denied::Problem(problem)) => Err(problem.into()),
    }
}

fn logged_in(shared: &Shared, secret: &str) -> Response {
    ([(header::SET_COOKIE, shared.links.cookie(secret))], Redirect::to("/")).into_response()
}

/// Ends the session.
pub(super) async fn leave(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    if let Some(secret) = cookie(&headers) {
        shared.app.sessions.leave(secret);
    }
    ([(header::SET_COOKIE, shared.links.no_cookie())], Redirect::to("/login")).into_response()
}
