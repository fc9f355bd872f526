//! Gives each request its id, and says afterwards what became of it: to the log, to the metrics, to the caller's headers.
//! Neither tokens nor bodies nor queries are logged.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use axum::{
    extract::{ConnectInfo, MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use opentelemetry_sdk::trace::SdkTracer;
use prometheus::{HistogramOpts, HistogramVec};
use tenantry_config::{network::Network, telemetry::ACCESS};
use tracing::Instrument;
use uuid::Uuid;

use super::{cors, dialect::EdgeDialect, spans::RequestSpan, trace};
use crate::{auth::RequestInfo, error::ApiError, load::Load, rate, registry::Registry};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_REQUEST_ID: usize = 128;
/// The route of requests that meet none: their paths are the caller's and would make labels without end.
const NO_ROUTE: &str = "none";

/// How long requests took, by route, method and class of status.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    duration: HistogramVec,
}

impl HttpMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// When they are registered already.
    pub fn register(registry: &prometheus::Registry) -> prometheus::Result<Self> {
        let options = HistogramOpts::new(
            "tenantry_http_request_duration_seconds",
            "Time from the head of a request to the head of its answer",
        )
        .buckets(vec![0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0]);
        let duration = HistogramVec::new(options, &["route", "method", "status"])?;
        registry.register(Box::new(duration.clone()))?;
        Ok(Self { duration })
    }
}

/// What looks at each request from the outside.
#[derive(Debug, Clone)]
pub struct Observer {
    metrics: HttpMetrics,
    registry: Registry,
    trusted_proxies: Arc<[Network]>,
    tracer: Option<SdkTracer>,
}

impl Observer {
    /// Believes what `trusted_proxies` say of clients. Without a `tracer`, there are no spans to export.
    pub fn new(
        metrics: HttpMetrics,
        registry: Registry,
        trusted_proxies: &[Network],
        tracer: Option<SdkTracer>,
    ) -> Self {
        Self { metrics, registry, trusted_proxies: trusted_proxies.into(), tracer }
    }
}

pub(super) async fn observe(State(observer): State<Observer>, mut request: Request, next: Next) -> Response {
    let start = Instant::now();
    let id = request_id(&request);
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let address = peer.map(|peer| rate::client(peer, request.headers(), &observer.trusted_proxies));
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let matched = matched.as_ref().map(MatchedPath::as_str);
    let route = matched.unwrap_or(NO_ROUTE);
    let method = known_method(request.method());
    let span = tracing::info_span!("request", id = &*id);
    let parent = trace::parent(request.headers());
    let exported =
        observer.tracer.as_ref().map(|tracer| RequestSpan::start(tracer, parent, method, matched, &id));
    let info = RequestInfo {
        id: Arc::clone(&id),
        client: address.map(|address| address.to_string().into()),
        address,
        trace: match &exported {
            Some(own) => Some(own.traceparent()),
            None => parent.map(Into::into),
        },
        seen: Arc::default(),
        load: Load::default(),
    };
    let seen = Arc::clone(&info.seen);
    request.extensions_mut().insert(info);
    let dialect = EdgeDialect::of(request.uri().path());
    let response = answered(&observer, request, next).instrument(span.clone()).await;
    let mut response = dialect.tell(response);

    let elapsed = start.elapsed();
    let status = response.status();
    observer
        .metrics
        .duration
        .with_label_values(&[route, method, class(status.as_u16())])
        .observe(elapsed.as_secs_f64());
    let tenant = seen.tenant().map(|tenant| tenant.name.as_str());
    if let Some(exported) = exported {
        exported.end(status, tenant);
    }
    // Without the span, whose fields the formatter would read again from their JSON.
    tracing::info!(
        target: ACCESS,
        parent: None,
        id = &*id,
        method,
        route,
        status = status.as_u16(),
        duration_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
        rows = seen.rows(),
        tenant,
        user = seen.caller().map(|caller| &*caller.user),
    );
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    for (name, value) in &SECURITY {
        headers.entry(name).or_insert_with(|| value.clone());
    }
    response
}

async fn answered(observer: &Observer, request: Request, next: Next) -> Response {
    let allowed = cors::allowed(&observer.registry.snapshot(), &request);
    if cors::is_preflight(&request) {
        return cors::preflight(allowed, request.headers());
    }
    let mut response = match one_host(&request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    if let Some(allowed) = allowed {
        allowed.mark(response.headers_mut());
    }
    response
}

/// Of two hosts a proxy may have gone by one and we by the other (RFC 9112, section 3.2).
fn one_host(request: &Request) -> Result<(), ApiError> {
    match request.headers().get_all(header::HOST).iter().nth(1) {
        None => Ok(()),
        Some(_) => Err(ApiError::bad_request("Host stands twice").hint("send one Host header")),
    }
}

/// What every answer says unless a handler says otherwise. Strict-Transport-Security is for whoever ends TLS.
const SECURITY: [(HeaderName, HeaderValue); 6] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    // A tenant's documents must not stay in a shared cache.
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// The caller's id, if it is fit for logs, else a new one.
fn request_id(request: &Request) -> Arc<str> {
    let given = request.headers().get(&REQUEST_ID).and_then(|value| value.to_str().ok());
    let fit = given.filter(|id| {
        (1..=MAX_REQUEST_ID).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    });
    match fit {
        Some(id) => id.into(),
        None => Uuid::now_v7().to_string().into(),
    }
}

/// A method may be any word; only known ones become labels.
fn known_method(method: &axum::http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

const fn class(status: u16) -> &'static str {
    match status {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn a_request_id_is_taken_over_only_when_it_is_fit_for_logs() {
        let of = |id: &str| {
            let request = Request::builder().header("x-request-id", id).body(Body::empty()).unwrap();
            request_id(&request).to_string()
        };
        assert_eq!(of("abc-1.2_3"), "abc-1.2_3");
        for unfit in ["", "a b", "{\"a\":1}", &"x".repeat(129)] {
            assert!(Uuid::parse_str(&of(unfit)).is_ok(), "{unfit}");
        }
    }
}
