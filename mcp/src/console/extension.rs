//! Pages that another binary adds to the console. The control plane's own binary adds none, and no
//! configuration can.

use std::fmt;
use std::sync::Arc;

use axum::Router;

use crate::app::App;

/// What another binary adds to the console.
pub struct Extension {
    frame: Frame,
    pages: Box<Pages>,
}

type Pages = dyn FnOnce(&Arc<App>) -> Router + Send;

/// A link in the navigation of every page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NavigationLink {
    /// Where it goes: a path of the extension, such as `/demo`.
    pub path: String,
    /// What it says.
    pub label: String,
}

/// What an extension adds to every page.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) banner: String,
    pub(super) link: NavigationLink,
}

impl Extension {
    /// An extension whose `banner` stands on every page of the console, also on those without a session.
    ///
    /// All of `pages` are for sessions only, and what is posted to them has to carry the session's token
    /// ([`Viewer::csrf`](super::Viewer::csrf)). Their paths must not be the console's own.
    pub fn new(
        banner: impl Into<String>,
        link: NavigationLink,
        pages: impl FnOnce(&Arc<App>) -> Router + Send + 'static,
    ) -> Self {
        Self { frame: Frame { banner: banner.into(), link }, pages: Box::new(pages) }
    }

    pub(super) fn open(self, app: &Arc<App>) -> (Frame, Router) {
        (self.frame, (self.pages)(app))
    }
}

impl fmt::Debug for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an extension at {}", self.frame.link.path)
    }
}
