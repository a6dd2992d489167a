//! The routes.

use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use serde::Deserialize;
use serde_json::json;

use crate::access;
use crate::error::{ApiError, ApiResult};
use crate::events;
use crate::page;
use crate::registry::Registry;
use crate::request::NewTrace;
use crate::trace::How;

/// All that the service answers.
pub(crate) fn routes(registry: Arc<Registry>) -> Router {
    let check = middleware::from_fn_with_state(Arc::clone(&registry), access::check);
    Router::new()
        .merge(page::routes())
        .route("/traces", get(list).post(begin))
        .route("/traces/{id}", get(show).delete(end))
        .route("/traces/{id}/events", get(events::events))
        .route("/metrics", get(metrics))
        .fallback(no_such_page)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(registry.config.max_body))
        .layer(check)
        .with_state(registry)
}

/// `POST /traces`
async fn begin(
    State(registry): State<Arc<Registry>>,
    request: Result<Json<NewTrace>, JsonRejection>,
) -> ApiResult<Response> {
    let Json(request) = request?;
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
    let text = registry.metrics.text(registry.gauges());
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
