//! How long, how many and how large requests may be.

use std::time::Duration;

use axum::{
    Router,
    extract::{Request, State},
    http::{Method, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use tenantry_config::settings;

use crate::{
    auth::RequestInfo,
    error::{ApiError, Code},
    load::{Capacity, Places},
};

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
    capacity: Capacity,
    places: Places,
}

#[derive(Debug, Clone)]
struct Bound {
    time: Duration,
    body_bytes: usize,
    places: Places,
}

impl Limits {
    /// As the settings say, with `capacity` for all requests together.
    pub fn new(http: &settings::Http, capacity: &Capacity) -> Self {
        Self {
            time: Duration::from_secs(http.timeout_seconds),
            body_bytes: http.max_body_bytes,
            capacity: capacity.clone(),
            places: capacity.places(),
        }
    }

    /// Bounds time and number of requests to `routes`, with all that they wait for: this comes after the layers that find out
    /// who calls, since it has to stand around them.
    pub fn apply<S: Clone + Send + Sync + 'static>(&self, routes: Router<S>) -> Router<S> {
        self.with(routes, self.time, self.places.clone())
    }

    /// The same for routes that wait for something that others do not wait for, up to `waiting` on top. They get places of their
    /// own, so that they cannot take those of the others.
    pub fn apply_apart<S: Clone + Send + Sync + 'static>(
        &self,
        routes: Router<S>,
        waiting: Duration,
    ) -> Router<S> {
        self.with(routes, self.time + waiting, self.capacity.places())
    }

    fn with<S: Clone + Send + Sync + 'static>(
        &self,
        routes: Router<S>,
        time: Duration,
        places: Places,
    ) -> Router<S> {
        let bound = Bound { time, body_bytes: self.body_bytes, places };
        routes.route_layer(middleware::from_fn_with_state(bound, within))
    }
}

async fn within(State(bound): State<Bound>, mut request: Request, next: Next) -> Response {
    let load = match bound.places.begin() {
        Ok(load) => load,
        Err(error) => return error.into_response(),
    };
    let repeatable = matches!(*request.method(), Method::GET | Method::HEAD);
    request.extensions_mut().get_or_insert_default::<RequestInfo>().load = load.clone();
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
    let response = match tokio::time::timeout(bound.time, answer).await {
        Ok(response) => response,
        Err(_) => ApiError::new(Code::Timeout, "the request took too long").into_response(),
    };
    load.answered(response, repeatable)
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
    use std::task::Poll;

    use axum::{body::Body, http::StatusCode, routing::get};
    use futures::poll;
    use tower::ServiceExt;
    use uuid::Uuid;

    use super::*;

    fn limits(time: Duration) -> Limits {
        let http = settings::Http { max_body_bytes: 1000, ..settings::Http::default() };
        Limits { time, ..Limits::new(&http, &Capacity::new(1_000_000, 1000)) }
    }

    /// What a layer does that finds out who calls and has to wait for that.
    async fn undecided(request: Request, _: Next) -> Response {
        let load = request.extensions().get::<RequestInfo>().map(|info| info.load.clone());
        match load.unwrap_or_default().of_tenant(Uuid::from_u128(1)) {
            Ok(()) => std::future::pending().await,
            Err(error) => error.into_response(),
        }
    }

    fn waits(limits: &Limits) -> Router {
        let guarded = Router::new().route("/", get(())).route_layer(middleware::from_fn(undecided));
        limits.apply(guarded).merge(limits.apply(Router::new().route("/free", get(()))))
    }

    fn to(path: &str) -> Request {
        Request::builder().uri(path).body(Body::empty()).unwrap()
    }

    #[tokio::test]
    async fn a_request_that_takes_too_long_is_answered() {
        let routes = Router::new().route("/", get(std::future::pending::<()>));
        let response = limits(Duration::from_millis(10)).apply(routes).oneshot(to("/")).await.unwrap();
        assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    }

    #[tokio::test]
    async fn finding_out_who_calls_is_part_of_the_time_that_a_request_has() {
        let response = waits(&limits(Duration::from_millis(10))).oneshot(to("/")).await.unwrap();
        assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    }

    #[tokio::test]
    async fn one_tenant_takes_half_of_the_places_and_gives_them_back() {
        let routes = waits(&limits(Duration::from_secs(3600)));
        let mut waiting = Vec::new();
        let refused = loop {
            let mut request = Box::pin(routes.clone().oneshot(to("/")));
            match poll!(request.as_mut()) {
                Poll::Pending => waiting.push(request),
                Poll::Ready(response) => break response.unwrap(),
            }
        };
        assert_eq!((waiting.len(), refused.status()), (1024, StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(refused.headers()[header::RETRY_AFTER], "1");
        assert_eq!(routes.clone().oneshot(to("/free")).await.unwrap().status(), StatusCode::OK);
        waiting.clear();
        assert!(poll!(Box::pin(routes.oneshot(to("/")))).is_pending(), "there is room again");
    }
}
