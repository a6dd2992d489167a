//! Server-sent events: a trace's records as a stream that can be resumed.
//!
//! A reader has a cursor, and takes records in batches when its connection takes bytes. One that
//! is slow is overtaken by the ring, and told so: `lost` says how many records it has missed.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::timeout;

use crate::error::{ApiError, ApiResult};
use crate::now;
use crate::registry::Registry;
use crate::ring::{Batch, Holder};
use crate::trace::Trace;

/// How many records are given at a time.
const BATCH: usize = 64;

/// A stream that has nothing to say says so: proxies close those that are silent.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wish {
    /// The number of the event to begin with; `oldest` if nothing is said, or `newest`.
    from: Option<String>,
    #[serde(default)]
    policy: Policy,
}

/// What becomes of a reader that is slower than the trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Policy {
    /// It misses the oldest events, and is told how many.
    #[default]
    DropOldest,
    /// The tracees wait for it.
    Block,
}

impl Policy {
    fn name(self) -> &'static str {
        match self {
            Policy::DropOldest => "drop-oldest",
            Policy::Block => "block",
        }
    }
}

/// `GET /traces/{id}/events`
pub(crate) async fn events(
    State(registry): State<Arc<Registry>>,
    id: Result<Path<u64>, PathRejection>,
    wish: Result<Query<Wish>, QueryRejection>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let (Path(id), Query(wish)) = (id?, wish?);
    let trace = registry.get(id)?;
    let place = registry.reader()?;
    let cursor = first(&trace, &wish, &headers)?;
    let holder = match wish.policy {
        Policy::DropOldest => None,
        Policy::Block => Some(trace.ring.hold(cursor).ok_or_else(|| {
            let message = "another reader has the trace wait for it";
            ApiError::new(StatusCode::CONFLICT, "already-blocking", message)
        })?),
    };
    let policy = wish.policy;
    let buffer = trace.ring.capacity();
    registry.metrics.readers.fetch_add(1, Relaxed);
    trace.readers.fetch_add(1, Relaxed);
    let hello = json!({"trace": id, "policy": policy, "buffer": buffer, "next": cursor});
    let reader = Reader {
        closing: registry.closing(),
        trace,
        cursor,
        holder,
        hello: Some(format!("retry: 1000\nevent: policy\ndata: {hello}\n\n")),
        _place: place,
    };
    let body = stream::unfold(Some(reader), |reader| async {
        let (bytes, reader) = reader?.next().await;
        Some((Ok::<_, std::convert::Infallible>(bytes), reader))
    });
    let mut response = Body::from_stream(body).into_response();
    let headers = response.headers_mut();
    let stream = HeaderValue::from_static("text/event-stream");
    headers.insert(header::CONTENT_TYPE, stream);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-events-policy", HeaderValue::from_static(policy.name()));
    headers.insert("x-events-buffer", HeaderValue::from(buffer));
    Ok(response)
}

/// The number of the first event that a reader wants.
fn first(trace: &Trace, wish: &Wish, headers: &HeaderMap) -> ApiResult<u64> {
    let (oldest, next) = trace.ring.bounds();
    let number = |text: &str| {
        let number = text.trim().parse::<u64>().ok();
        let invalid = || ApiError::invalid("an event is named by its number");
        number.ok_or_else(invalid)
    };
    let first = match (headers.get("last-event-id"), wish.from.as_deref()) {
        // Where a reader was is what it means, whatever its address says.
        (Some(last), _) => number(last.to_str().unwrap_or_default())?.saturating_add(1),
        (None, Some("newest")) => next,
        (None, None | Some("oldest")) => oldest,
        (None, Some(from)) => number(from)?,
    };
    match first {
        first if first > next => Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "no-such-event",
            format!("the trace has {} events", next - 1),
        )),
        // There is no event 0.
        first => Ok(first.max(1)),
    }
}

/// A client that reads.
struct Reader {
    trace: Arc<Trace>,
    cursor: u64,
    holder: Option<Holder>,
    closing: watch::Receiver<bool>,
    hello: Option<String>,
    _place: OwnedSemaphorePermit,
}

impl Reader {
    /// The next bytes, and the reader if more can come.
    async fn next(mut self) -> (Bytes, Option<Self>) {
        if let Some(hello) = self.hello.take() {
            return (hello.into(), Some(self));
        }
        let read = self
            .trace
            .ring
            .read(&mut self.cursor, BATCH, self.holder.as_ref());
        let batch = tokio::select! {
            batch = timeout(KEEP_ALIVE, read) => batch,
            _ = self.closing.wait_for(|closing| *closing) => {
                return ("event: closing\ndata: {}\n\n".into(), None);
            }
        };
        let Ok(batch) = batch else {
            return (":\n\n".into(), Some(self));
        };
        let bytes = self.write(&batch);
        (bytes.into(), (!batch.closed).then_some(self))
    }

    fn write(&self, batch: &Batch) -> Vec<u8> {
        let metrics = &self.trace.metrics;
        let mut out = Vec::with_capacity(256 * (batch.records.len() + 1));
        if batch.lost > 0 {
            metrics.lost.fetch_add(batch.lost, Relaxed);
            let data = json!({"lost": batch.lost});
            write(&mut out, Some(batch.first - 1), "lost", &data);
        }
        let now = now();
        for (number, record) in (batch.first..).zip(&batch.records) {
            write(&mut out, Some(number), "trace", record);
            metrics.deliver(Duration::from_nanos(now.saturating_sub(record.time)));
        }
        if batch.closed {
            write(&mut out, None, "end", &self.trace.end());
        }
        out
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.trace.readers.fetch_sub(1, Relaxed);
    }
}

/// One event. JSON has no line breaks, so its data is one line.
fn write(out: &mut Vec<u8>, number: Option<u64>, kind: &str, data: &impl Serialize) {
    if let Some(number) = number {
        out.extend_from_slice(format!("id: {number}\n").as_bytes());
    }
    out.extend_from_slice(format!("event: {kind}\ndata: ").as_bytes());
    // An error: a map with keys that are no text, or a writer that fails. There is neither.
    let _ = serde_json::to_writer(&mut *out, data);
    out.extend_from_slice(b"\n\n");
}
