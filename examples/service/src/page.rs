//! The page that shows traces live: three files that are part of the program.

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::registry::Registry;

/// Where the files are.
const PATHS: [&str; 3] = ["/", "/style.css", "/app.js"];

/// Scripts and styles come from here alone, and what is not the page's own does not run.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

pub(crate) fn is_page(path: &str) -> bool {
    PATHS.contains(&path)
}

pub(crate) fn routes() -> Router<Arc<Registry>> {
    let [index, style, app] = PATHS;
    Router::new()
        .route(
            index,
            get(async || html(include_str!("../page/index.html"))),
        )
        .route(
            style,
            get(async || file("text/css", include_str!("../page/style.css"))),
        )
        .route(
            app,
            get(async || file("text/javascript", include_str!("../page/app.js"))),
        )
}

fn html(text: &'static str) -> Response {
    let policy = [(header::CONTENT_SECURITY_POLICY, POLICY)];
    (policy, file("text/html; charset=utf-8", text)).into_response()
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}
