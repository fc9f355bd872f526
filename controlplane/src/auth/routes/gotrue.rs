//! `/auth/v1`: the same in the shape that Supabase's clients call. Refusals are put into that shape at the edge (`crate::http`).

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{input::Input, me::LogoutScope, session};
use crate::{
    auth::{
        Scope,
        accounts::{Changes, NewAccount, Registered, Signed, User, invalid, one_time::Kind},
        layer::Visitor,
        policy::AuthPolicy,
        redirect::Redirects,
        token::unix_now,
    },
    error::ApiError,
    http::Query,
    state::AppState,
};

pub(super) fn router() -> Router<AppState> {
    Router::new().route("/auth/v1/user", get(user).put(change)).route("/auth/v1/logout", post(logout))
}

pub(super) fn public_router() -> Router<AppState> {
    Router::new()
        .route("/auth/v1/token", post(token))
        .route("/auth/v1/signup", post(sign_up))
        .route("/auth/v1/recover", post(recover))
        .route("/auth/v1/resend", post(resend))
        .route("/auth/v1/verify", post(verify))
        .route("/auth/v1/settings", get(settings))
        .route("/auth/v1/health", get(health))
}

#[derive(Deserialize)]
struct GrantType {
    grant_type: String,
}

#[derive(Deserialize, Default)]
struct TokenRequest {
    email: Option<String>,
    password: Option<String>,
    refresh_token: Option<String>,
    /// Not of Supabase's shape: the code of a second factor.
    totp: Option<String>,
}

async fn token(
    State(state): State<AppState>,
    visitor: Visitor,
    Query(query): Query<GrantType>,
    Input(request): Input<TokenRequest>,
) -> Result<axum::Json<Value>, ApiError> {
    let visit = visitor.visit(&state);
    let missing = |field: &str| invalid(&format!("/{field}"), "is required".to_owned());
    let done = match query.grant_type.as_str() {
        "password" => {
            let email = request.email.ok_or_else(|| missing("email"))?;
            let password = request.password.ok_or_else(|| missing("password"))?;
            visit.sign_in(&email, password, request.totp.as_deref()).await?
        }
        "refresh_token" => {
            visit.refresh(&request.refresh_token.ok_or_else(|| missing("refresh_token"))?).await?
        }
        _ => return Err(ApiError::bad_request("grant_type is password or refresh_token")),
    };
    Ok(axum::Json(session_of(&done, &visitor.tenant.auth)))
}

#[derive(Deserialize)]
struct SignUpRequest {
    email: Option<String>,
    password: Option<String>,
    #[serde(default)]
    data: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct RedirectTo {
    redirect_to: Option<String>,
}

async fn sign_up(
    State(state): State<AppState>,
    visitor: Visitor,
    Query(query): Query<RedirectTo>,
    Input(request): Input<SignUpRequest>,
) -> Result<axum::Json<Value>, ApiError> {
    let missing = |field: &str| invalid(&format!("/{field}"), "is required".to_owned());
    let account = NewAccount {
        email: request.email.ok_or_else(|| missing("email"))?,
        password: request.password.ok_or_else(|| missing("password"))?,
        metadata: request.data.unwrap_or_default(),
        redirect_to: Redirects::of(&visitor.tenant).admit_or_site(query.redirect_to.as_deref()),
        ..NewAccount::default()
    };
    Ok(axum::Json(match visitor.visit(&state).sign_up(account).await? {
        Registered::In(done) => session_of(&done, &visitor.tenant.auth),
        Registered::Waiting(user) => user_of(&user, &visitor.tenant.auth, None),
    }))
}

#[derive(Deserialize)]
struct RecoverRequest {
    email: String,
}

async fn recover(
    State(state): State<AppState>,
    visitor: Visitor,
    Query(query): Query<RedirectTo>,
    Input(request): Input<RecoverRequest>,
) -> Result<axum::Json<Value>, ApiError> {
    let redirect_to = Redirects::of(&visitor.tenant).admit_or_site(query.redirect_to.as_deref());
    visitor.visit(&state).ask(Kind::Recover, &request.email, redirect_to.as_deref(), true).await?;
    Ok(axum::Json(json!({})))
}

async fn resend(
    State(state): State<AppState>,
    visitor: Visitor,
    Query(query): Query<RedirectTo>,
    Input(request): Input<RecoverRequest>,
) -> Result<axum::Json<Value>, ApiError> {
    let redirect_to = Redirects::of(&visitor.tenant).admit_or_site(query.redirect_to.as_deref());
    visitor.visit(&state).ask(Kind::Verify, &request.email, redirect_to.as_deref(), false).await?;
    Ok(axum::Json(json!({})))
}

#[derive(Deserialize)]
struct VerifyRequest {
    #[serde(rename = "type")]
    kind: String,
    token: Option<String>,
    token_hash: Option<String>,
    totp: Option<String>,
}

async fn verify(
    State(state): State<AppState>,
    visitor: Visitor,
    Input(request): Input<VerifyRequest>,
) -> Result<axum::Json<Value>, ApiError> {
    let kind = match request.kind.as_str() {
        "signup" | "email" => Kind::Verify,
        "recovery" => Kind::Recover,
        "invite" => Kind::Invite,
        "email_change" => Kind::ChangeEmail,
        _ => return Err(invalid("/type", "is signup, email, recovery, invite or email_change".to_owned())),
    };
    let token = request.token_hash.or(request.token);
    let token = token.ok_or_else(|| invalid("/token_hash", "is required".to_owned()))?;
    let done = visitor.visit(&state).redeem(&token, &[kind], None, request.totp.as_deref()).await?;
    Ok(axum::Json(session_of(&done, &visitor.tenant.auth)))
}

async fn settings(visitor: Visitor) -> axum::Json<Value> {
    let policy = &visitor.tenant.auth;
    axum::Json(json!({
        "external": {"email": true, "phone": false, "anonymous_users": false},
        "disable_signup": !policy.allows_sign_up(),
        "mailer_autoconfirm": !policy.requires_verified_email(),
        "phone_autoconfirm": false, "sms_provider": "", "saml_enabled": false,
    }))
}

async fn health() -> axum::Json<Value> {
    axum::Json(
        json!({"name": "Tenantry", "version": env!("CARGO_PKG_VERSION"), "description": "sign-in of tenants' users"}),
    )
}

async fn user(State(state): State<AppState>, scope: Scope) -> Result<axum::Json<Value>, ApiError> {
    let (user, session) = session(&scope)?;
    let user = scope.visit(&state).user(user).await?;
    Ok(axum::Json(user_of(&user, &scope.tenant.auth, began(session))))
}

#[derive(Deserialize)]
struct ChangeRequest {
    email: Option<String>,
    password: Option<String>,
    current_password: Option<String>,
    data: Option<Map<String, Value>>,
    /// Not of Supabase's shape: in the place of the password, for a new address.
    totp: Option<String>,
}

async fn change(
    State(state): State<AppState>,
    scope: Scope,
    Query(query): Query<RedirectTo>,
    Input(request): Input<ChangeRequest>,
) -> Result<axum::Json<Value>, ApiError> {
    let (user, session) = session(&scope)?;
    let changes = Changes {
        redirect_to: Redirects::of(&scope.tenant).admit_or_site(query.redirect_to.as_deref()),
        current_password: request.current_password,
        password: request.password,
        email: request.email,
        metadata: request.data,
        totp: request.totp,
        ..Changes::default()
    };
    let user = scope.visit(&state).change(user, Some(session), changes).await?;
    Ok(axum::Json(user_of(&user, &scope.tenant.auth, began(session))))
}

#[derive(Deserialize)]
struct LogoutQuery {
    scope: Option<LogoutScope>,
}

async fn logout(
    State(state): State<AppState>,
    scope: Scope,
    Query(query): Query<LogoutQuery>,
) -> Result<StatusCode, ApiError> {
    let (user, session) = session(&scope)?;
    let which = query.scope.unwrap_or(LogoutScope::Global).of(session);
    scope.visit(&state).sign_out(&scope.caller, user, which).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn session_of(done: &Signed, policy: &AuthPolicy) -> Value {
    let seconds = done.lifetime.as_secs();
    json!({
        "access_token": done.access, "token_type": "bearer", "expires_in": seconds,
        "expires_at": unix_now() + seconds, "refresh_token": done.refresh,
        "user": user_of(&done.user, policy, began(done.session)),
    })
}

/// When a session began: its id has the time in it.
fn began(session: Uuid) -> Option<String> {
    let (seconds, nanoseconds) = session.get_timestamp()?.to_unix();
    let at = jiff::Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanoseconds).ok()?).ok()?;
    Some(at.to_string())
}

/// Who signs up and has to verify the address gets the same, whether or not it is somebody's already: the list of identities that
/// GoTrue leaves empty then would tell who has an account.
fn user_of(user: &User, policy: &AuthPolicy, last_sign_in: Option<String>) -> Value {
    let mut app = user.claims.clone();
    app.insert("provider".into(), json!("email"));
    app.insert("providers".into(), json!(["email"]));
    app.insert("roles".into(), json!(user.roles));
    // Where nothing has to be verified an address counts as confirmed from the beginning.
    let taken_as_is = (!policy.requires_verified_email()).then_some(&user.created_at);
    let confirmed = user.email_verified_at.as_ref().or(taken_as_is);
    let mut identity = json!({
        "identity_id": user.id, "id": user.id, "user_id": user.id, "provider": "email", "email": user.email,
        "identity_data": {
            "sub": user.id, "email": user.email, "email_verified": confirmed.is_some(), "phone_verified": false,
        },
        "created_at": user.created_at, "updated_at": user.updated_at,
    });
    let mut shown = json!({
        "id": user.id, "aud": "authenticated", "role": "authenticated", "email": user.email, "phone": "",
        "email_confirmed_at": confirmed, "confirmed_at": confirmed, "app_metadata": app,
        "user_metadata": user.metadata, "is_anonymous": false, "created_at": user.created_at,
        "updated_at": user.updated_at,
    });
    if let Some(at) = last_sign_in {
        identity["last_sign_in_at"] = json!(at);
        shown["last_sign_in_at"] = json!(at);
    }
    shown["identities"] = json!([identity]);
    shown
}
