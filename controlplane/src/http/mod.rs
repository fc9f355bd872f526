//! The API over HTTP.
//!
//! Layers from the outside in: [`observe`] (request id, [`trace`] and [`spans`], log, metrics, headers,
//! [`cors`]), catch-panic, [`limits`] (time, load,
//! size), address, tenant and token, rates ([`crate::auth::require_scope`], [`crate::rate`]), handler.

mod cors;
mod extract;
mod limits;
mod observe;
mod serve;
mod spans;
mod trace;

use std::time::Duration;

use axum::{Router, extract::DefaultBodyLimit, middleware, response::IntoResponse};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    admin, audit, auth, data, describe,
    error::{ApiError, Code},
    jobs, rate, search,
    state::AppState,
};

pub use extract::{Content, Json, Path, Query};
pub use limits::Limits;
pub use observe::{HttpMetrics, Observer};
pub use serve::serve;
pub use spans::Spans;

/// All routes. `probes` stand outside of the tenant's layers.
pub fn router(state: &AppState, limits: &Limits, observer: Observer, probes: Router) -> Router {
    Router::new()
        // On the routes only: whatever is merged into them cannot be reached without a Scope.
        .merge(
            tenant_routes(limits)
                .route_layer(middleware::from_fn_with_state(state.clone(), auth::require_scope)),
        )
        .merge(
            public_routes(limits)
                .route_layer(middleware::from_fn_with_state(state.clone(), rate::per_address)),
        )
        .method_not_allowed_fallback(async || {
            ApiError::new(Code::MethodNotAllowed, "this route does not have this method")
        })
        .fallback(async || ApiError::not_found("there is no such route"))
        .with_state(state.clone())
        .layer(DefaultBodyLimit::max(limits.body_bytes))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(observer, observe::observe))
        .merge(probes)
}

/// The routes of a tenant, behind a token. Each is described in [`crate::describe::routes`].
pub fn tenant_routes(limits: &Limits) -> Router<AppState> {
    let short = |routes: Router<AppState>| limits.apply(routes, Duration::ZERO);
    Router::new()
        .merge(short(data::router()))
        .merge(short(auth::router()))
        .merge(short(search::router()))
        .merge(short(audit::router()))
        .merge(short(describe::router()))
        .merge(short(jobs::router()))
        .merge(limits.apply(jobs::lease_router(), jobs::MAX_WAIT))
}

/// The routes that need no token of a tenant. Each is described in [`crate::describe::routes`].
pub fn public_routes(limits: &Limits) -> Router<AppState> {
    let short = |routes: Router<AppState>| limits.apply(routes, Duration::ZERO);
    Router::new()
        .merge(short(admin::router()))
        .merge(short(auth::public_router()))
        .merge(short(describe::public_router()))
}

fn panicked(panic: Box<dyn std::any::Any + Send>) -> axum::response::Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a text");
    ApiError::internal(format!("a handler panicked: {text}")).into_response()
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request, routing::get};
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_problem_document_and_keeps_its_text() {
        let router: Router = Router::new()
            .route("/", get(async || -> &'static str { panic!("secret") }))
            .layer(CatchPanicLayer::custom(panicked));
        let response = router.oneshot(Request::new(Body::empty())).await.unwrap();
        assert_eq!(response.status(), 500);
        let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        let text = String::from_utf8_lossy(&body);
        assert!(text.contains("\"internal\"") && !text.contains("secret"), "{text}");
    }
}
