//! What operators call, with a client certificate, on a listener of their own, and what carriers of events do. Orders
//! and trust files come signed; nothing here can make one.

mod events;
pub(crate) mod evidence;
mod orders;
mod sites;

use std::sync::Arc;

use axum::extract::{Extension, FromRef, FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use compliance_pki::Identity;
use compliance_protocol::name::{Operator, Site};
use compliance_protocol::time::Timestamp;
use serde::Serialize;

use crate::app::App;
use crate::appliance::health;
use crate::console::Links;
use crate::identity::Peer;
use crate::problem::{self, Problem};
use crate::push::PushError;
use crate::store::{SiteRow, View};
use crate::stream;
use crate::tls::Tls;

/// What the operators' routes share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The control plane.
    pub app: Arc<App>,
    /// Who would be let in.
    pub tls: Tls,
    /// Where the console is.
    pub links: Links,
}

impl FromRef<Shared> for Arc<App> {
    fn from_ref(shared: &Shared) -> Self {
        Self::clone(&shared.app)
    }
}

impl FromRef<Shared> for Tls {
    fn from_ref(shared: &Shared) -> Self {
        shared.tls.clone()
    }
}

impl FromRef<Shared> for Links {
    fn from_ref(shared: &Shared) -> Self {
        shared.links.clone()
    }
}

/// The operators' routes.
pub fn routes(shared: Shared) -> Router {
    Router::new()
        .merge(sites::routes())
        .merge(orders::routes())
        .merge(evidence::routes())
        .merge(events::routes())
        .route("/api/v1/links", post(link))
        .route("/events", get(events))
        .route("/api/v1/health", get(health))
        .fallback(problem::no_such_page)
        .method_not_allowed_fallback(problem::no_such_method)
        .with_state(shared)
}

/// The operator that calls.
#[derive(Debug)]
pub(crate) struct Caller(pub(crate) Operator);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match parts.extensions.get::<Peer>().map(|peer| &peer.identity) {
            Some(Identity::Operator { name, .. }) => Ok(Self(name.clone())),
            Some(Identity::Carrier { .. }) => {
                Err(Problem::forbidden("this is for operators; a carrier is given events only"))
            }
            other => Err(elsewhere(other)),
        }
    }
}

/// The refusal of whoever has no business on this listener.
fn elsewhere(who: Option<&Identity>) -> Problem {
    Problem::forbidden(match who {
        Some(_) => "this listener is for operators; appliances have one of their own",
        None => "a client certificate is required",
    })
}

/// A one-time link to the console, and the code that can be typed instead.
#[derive(Serialize)]
struct Link {
    url: String,
    code: String,
    expires_at: Timestamp,
}

async fn link(
    State(app): State<Arc<App>>,
    State(links): State<Links>,
    Caller(operator): Caller,
    Extension(peer): Extension<Peer>,
) -> Result<(StatusCode, Json<Link>), Problem> {
    let invited = app.sessions.invite(operator, peer.valid_until, app.now(), &app.random)?;
    let (url, code) = (links.to(&invited.token), invited.code.to_string());
    Ok((StatusCode::CREATED, Json(Link { url, code, expires_at: invited.ends })))
}

/// What changes, until the operator's certificate ends.
async fn events(
    State(app): State<Arc<App>>,
    _: Caller,
    Extension(peer): Extension<Peer>,
) -> Response {
    let watcher = app.store.changes().watch();
    stream::open(watcher, move || app.now() <= peer.valid_until)
}

/// The name of a site, as it stands in a path.
pub(crate) fn site_name(text: &str) -> Result<Site, Problem> {
    text.parse().map_err(|error| Problem::not_found(format!("{error}")))
}

/// The registered site of that name.
pub(crate) fn site_row(view: &View<'_>, name: &Site) -> Result<SiteRow, Problem> {
    view.site(name)?.ok_or_else(|| Problem::not_found(format!("there is no site {name}")))
}

impl From<PushError> for Problem {
    fn from(error: PushError) -> Self {
        let detail = error.to_string();
        match error {
            PushError::NoSuchSite(_) => Self::not_found(detail),
            PushError::Order { code, .. } => Self::refused(code.code(), detail),
            PushError::Trust(_) | PushError::NotOurs(_) => Self::refused("trust", detail),
            PushError::Sequence { offered, next } if offered < next => {
                Self::conflict("sequence-taken", detail)
            }
            PushError::Sequence { .. } => Self::conflict("sequence-gap", detail),
            PushError::Previous => Self::conflict("previous", detail),
            PushError::TooManyOpen => Self::conflict("too-many-open", detail),
            PushError::Json(_) => Self::bad_request(detail),
            PushError::Store(error) => error.into(),
        }
    }
}
