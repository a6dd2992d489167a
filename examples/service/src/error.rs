//! Errors as a client gets them: JSON with a reason that a program can tell apart, and a
//! message for a person.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tracehound::Error;

/// Why a request was refused.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    reason: &'static str,
    message: String,
}

#[derive(Serialize)]
struct Body<'a> {
    error: Inner<'a>,
}

#[derive(Serialize)]
struct Inner<'a> {
    reason: &'a str,
    message: &'a str,
}

pub(crate) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    pub(crate) fn new(
        status: StatusCode,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        ApiError {
            status,
            reason,
            message: message.into(),
        }
    }

    /// The request makes no sense.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        ApiError::new(StatusCode::BAD_REQUEST, "invalid", message)
    }

    /// A limit of the service is reached.
    pub(crate) fn too_many(reason: &'static str, message: impl Into<String>) -> Self {
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, reason, message)
    }

    pub(crate) fn forbidden(reason: &'static str, message: impl Into<String>) -> Self {
        ApiError::new(StatusCode::FORBIDDEN, reason, message)
    }

    pub(crate) fn closing() -> Self {
        let message = "the service is going down";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "closing", message)
    }

    pub(crate) fn no_such_trace() -> Self {
        let message = "there is no trace with this id";
        ApiError::new(StatusCode::NOT_FOUND, "no-such-trace", message)
    }
}

impl ApiError {
    /// The whole of an answer after which the connection is closed: for a request that could not
    /// be understood.
    pub(crate) fn last_words(&self) -> Vec<u8> {
        let error = Inner {
            reason: self.reason,
            message: &self.message,
        };
        // An error: keys that are no text. There are none.
        let body = serde_json::to_string(&Body { error }).unwrap_or_default();
        let words = format!(
            "HTTP/1.1 {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n{body}",
            self.status,
            body.len()
        );
        words.into_bytes()
    }

    pub(crate) fn too_slow() -> Self {
        let message = "the request did not come in time";
        ApiError::new(StatusCode::REQUEST_TIMEOUT, "too-slow", message)
    }

    /// A fault of the service.
    pub(crate) fn fault() -> Self {
        let message = "a fault of the service; its log has more";
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "fault", message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let error = Inner {
            reason: self.reason,
            message: &self.message,
        };
        let mut response = (self.status, Json(Body { error })).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = axum::http::HeaderValue::from_static("Bearer");
            response.headers_mut().insert("www-authenticate", scheme);
        }
        response
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let (status, reason) = match &error {
            Error::NoSuchProcess(_) | Error::Gone(_) => (StatusCode::NOT_FOUND, "no-such-process"),
            Error::NotPermitted { .. } => (StatusCode::FORBIDDEN, "not-permitted"),
            Error::Busy(_) => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Error::Spawn(_) => (StatusCode::UNPROCESSABLE_ENTITY, "cannot-start"),
            Error::InvalidArgument(_) => (StatusCode::BAD_REQUEST, "invalid"),
            Error::TooManyTracees { .. } => (StatusCode::TOO_MANY_REQUESTS, "too-many-tracees"),
            Error::Shutdown => return ApiError::closing(),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
        };
        ApiError::new(status, reason, error.to_string())
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        let reason = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => "body-too-large",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "not-json",
            _ => "invalid",
        };
        ApiError::new(rejection.status(), reason, rejection.body_text())
    }
}

impl From<PathRejection> for ApiError {
    fn from(_: PathRejection) -> Self {
        // What is no number names no trace.
        ApiError::no_such_trace()
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        ApiError::invalid(rejection.body_text())
    }
}
