//! The console: pages for a browser. Who comes with a one-time link, or types its code, gets a session.
//!
//! Every answer goes through `frame::dress`: it finds out whose session it is, lets no other site
//! post, puts errors into the page's layout, and adds the headers that harden it. What is not for everybody
//! goes through `frame::guard` besides.

mod assets;
mod attempts;
mod bundle;
mod code;
mod download;
mod events;
mod extension;
mod failure;
mod fleet;
mod frame;
mod gates;
mod links;
mod login;
mod orders;
mod page;
pub(crate) mod session;
mod site;
mod view;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};

use crate::app::App;

pub use assets::asset;
pub use extension::{Extension, NavigationLink};
pub use failure::Failure;
pub use links::Links;
pub use page::{Page, Viewer};

use failure::{not_this_way, nothing_here};

/// The console's routes, with those of `extension`.
pub fn routes(app: Arc<App>, links: Links, extension: Option<Extension>) -> Router {
    let (frame, pages) = match extension.map(|extension| extension.open(&app)) {
        Some((frame, pages)) => (Some(Arc::new(frame)), pages),
        None => (None, Router::new()),
    };
    let shared = Shared { app, links, extension: frame };
    let guarded = Router::new()
        .route("/", get(fleet::page))
        .route("/orders", get(orders::page))
        .route("/sites/{site}", get(site::page))
        .route("/sites/{site}/evidence.pub", get(download::evidence_key))
        .route("/sites/{site}/evidence/{ledger_id}/{sequence}", get(bundle::page))
        .route("/sites/{site}/evidence/{ledger_id}/{sequence}/{file}", get(download::file))
        .route("/checkpoint.vkey", get(download::log_key))
        .route("/events", get(events::events))
        .route("/logout", post(login::leave))
        .merge(pages.with_state(()))
        .route_layer(from_fn(frame::guard));
    Router::new()
        // A look at the head, as previews of links take it, does not use a link up.
        .route("/enter/{token}", get(login::enter).head(nothing_here))
        .route("/login", get(login::page).post(login::log_in))
        .merge(assets::routes())
        .merge(guarded)
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_this_way)
        .layer(from_fn_with_state(shared.clone(), frame::dress))
        .with_state(shared)
}

/// What the console's routes share.
#[derive(Debug, Clone)]
struct Shared {
    app: Arc<App>,
    links: Links,
    extension: Option<Arc<extension::Frame>>,
}

impl FromRef<Shared> for Arc<App> {
    fn from_ref(shared: &Shared) -> Self {
        Self::clone(&shared.app)
    }
}
