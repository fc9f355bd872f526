//! The API over HTTP.
//!
//! Layers from the outside in: [`observe`] (request id, [`trace`] and [`spans`], log, metrics, headers, [`cors`], and the
//! [`dialect`] of refusals, those of all layers within), catch-panic, [`limits`] (time, load, size, memory), address, tenant and token, rates ([`crate::auth::require_scope`], [`crate::rate`]), handler.

mod cors;
mod dialect;
mod extract;
mod limits;
mod observe;
mod paced;
mod serve;
mod spans;
mod trace;

use std::time::Duration;

use axum::{Router, extract::DefaultBodyLimit, middleware, response::IntoResponse};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    admin, audit, auth, data, describe,
    error::{ApiError, Code, Nuance},
    jobs, rate, search,
    state::AppState,
};

pub use extract::{Content, Json, Path, Query, json};
pub use limits::Limits;
pub use observe::{HttpMetrics, Observer};
pub use paced::Pace;
pub use serve::serve;
pub use spans::Spans;

/// All routes. `probes` stand outside of the tenant's layers.
pub fn router(state: &AppState, limits: &Limits, observer: Observer, probes: Router) -> Router {
    Router::new()
        .merge(tenant_routes(limits, |routes| {
            routes.route_layer(middleware::from_fn_with_state(state.clone(), auth::require_scope))
        }))
        .merge(public_routes(limits, |routes| {
            routes.route_layer(middleware::from_fn_with_state(state.clone(), rate::per_address))
        }))
        .method_not_allowed_fallback(async || {
            ApiError::new(Code::MethodNotAllowed, "this route does not have this method")
        })
        .fallback(async || ApiError::not_found("there is no such route").nuance(Nuance::Route))
        .with_state(state.clone())
        .layer(DefaultBodyLimit::max(limits.body_bytes))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(observer, observe::observe))
        .merge(probes)
}

/// The routes of a tenant, all behind `guard`, which lets nobody through without a Scope. It stands inside of the limits: finding
/// out who calls waits for databases and issuers. Each route is described in [`crate::describe::routes`].
pub fn tenant_routes(
    limits: &Limits,
    guard: impl Fn(Router<AppState>) -> Router<AppState>,
) -> Router<AppState> {
    let usual = Router::new()
        .merge(data::router())
        .merge(auth::router())
        .merge(search::router())
        .merge(audit::router())
        .merge(describe::router())
        .merge(jobs::router());
    limits.apply(guard(usual)).merge(limits.apply_apart(guard(jobs::lease_router()), jobs::MAX_WAIT))
}

/// The routes that need no token of a tenant, all behind `guard`. Each is described in [`crate::describe::routes`].
pub fn public_routes(
    limits: &Limits,
    guard: impl Fn(Router<AppState>) -> Router<AppState>,
) -> Router<AppState> {
    let usual = Router::new().merge(auth::public_router()).merge(describe::public_router());
    // Apart, since they are of no tenant: anybody can have them ask the cluster who they are.
    limits.apply(guard(usual)).merge(limits.apply_apart(guard(admin::router()), Duration::ZERO))
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
