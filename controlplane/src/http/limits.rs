//! How long, how many and how large requests may be.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use tenantry_config::settings;
use tokio::sync::Semaphore;

use crate::error::{ApiError, Code};

/// Requests that are worked on at once. Above it, refusing at once is kinder than a queue in which all time out.
const CONCURRENT: usize = 2048;

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
        let bound = Bound { time: self.time + waiting, slots: Arc::new(Semaphore::new(CONCURRENT)) };
        routes.route_layer(middleware::from_fn_with_state(bound, within))
    }
}

async fn within(State(bound): State<Bound>, request: Request, next: Next) -> Response {
    let Ok(_slot) = bound.slots.try_acquire() else {
        return ApiError::new(Code::Unavailable, "the server is busy").retry_after(1).into_response();
    };
    match tokio::time::timeout(bound.time, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::new(Code::Timeout, "the request took too long").into_response(),
    }
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
