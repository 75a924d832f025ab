//! placeholder
use super::Links;
use crate::app::App;
use axum::Router;
use std::sync::Arc;
pub(super) fn routes(_app: Arc<App>, _links: Links) -> Router {
    Router::new()
}
