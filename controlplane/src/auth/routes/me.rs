//! What users do with their own account, and administrators with those of others.

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    routing::{delete, get, post},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{admin, input::Input, session, signed};
use crate::{
    auth::{
        Scope,
        accounts::{Changes, Invitation, SignOut},
        redirect::Redirects,
        webhook,
    },
    error::ApiError,
    http::Path,
    state::AppState,
};

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/api/v1/auth/user", get(user).patch(change))
        .route("/api/v1/auth/logout", post(logout))
        .route("/api/v1/auth/sessions", get(sessions))
        .route("/api/v1/auth/sessions/{id}", delete(end_session))
        .route("/api/v1/auth/totp", get(totp).post(enrol).delete(remove))
        .route("/api/v1/auth/totp/confirm", post(confirm))
        .route("/api/v1/auth/totp/verify", post(step_up))
        .route("/api/v1/auth/invite", post(invite))
        .route("/api/v1/auth/webhook", get(mail_webhook))
        .route("/api/v1/auth/users/{id}/sessions", delete(end_sessions))
        .route("/api/v1/auth/users/{id}/totp", delete(reset_factor))
}

async fn user(State(state): State<AppState>, scope: Scope) -> Result<axum::Json<Value>, ApiError> {
    let mut shown = match scope.proof.user {
        Some(user) => scope.visit(&state).user(user).await?.shown(),
        None => json!({"id": &*scope.caller.user}),
    };
    let roles: Vec<String> =
        scope.caller.roles.iter().map(|role| format!("{}:{}", role.app, role.role)).collect();
    if let Some(shown) = shown.as_object_mut() {
        shown.insert(
            "session".into(),
            json!({
                "id": scope.proof.session, "roles": roles, "admin": scope.caller.admin,
                "second_factor": scope.proof.second_factor,
            }),
        );
    }
    Ok(axum::Json(shown))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeRequest {
    current_password: Option<String>,
    password: Option<String>,
    email: Option<String>,
    display_name: Option<String>,
    metadata: Option<Map<String, Value>>,
    totp: Option<String>,
    redirect_to: Option<String>,
}

async fn change(
    State(state): State<AppState>,
    scope: Scope,
    Input(request): Input<ChangeRequest>,
) -> Result<axum::Json<Value>, ApiError> {
    let (user, session) = session(&scope)?;
    let changes = Changes {
        redirect_to: Redirects::of(&scope.tenant).admit(request.redirect_to.as_deref())?,
        current_password: request.current_password,
        password: request.password,
        email: request.email,
        display_name: request.display_name,
        metadata: request.metadata,
        totp: request.totp,
    };
    Ok(axum::Json(scope.visit(&state).change(user, Some(session), changes).await?.shown()))
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct LogoutRequest {
    #[serde(default)]
    scope: LogoutScope,
}

/// Which sessions end.
#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "lowercase")]
pub(super) enum LogoutScope {
    #[default]
    Local,
    Others,
    Global,
}

impl LogoutScope {
    pub(super) fn of(self, session: Uuid) -> SignOut {
        match self {
            Self::Local => SignOut::Here(session),
            Self::Others => SignOut::Elsewhere(session),
            Self::Global => SignOut::Everywhere,
        }
    }
}

async fn logout(
    State(state): State<AppState>,
    scope: Scope,
    body: axum::body::Bytes,
) -> Result<StatusCode, ApiError> {
    let request: LogoutRequest = match body.len() {
        0 => LogoutRequest::default(),
        _ => serde_json::from_slice(&body).map_err(|error| ApiError::bad_request(error.to_string()))?,
    };
    let (user, session) = session(&scope)?;
    scope.visit(&state).sign_out(&scope.caller, user, request.scope.of(session)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn sessions(State(state): State<AppState>, scope: Scope) -> Result<axum::Json<Value>, ApiError> {
    let (user, session) = session(&scope)?;
    Ok(axum::Json(json!({"items": scope.visit(&state).sessions(user, Some(session)).await?})))
}

async fn end_session(
    State(state): State<AppState>,
    scope: Scope,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, ApiError> {
    let (user, _) = session(&scope)?;
    match scope.visit(&state).sign_out(&scope.caller, user, SignOut::Here(id)).await? {
        0 => Err(ApiError::not_found("there is no such session")),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

async fn totp(State(state): State<AppState>, scope: Scope) -> Result<axum::Json<Value>, ApiError> {
    let (user, _) = session(&scope)?;
    Ok(axum::Json(scope.visit(&state).factor_status(user).await?))
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct EnrolRequest {
    current_password: Option<String>,
}

async fn enrol(
    State(state): State<AppState>,
    scope: Scope,
    Input(request): Input<EnrolRequest>,
) -> Result<(StatusCode, axum::Json<Value>), ApiError> {
    let (user, _) = session(&scope)?;
    let enrolled = scope.visit(&state).enrol(user, request.current_password).await?;
    Ok((StatusCode::CREATED, axum::Json(enrolled)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CodeRequest {
    totp: String,
}

async fn confirm(
    State(state): State<AppState>,
    scope: Scope,
    Input(request): Input<CodeRequest>,
) -> Result<axum::Json<Value>, ApiError> {
    let (user, session) = session(&scope)?;
    let (codes, raised) = scope.visit(&state).confirm(user, session, &request.totp).await?;
    let mut answer = signed(&raised);
    answer["recovery_codes"] = json!(codes);
    Ok(axum::Json(answer))
}

async fn step_up(
    State(state): State<AppState>,
    scope: Scope,
    Input(request): Input<CodeRequest>,
) -> Result<axum::Json<Value>, ApiError> {
    let (user, session) = session(&scope)?;
    Ok(axum::Json(signed(&scope.visit(&state).step_up(user, session, &request.totp).await?)))
}

async fn remove(
    State(state): State<AppState>,
    scope: Scope,
    Input(request): Input<CodeRequest>,
) -> Result<StatusCode, ApiError> {
    let (user, session) = session(&scope)?;
    scope.visit(&state).remove_factor(user, session, &request.totp).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InviteRequest {
    email: String,
    display_name: Option<String>,
    #[serde(default)]
    roles: Vec<String>,
    redirect_to: Option<String>,
}

async fn invite(
    State(state): State<AppState>,
    scope: Scope,
    Input(request): Input<InviteRequest>,
) -> Result<(StatusCode, axum::Json<Value>), ApiError> {
    admin(&scope)?;
    let invitation = Invitation {
        email: request.email,
        display_name: request.display_name,
        roles: request.roles,
        redirect_to: Redirects::of(&scope.tenant).admit(request.redirect_to.as_deref())?,
    };
    let user = scope.visit(&state).invite(&scope.caller, invitation).await?;
    Ok((StatusCode::CREATED, axum::Json(user.shown())))
}

/// The secret is derived, so it can be told as often as it is asked for.
async fn mail_webhook(State(state): State<AppState>, scope: Scope) -> Result<axum::Json<Value>, ApiError> {
    admin(&scope)?;
    let tenant = &scope.tenant;
    let url = tenant.auth.webhook().ok_or_else(|| {
        ApiError::not_found("this tenant has no webhook").hint("name one in spec.auth.webhook of the Tenant")
    })?;
    let secret = webhook::secret(&state.accounts.secrets, tenant.uid);
    Ok(axum::Json(json!({"url": url, "secret": secret})))
}

async fn end_sessions(
    State(state): State<AppState>,
    scope: Scope,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, ApiError> {
    admin(&scope)?;
    scope.visit(&state).sign_out(&scope.caller, id, SignOut::Everywhere).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn reset_factor(
    State(state): State<AppState>,
    scope: Scope,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, ApiError> {
    admin(&scope)?;
    match scope.visit(&state).reset_factor(&scope.caller, id).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(ApiError::not_found("this user has no authenticator")),
    }
}
