//! The console's own style and script. They are the same for everybody, so no session is asked for.

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Shared;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/style.css", get(async || asset(CSS, include_str!("../../templates/style.css"))))
        .route("/icon.svg", get(async || asset(SVG, include_str!("../../templates/icon.svg"))))
        .route("/console.js", get(async || asset(JS, include_str!("../../templates/console.js"))))
}

const CSS: &str = "text/css; charset=utf-8";
const SVG: &str = "image/svg+xml";
const JS: &str = "text/javascript; charset=utf-8";

/// A file of the program's own, of this media type: a style `text/css`, a script `text/javascript`.
pub fn asset(media_type: &'static str, content: &'static str) -> Response {
    ([(header::CONTENT_TYPE, media_type)], content).into_response()
}
