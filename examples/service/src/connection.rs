//! One connection: how long its client may take, and what it is told if it cannot be understood.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::Router;
use axum::http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1::{self, Parts};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::error::ApiError;
use crate::wire::Wire;

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// To send a request's head, counted from the end of the request before it.
    pub(crate) head: Duration,
    /// To take some of its answer.
    pub(crate) stall: Duration,
}

/// How much is read of what a client still sends when it has its last answer. If it were not read
/// the kernel would reset the connection, and the answer could be lost.
const LINGER: u64 = 1 << 20;

/// Serves a connection until its end, or until it is idle when the service goes down.
pub(crate) async fn serve(
    tcp: TcpStream,
    routes: Router,
    patience: Patience,
    mut closing: watch::Receiver<bool>,
) {
    let routes = TowerToHyperService::new(routes);
    // In a box: what is polled without a shutdown must not be pinned.
    let routes = service_fn(move |request: Request<Incoming>| Box::pin(routes.call(request)));
    let wire = TokioIo::new(Wire::new(tcp, patience.stall));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.head)
        .serve_connection(wire, routes);
    let served = {
        let mut served = std::pin::pin!(poll_fn(|cx| connection.poll_without_shutdown(cx)));
        tokio::select! {
            served = &mut served => Some(served),
            _ = closing.wait_for(|closing| *closing) => None,
        }
    };
    let served = match served {
        Some(served) => served,
        None => {
            Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|cx| connection.poll_without_shutdown(cx)).await
        }
    };
    let Parts { io, read_buf, .. } = connection.into_parts();
    let wire = io.into_inner();
    let refusal = match served {
        Ok(()) => None,
        Err(error) => refusal(&error, wire.refused(), !read_buf.is_empty()),
    };
    // Whatever happens: this is the end of it.
    let _ = timeout(patience.head, end(wire.into_tcp(), refusal)).await;
}

/// What a client is told that hyper has given up, if there is anything to tell and it may still
/// listen.
fn refusal(error: &hyper::Error, status: Option<u16>, began: bool) -> Option<ApiError> {
    let new = |status, reason, message: &str| Some(ApiError::new(status, reason, message));
    if error.is_timeout() {
        // An idle connection ends without a word: the client's next request could be under way.
        return began.then(ApiError::too_slow);
    }
    if error.is_parse_version_h2() {
        let message = "this service speaks HTTP/1";
        let status = StatusCode::HTTP_VERSION_NOT_SUPPORTED;
        return new(status, "wrong-version", message);
    }
    match status.and_then(|status| StatusCode::from_u16(status).ok()) {
        Some(StatusCode::URI_TOO_LONG) => new(
            StatusCode::URI_TOO_LONG,
            "address-too-long",
            "the address is too long",
        ),
        Some(status @ StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE) => {
            new(status, "head-too-large", "the request's head is too large")
        }
        Some(status) => new(status, "not-http", "this is no HTTP request"),
        None if error.is_parse() || (error.is_incomplete_message() && began) => new(
            StatusCode::BAD_REQUEST,
            "not-http",
            "this is no HTTP request",
        ),
        None => None,
    }
}

/// The last words, and then until the client has closed its side.
async fn end(mut tcp: TcpStream, refusal: Option<ApiError>) -> Result<(), std::io::Error> {
    if let Some(refusal) = refusal {
        tcp.write_all(&refusal.last_words()).await?;
    }
    tcp.shutdown().await?;
    tokio::io::copy(&mut tcp.take(LINGER), &mut tokio::io::sink()).await?;
    Ok(())
}
