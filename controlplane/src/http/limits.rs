//! How long, how many and how large requests may be.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::header,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use tenantry_config::settings;
use tokio::sync::Semaphore;

use crate::error::{ApiError, Code};

/// Requests that are worked on at once. Above it, refusing at once is kinder than a queue in which all time out.
const CONCURRENT: usize = 2048;

/// Bytes of a body that is too large which are taken in and thrown away.
const DRAIN_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of a query.
const MAX_QUERY_BYTES: usize = 16 * 1024;

/// How long, how many and how large requests may be.
#[derive(Debug, Clone)]
pub struct Limits {
    time: Duration,
    /// Bytes that a body may have.
    pub body_bytes: usize,
}

#[derive(Debug, Clone)]
struct Bound {
    time: Duration,
    body_bytes: usize,
    slots: Arc<Semaphore>,
}

impl Limits {
    /// As the settings say.
    pub fn new(http: &settings::Http) -> Self {
        Self { time: Duration::from_secs(http.timeout_seconds), body_bytes: http.max_body_bytes }
    }

    /// Bounds time and number of requests to `routes`, which may wait for `waiting` on top. Routes that wait get slots of
    /// their own, so that they cannot take those of the others.
    pub fn apply<S: Clone + Send + Sync + 'static>(&self, routes: Router<S>, waiting: Duration) -> Router<S> {
        let bound = Bound {
            time: self.time + waiting,
            body_bytes: self.body_bytes,
            slots: Arc::new(Semaphore::new(CONCURRENT)),
        };
        routes.route_layer(middleware::from_fn_with_state(bound, within))
    }
}

async fn within(State(bound): State<Bound>, request: Request, next: Next) -> Response {
    let Ok(_slot) = bound.slots.try_acquire() else {
        return ApiError::new(Code::Unavailable, "the server is busy").retry_after(1).into_response();
    };
    let answer = async {
        if request.uri().query().is_some_and(|query| query.len() > MAX_QUERY_BYTES) {
            let detail = format!("a query has at most {MAX_QUERY_BYTES} bytes");
            return ApiError::new(Code::UriTooLong, detail).into_response();
        }
        if announced_bytes(&request).is_some_and(|bytes| bytes > bound.body_bytes) {
            return too_large(request).await;
        }
        next.run(request).await
    };
    match tokio::time::timeout(bound.time, answer).await {
        Ok(response) => response,
        Err(_) => ApiError::new(Code::Timeout, "the request took too long").into_response(),
    }
}

/// What the caller says that the body has. One that says nothing is cut off while it is read, by `DefaultBodyLimit`.
fn announced_bytes(request: &Request) -> Option<usize> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Refuses a body, but takes a part of it first: a caller that is still sending when the connection closes never sees the answer.
async fn too_large(request: Request) -> Response {
    let mut body = request.into_body().into_data_stream();
    let mut left = DRAIN_BYTES;
    while let Some(Ok(bytes)) = body.next().await {
        match left.checked_sub(bytes.len()) {
            Some(less) => left = less,
            None => break,
        }
    }
    ApiError::new(Code::PayloadTooLarge, "the body is too large").into_response()
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::StatusCode, routing::get};
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn a_request_that_takes_too_long_is_answered() {
        let limits = Limits { time: Duration::from_millis(10), body_bytes: 1 };
        let routes: Router =
            limits.apply(Router::new().route("/", get(std::future::pending::<()>)), Duration::ZERO);
        let response = routes.oneshot(Request::new(Body::empty())).await.unwrap();
        assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    }
}
