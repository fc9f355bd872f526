//! What is told to other programs: the keys of tokens, and to gateways whether a request may pass.

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::get,
};

use crate::{
    auth::{Caller, layer},
    error::ApiError,
    state::AppState,
};

/// How long a reader may keep the keys. A new key has to be published for longer than that before it signs.
const CACHE: HeaderValue = HeaderValue::from_static("public, max-age=300");

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/.well-known/jwks.json", get(jwks))
        .route("/auth/v1/.well-known/jwks.json", get(jwks))
        .route("/api/v1/auth/forward", get(forward))
}

async fn jwks(State(state): State<AppState>) -> Response {
    let kind = HeaderValue::from_static("application/jwk-set+json");
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, CACHE)];
    (headers, state.tokens.jwks()).into_response()
}

/// For a gateway that asks before it lets a request through (ForwardAuth, `auth_request`): the answer has no body, and says in
/// its headers who calls. A gateway has to take these over what the caller sent under the same names.
async fn forward(State(state): State<AppState>, request: Request) -> Result<Response, ApiError> {
    let (mut parts, _) = request.into_parts();
    original(&mut parts);
    let scope = layer::scope(&state, &parts).await?;
    let mut roles: Vec<String> =
        scope.caller.roles.iter().map(|role| format!("{}:{}", role.app, role.role)).collect();
    roles.extend(scope.caller.admin.then(|| Caller::ADMIN.to_owned()));
    let value = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
    let headers = [
        (HeaderName::from_static("x-user-id"), value(&scope.caller.user)),
        (HeaderName::from_static("x-tenant"), value(scope.tenant.name.as_str())),
        (HeaderName::from_static("x-roles"), value(&roles.join(","))),
    ];
    Ok((StatusCode::OK, headers).into_response())
}

/// The request that the gateway asks about: its host and its method. They bound what a token opens and give nothing, so a
/// caller who makes them up gains nothing.
fn original(parts: &mut Parts) {
    if let Some(host) = parts.headers.get("x-forwarded-host").cloned() {
        parts.headers.insert(header::HOST, host);
    }
    let method = parts.headers.get("x-forwarded-method").and_then(|method| method.to_str().ok());
    if let Some(method) = method.and_then(|method| method.parse().ok()) {
        parts.method = method;
    }
}
