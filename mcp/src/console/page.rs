//! Who looks at a page, and the layout that all pages have.

use askama::Template;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{Html, IntoResponse as _, Response};
use compliance_protocol::name::Operator;

use super::{Failure, NavigationLink};

/// The operator whose browser asks, with the session's token.
#[derive(Debug, Clone)]
pub struct Viewer {
    pub(super) operator: Operator,
    pub(super) layout: Layout,
}

/// What is around every page.
#[derive(Debug, Clone, Default)]
pub(super) struct Layout {
    /// Whose session it is; empty without one.
    pub(super) viewer: String,
    /// The session's token; empty without one.
    pub(super) csrf: String,
    /// What an extension says on every page.
    pub(super) banner: Option<String>,
    /// What an extension adds to the navigation.
    pub(super) link: Option<NavigationLink>,
    /// The time, by which the script reckons.
    pub(super) now: String,
    /// The path that was asked for.
    pub(super) at: String,
}

/// A page of an extension, in the console's layout.
#[derive(Debug, Clone, Template)]
#[template(path = "extension.html")]
pub struct Page {
    layout: Layout,
    title: String,
    styles: Vec<String>,
    scripts: Vec<String>,
    main: String,
}

impl Page {
    /// A page with this title and this HTML in its `main`. Whoever makes the HTML has escaped what is
    /// others' text in it; the console's policy lets neither script nor style stand in it.
    pub fn new(title: impl Into<String>, main: impl Into<String>) -> Self {
        Self {
            layout: Layout::default(),
            title: title.into(),
            styles: Vec::new(),
            scripts: Vec::new(),
            main: main.into(),
        }
    }

    /// The same with one more style, which is one of the extension's paths.
    #[must_use]
    pub fn style(mut self, path: impl Into<String>) -> Self {
        self.styles.push(path.into());
        self
    }

    /// The same with one more script, likewise; it runs when the page is there.
    #[must_use]
    pub fn script(mut self, path: impl Into<String>) -> Self {
        self.scripts.push(path.into());
        self
    }
}

impl Viewer {
    /// Who it is.
    pub fn operator(&self) -> &Operator {
        &self.operator
    }

    /// The session's token. A form sends it in the field `csrf`, a script in the header `X-CSRF-Token`;
    /// a script finds it in the page, as `document.body.dataset.csrf`.
    pub fn csrf(&self) -> &str {
        &self.layout.csrf
    }

    /// Shows a page in the console's layout.
    pub fn show(&self, page: Page) -> Response {
        render(&Page { layout: self.layout.clone(), ..page })
    }
}

impl<S: Sync> FromRequestParts<S> for Viewer {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        parts.extensions.get::<Self>().cloned().ok_or(Failure::NoSession)
    }
}

/// A page, or the plain fact that it could not be rendered.
pub(super) fn render(page: &impl Template) -> Response {
    match page.render() {
        Ok(html) => Html(html).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
