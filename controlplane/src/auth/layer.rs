//! Puts the [`Scope`] on the requests of tenant routes, or answers in their place.

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{
    caller::{RequestInfo, Scope},
    tenant,
    token::Refused,
};
use crate::{error::ApiError, state::AppState};

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        Self::unauthenticated(refused.to_string())
    }
}

/// Lets a request through only with a token for the tenant that it is for.
pub async fn require_scope(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match scope(&state, &parts) {
        Ok(scope) => {
            tracing::Span::current().record("tenant", scope.tenant.name.as_str());
            parts.extensions.insert(scope);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(error) => error.into_response(),
    }
}

fn scope(state: &AppState, parts: &axum::http::request::Parts) -> Result<Scope, ApiError> {
    let token = tenant::bearer(&parts.headers, &parts.uri)?;
    let verified = state.tokens.verify(token)?;
    let tenant = tenant::resolve(&state.registry.snapshot(), &parts.headers, &parts.uri, &verified)?;
    Ok(Scope { tenant, caller: verified.caller, request: RequestInfo::of(parts) })
}
