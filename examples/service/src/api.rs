//! The routes.

use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, FromRequest, Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;

use crate::access;
use crate::error::{ApiError, ApiResult};
use crate::events;
use crate::page;
use crate::registry::Registry;
use crate::request::NewTrace;
use crate::trace::How;

/// All that the service answers.
pub(crate) fn routes(registry: Arc<Registry>) -> Router {
    let routes = page::routes()
        .route("/traces", get(list).post(begin))
        .route("/traces/{id}", get(show).delete(end))
        .route("/traces/{id}/events", get(events::events))
        .route("/metrics", get(metrics));
    guarded(routes, registry)
}

/// Routes for those who may ask, with an answer of the service's own for all that they do not have.
fn guarded(routes: Router<Arc<Registry>>, registry: Arc<Registry>) -> Router {
    let check = middleware::from_fn_with_state(Arc::clone(&registry), access::check);
    routes
        .fallback(no_such_page)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(registry.config.max_body))
        .layer(check)
        .with_state(registry)
}

/// `POST /traces`
async fn begin(State(registry): State<Arc<Registry>>, request: Request) -> ApiResult<Response> {
    let body = Json::<NewTrace>::from_request(request, &());
    let body: Result<_, JsonRejection> = timeout(registry.config.patience(), body)
        .await
        .map_err(|_| ApiError::too_slow())?;
    let Json(request) = body?;
    let trace = registry.begin(request).await?;
    let place = [(header::LOCATION, format!("/traces/{}", trace.id))];
    Ok((StatusCode::CREATED, place, Json(trace.summary(false))).into_response())
}

/// `GET /traces`
async fn list(State(registry): State<Arc<Registry>>) -> Response {
    let all = registry.all();
    let all: Vec<_> = all.iter().map(|trace| trace.summary(false)).collect();
    Json(json!({ "traces": all })).into_response()
}

/// `GET /traces/{id}`
async fn show(
    State(registry): State<Arc<Registry>>,
    id: Result<Path<u64>, PathRejection>,
) -> ApiResult<Response> {
    let Path(id) = id?;
    Ok(Json(registry.get(id)?.summary(true)).into_response())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ending {
    how: Option<How>,
}

/// `DELETE /traces/{id}`
async fn end(
    State(registry): State<Arc<Registry>>,
    id: Result<Path<u64>, PathRejection>,
    ending: Result<Query<Ending>, QueryRejection>,
) -> ApiResult<Response> {
    let (Path(id), Query(ending)) = (id?, ending?);
    let (trace, ended) = registry.remove(id, ending.how).await?;
    let status = match ended {
        true => StatusCode::OK,
        // It was told to; somebody may ask again.
        false => StatusCode::ACCEPTED,
    };
    Ok((status, Json(trace.summary(false))).into_response())
}

/// `GET /metrics`
async fn metrics(State(registry): State<Arc<Registry>>) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    let text = registry
        .metrics
        .text(registry.gauges(), &registry.tracer_metrics());
    (kind, text).into_response()
}

async fn no_such_page() -> ApiError {
    let message = "there is nothing at this address";
    ApiError::new(StatusCode::NOT_FOUND, "no-such-page", message)
}

async fn wrong_method() -> ApiError {
    let message = "this address does not take this method";
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::connection::{Patience, serve};
    use clap::Parser;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn a_panic_is_answered_as_a_fault() {
        async fn panics() -> &'static str {
            panic!("a fault");
        }
        let tracer = tracehound::Tracer::new().expect("a tracer");
        let registry = Arc::new(Registry::new(Config::parse_from(["service"]), tracer));
        let closing = registry.closing();
        let routes = Router::new().route("/", get(panics));
        let routes = guarded(routes, Arc::clone(&registry));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let address = listener.local_addr().expect("its address");
        let patience = Patience {
            head: Duration::from_secs(60),
            stall: Duration::from_secs(60),
        };
        let serving = tokio::spawn(async move {
            let (tcp, _) = listener.accept().await.expect("a connection");
            serve(tcp, routes, patience, closing).await;
        });
        let mut tcp = TcpStream::connect(address).await.expect("a connection");
        // The connection goes on behind it.
        let requests = "GET / HTTP/1.1\r\n\r\nGET / HTTP/1.0\r\n\r\n";
        tcp.write_all(requests.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).await.expect("an answer");
        let fault = "{\"error\":{\"reason\":\"fault\",";
        assert_eq!(answer.matches(fault).count(), 2, "{answer}");
        assert_eq!(answer.matches("500 Internal Server Error").count(), 2);
        drop(tcp);
        serving.await.expect("it has not panicked");
        registry.end().await;
    }
}
