//! Sign in, go on, exchange; sign up, verify, reset.

use std::time::Duration;

use axum::{Router, extract::State, http::StatusCode, routing::post};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{input::Input, signed};
use crate::{
    auth::{
        accounts::{NewAccount, Registered, one_time::Kind},
        api_key::ApiKey,
        layer::Visitor,
        redirect::Redirects,
        standing::{self, Standing},
        token::{Grant, unix_now},
    },
    error::{ApiError, Code},
    state::AppState,
};

/// Seconds that a token for another audience may live: whoever gets it cannot be told that it holds no more.
const EXCHANGED: std::ops::RangeInclusive<u64> = 60..=300;
const EXCHANGED_DEFAULT: u64 = 120;

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/api/v1/auth/token", post(token))
        .route("/api/v1/auth/signup", post(sign_up))
        .route("/api/v1/auth/recover", post(recover))
        .route("/api/v1/auth/verify", post(verify))
        .route("/api/v1/auth/reset", post(reset))
}

#[derive(Deserialize)]
#[serde(tag = "grant_type")]
enum TokenRequest {
    #[serde(rename = "password")]
    Password {
        #[serde(alias = "username")]
        email: String,
        password: String,
        totp: Option<String>,
    },
    #[serde(rename = "refresh_token")]
    Refresh { refresh_token: String },
    #[serde(rename = "urn:ietf:params:oauth:grant-type:token-exchange")]
    Exchange { subject_token: String, audience: String, expires_in: Option<u64> },
}

async fn token(
    State(state): State<AppState>,
    visitor: Visitor,
    Input(request): Input<TokenRequest>,
) -> Result<axum::Json<Value>, ApiError> {
    let visit = visitor.visit(&state);
    let answer = match request {
        TokenRequest::Password { email, password, totp } => {
            signed(&visit.sign_in(&email, password, totp.as_deref()).await?)
        }
        TokenRequest::Refresh { refresh_token } => signed(&visit.refresh(&refresh_token).await?),
        TokenRequest::Exchange { subject_token, audience, expires_in } => {
            exchange(&state, &visitor, &subject_token, audience, expires_in)?
        }
    };
    Ok(axum::Json(answer))
}

/// A short token for another service, in exchange for one of ours.
fn exchange(
    state: &AppState,
    visitor: &Visitor,
    subject: &str,
    audience: String,
    expires_in: Option<u64>,
) -> Result<Value, ApiError> {
    let tenant = &visitor.tenant;
    if ApiKey::is_one(subject) {
        return Err(ApiError::unauthenticated(
            "an API key is not exchanged: another service cannot be told how it may be used",
        )
        .hint("exchange the access token of somebody who signed in"));
    }
    let verified = state.tokens.verify(subject)?;
    if verified.tenant != tenant.uid {
        return Err(ApiError::new(Code::TenantMismatch, "the token was issued for another tenant"));
    }
    let verified = match standing::of_token(tenant, &verified)? {
        Standing::Changed(now) => now,
        Standing::Same => verified,
    };
    if !tenant.auth.may_exchange(&audience) || state.tokens.is_for(&audience) {
        return Err(ApiError::forbidden("tokens are not exchanged for this audience")
            .hint("spec.auth.audiences of the Tenant lists those they are exchanged for"));
    }
    let left = verified.exp.saturating_sub(unix_now());
    let seconds =
        expires_in.unwrap_or(EXCHANGED_DEFAULT).clamp(*EXCHANGED.start(), *EXCHANGED.end()).min(left);
    let caller = &verified.caller;
    let mut roles: Vec<String> =
        caller.roles.iter().map(|role| format!("{}:{}", role.app, role.role)).collect();
    roles.extend(caller.admin.then(|| crate::auth::Caller::ADMIN.to_owned()));
    let grant = Grant {
        tenant: tenant.uid,
        user: caller.user.to_string(),
        roles,
        claims: Map::new(),
        proof: verified.proof,
        lifetime: Duration::from_secs(seconds),
    };
    let token = state.tokens.issue_for(grant, audience).map_err(ApiError::internal)?;
    Ok(json!({
        "access_token": token, "token_type": "Bearer", "expires_in": seconds,
        "issued_token_type": "urn:ietf:params:oauth:token-type:jwt",
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignUpRequest {
    email: String,
    password: String,
    display_name: Option<String>,
    #[serde(default)]
    metadata: Map<String, Value>,
    redirect_to: Option<String>,
}

async fn sign_up(
    State(state): State<AppState>,
    visitor: Visitor,
    Input(request): Input<SignUpRequest>,
) -> Result<(StatusCode, axum::Json<Value>), ApiError> {
    let redirect_to = Redirects::of(&visitor.tenant).admit(request.redirect_to.as_deref())?;
    let account = NewAccount {
        email: request.email,
        password: request.password,
        display_name: request.display_name,
        metadata: request.metadata,
        redirect_to,
    };
    Ok(match visitor.visit(&state).sign_up(account).await? {
        Registered::In(done) => (StatusCode::CREATED, axum::Json(signed(&done))),
        Registered::Waiting(user) => {
            (StatusCode::ACCEPTED, axum::Json(json!({"user": user.shown(), "verification": "sent"})))
        }
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecoverRequest {
    email: String,
    redirect_to: Option<String>,
}

/// The answer is the same for an address that nobody has.
async fn recover(
    State(state): State<AppState>,
    visitor: Visitor,
    Input(request): Input<RecoverRequest>,
) -> Result<StatusCode, ApiError> {
    let redirect_to = Redirects::of(&visitor.tenant).admit(request.redirect_to.as_deref())?;
    visitor.visit(&state).ask(Kind::Recover, &request.email, redirect_to.as_deref(), true).await?;
    Ok(StatusCode::ACCEPTED)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VerifyRequest {
    token: String,
    totp: Option<String>,
}

async fn verify(
    State(state): State<AppState>,
    visitor: Visitor,
    Input(request): Input<VerifyRequest>,
) -> Result<axum::Json<Value>, ApiError> {
    let kinds = [Kind::Verify, Kind::ChangeEmail];
    let done = visitor.visit(&state).redeem(&request.token, &kinds, None, request.totp.as_deref()).await?;
    Ok(axum::Json(signed(&done)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResetRequest {
    token: String,
    password: String,
    totp: Option<String>,
}

/// Sets a password by a token of a recovery or an invitation, and signs in.
async fn reset(
    State(state): State<AppState>,
    visitor: Visitor,
    Input(request): Input<ResetRequest>,
) -> Result<axum::Json<Value>, ApiError> {
    let kinds = [Kind::Recover, Kind::Invite];
    let visit = visitor.visit(&state);
    let done = visit.redeem(&request.token, &kinds, Some(request.password), request.totp.as_deref()).await?;
    Ok(axum::Json(signed(&done)))
}
