//! Who may ask: who has the token; without one, whoever is on this machine and not a web page
//! from elsewhere.

use std::hint::black_box;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;

use crate::error::{ApiError, ApiResult};
use crate::registry::Registry;

/// Lets a request pass, or says why not.
pub(crate) async fn check(
    State(registry): State<Arc<Registry>>,
    request: Request,
    next: Next,
) -> Response {
    registry.metrics.requests.fetch_add(1, Relaxed);
    let token = registry.config.token.as_deref();
    let allowed = match (token, crate::page::is_page(request.uri().path())) {
        // It has no secrets, and asks for the token.
        (Some(_), true) => Ok(()),
        (Some(token), false) => check_token(token, request.headers()),
        (None, _) => check_host(request.headers()).and_then(|()| check_site(request.headers())),
    };
    let response = match allowed {
        Ok(()) => run(request, next).await,
        Err(error) => error.into_response(),
    };
    if response.status().is_client_error() || response.status().is_server_error() {
        registry.metrics.refused.fetch_add(1, Relaxed);
    }
    response
}

/// A panic is an error like others: the message of it is in the log.
async fn run(request: Request, next: Next) -> Response {
    let run = AssertUnwindSafe(next.run(request)).catch_unwind();
    run.await
        .unwrap_or_else(|_| ApiError::fault().into_response())
}

fn check_token(token: &str, headers: &HeaderMap) -> ApiResult<()> {
    let given = headers.get(header::AUTHORIZATION);
    let given = given.and_then(|value| value.as_bytes().split_at_checked("Bearer ".len()));
    match given {
        Some((scheme, given))
            if scheme.eq_ignore_ascii_case(b"Bearer ") && is_same(given, token.as_bytes()) =>
        {
            Ok(())
        }
        _ => Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            "no-token",
            "a token is required: Authorization: Bearer TOKEN",
        )),
    }
}

/// Compares in a time that tells nothing of where the two differ.
fn is_same(given: &[u8], token: &[u8]) -> bool {
    let bytes = given.iter().zip(token);
    let difference = bytes.fold(0, |sum, (a, b)| black_box(sum | (a ^ b)));
    given.len() == token.len() && difference == 0
}

/// A page from elsewhere whose name was made to lead here (DNS rebinding) gives that name.
fn check_host(headers: &HeaderMap) -> ApiResult<()> {
    let Some(host) = headers.get(header::HOST) else {
        return Ok(());
    };
    let host = host
        .to_str()
        .ok()
        .and_then(|host| host.parse::<Authority>().ok());
    let is_local = host.is_some_and(|host| {
        let name = host.host().trim_start_matches('[').trim_end_matches(']');
        let address = name.parse::<std::net::IpAddr>();
        name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|ip| ip.is_loopback())
    });
    match is_local {
        true => Ok(()),
        false => Err(ApiError::forbidden(
            "wrong-host",
            "without a token only requests to localhost are served",
        )),
    }
}

/// A page from elsewhere can ask, too, if only for what it cannot read: a stream for which the
/// tracees wait. Browsers say so, older ones by the origin alone.
fn check_site(headers: &HeaderMap) -> ApiResult<()> {
    let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
    let is_near = matches!(site, None | Some(b"same-origin" | b"none"));
    let is_own = headers
        .get(header::ORIGIN)
        .is_none_or(|origin| is_of(origin.as_bytes(), headers.get(header::HOST)));
    match is_near && is_own {
        true => Ok(()),
        false => Err(ApiError::forbidden(
            "wrong-origin",
            "without a token pages from elsewhere are not served",
        )),
    }
}

/// Whether the page comes from the host that it asks.
fn is_of(origin: &[u8], host: Option<&HeaderValue>) -> bool {
    let name = origin
        .strip_prefix(b"http://")
        .or_else(|| origin.strip_prefix(b"https://"));
    name.is_some_and(|name| host.is_some_and(|host| name.eq_ignore_ascii_case(host.as_bytes())))
}
