//! Puts the [`Scope`] on the requests of tenant routes, or answers in their place.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{Method, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tenantry_crds::core_app;

use super::{
    accounts::Visit,
    caller::{RequestInfo, Scope},
    oidc,
    standing::{self, Standing},
    tenant::{self, Credentials},
    token::{Refused, Verified},
};
use crate::{
    error::{ApiError, Nuance},
    registry::TenantEntry,
    state::AppState,
};

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let nuance = match refused {
            Refused::Missing => Some(Nuance::NoCredentials),
            Refused::BadKey => Some(Nuance::Key),
            Refused::Expired | Refused::BadClaims => Some(Nuance::Claims),
            Refused::SessionEnded => Some(Nuance::SessionEnded),
            Refused::UserGone => Some(Nuance::UserGone),
            Refused::Malformed | Refused::InQuery | Refused::NotAccessToken | Refused::BadSignature => None,
        };
        let error = Self::unauthenticated(refused.to_string());
        match nuance {
            Some(nuance) => error.nuance(nuance),
            None => error,
        }
    }
}

/// Lets a request through only with credentials for the tenant that it is for, and only as many as the limits allow.
pub async fn require_scope(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match admitted(&state, &parts).await {
        Ok(scope) => {
            scope.request.seen.is_of(&scope);
            let changing = changes_users(&parts).then(|| Arc::clone(&scope.tenant));
            parts.extensions.insert(scope);
            let response = next.run(Request::from_parts(parts, body)).await;
            if let Some(tenant) = changing.filter(|_| response.status().is_success()) {
                tenant.home.changes().catch_up(tenant.role.as_str()).await;
            }
            response
        }
        Err(error) => error.into_response(),
    }
}

async fn admitted(state: &AppState, parts: &Parts) -> Result<Scope, ApiError> {
    // Before the credentials are looked at: whoever guesses is counted.
    let address = parts.extensions.get::<RequestInfo>().and_then(|info| info.address);
    state.rates.of_address(address).await?;
    let scope = scope(state, parts).await?;
    state.rates.of_caller(&scope, parts.extensions.get::<MatchedPath>()).await?;
    Ok(scope)
}

/// Whether a request may change what tokens are held against.
fn changes_users(parts: &Parts) -> bool {
    const PROFILE: &str = "content-profile";
    let path = parts.uri.path();
    let under = |prefix: &str| path.starts_with(prefix);
    let of_core = || {
        parts
            .headers
            .get(PROFILE)
            .is_some_and(|profile| profile.as_bytes() == core_app::name().as_str().as_bytes())
    };
    !matches!(parts.method, Method::GET | Method::HEAD)
        && (under("/api/v1/auth/")
            || under("/auth/v1/")
            || under("/api/v1/data/core/")
            || (under("/rest/v1/") && of_core()))
}

/// Who makes a request, and for which tenant.
///
/// # Errors
/// When the credentials are not accepted, or the tenant is not served.
pub(super) async fn scope(state: &AppState, parts: &Parts) -> Result<Scope, ApiError> {
    let request = RequestInfo::of(parts);
    let (tenant, verified) = match tenant::credentials(&parts.headers, &parts.uri)? {
        Credentials::Token(token, key) => {
            let verified = match state.tokens.verify(token) {
                Ok(verified) => verified,
                Err(refused) => {
                    external(state, (parts, &request), token, key.map(|key| key.origin), refused).await?
                }
            };
            let tenant = resolve(state, parts, &verified)?;
            if key.is_some_and(|key| key.origin != tenant.origin) {
                return Err(ApiError::new(
                    crate::error::Code::TenantMismatch,
                    "the API key is of another tenant than the token",
                ));
            }
            request.load.of_tenant(tenant.uid)?;
            let verified = match standing::of_token(&tenant, &verified)? {
                Standing::Changed(now) => {
                    state.tokens.remember(token, &now);
                    now
                }
                Standing::Same => verified,
            };
            (tenant, verified)
        }
        Credentials::Key(text, key) => {
            let tenant =
                tenant::resolve_by_key(&state.registry.snapshot(), &parts.headers, &parts.uri, key.origin)?;
            request.load.of_tenant(tenant.uid)?;
            let opened = state.api_keys.open(&tenant, &state.accounts.secrets, (text, key)).await?;
            (tenant, opened.admit(&parts.method, request.address)?)
        }
    };
    Ok(Scope { tenant, caller: verified.caller, proof: verified.proof, request })
}

fn resolve(state: &AppState, parts: &Parts, verified: &Verified) -> Result<Arc<TenantEntry>, ApiError> {
    tenant::resolve(&state.registry.snapshot(), &parts.headers, &parts.uri, verified.tenant)
}

/// A token that is not ours may be of an issuer that the tenant trusts. It names no tenant of ours, so something else has to.
async fn external(
    state: &AppState,
    (parts, request): (&Parts, &RequestInfo),
    token: &str,
    by_key: Option<uuid::Uuid>,
    refused: Refused,
) -> Result<Verified, ApiError> {
    let tenant = {
        let snapshot = state.registry.snapshot();
        match tenant::named(&snapshot, &parts.headers, &parts.uri)? {
            Some(tenant) => Some(Arc::clone(tenant)),
            None => by_key.and_then(|origin| snapshot.by_origin(&origin).cloned()),
        }
    };
    match tenant.filter(|tenant| tenant.auth.has_oidc()) {
        Some(tenant) => {
            request.load.of_tenant(tenant.uid)?;
            oidc::verify(&state.issuers, &tenant, token, refused).await
        }
        None => Err(refused.into()),
    }
}

/// Somebody at the door of a tenant, who need not have credentials.
#[derive(Debug)]
pub(super) struct Visitor {
    pub tenant: Arc<TenantEntry>,
    request: RequestInfo,
    agent: Option<String>,
}

/// What of a user agent is kept with a session.
const MAX_AGENT: usize = 200;

impl FromRequestParts<AppState> for Visitor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let tenant = tenant::visited(&state.registry.snapshot(), &parts.headers, &parts.uri)?;
        let agent = parts.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        let agent = agent.map(|agent| agent.chars().take(MAX_AGENT).collect());
        let request = RequestInfo::of(parts);
        request.seen.is_at(&tenant);
        request.load.of_tenant(tenant.uid)?;
        Ok(Self { tenant, request, agent })
    }
}

impl Visitor {
    pub(super) fn visit<'a>(&'a self, state: &'a AppState) -> Visit<'a> {
        Visit { state, tenant: &self.tenant, request: &self.request, agent: self.agent.as_deref(), by: None }
    }
}

impl Scope {
    /// Users of the tenant have been changed: what their tokens open changes with the next request.
    pub async fn users_changed(&self) {
        self.tenant.home.changes().catch_up(self.tenant.role.as_str()).await;
    }

    pub(super) fn visit<'a>(&'a self, state: &'a AppState) -> Visit<'a> {
        Visit {
            state,
            tenant: &self.tenant,
            request: &self.request,
            agent: None,
            by: Some(&self.caller.user),
        }
    }
}
