//! API keys.

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    routing::{delete, get},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tenantry_config::network::Network;
use uuid::Uuid;

use super::input::Input;
use crate::{
    auth::{
        AppRole, Caller, Scope,
        accounts::{Actor, check_roles, invalid},
        api_key::{self, NewKey},
        sql,
    },
    error::ApiError,
    http::Path,
    postgres::Group,
    state::AppState,
};

const MAX_NAME: usize = 140;
const MAX_ROLES: usize = 64;
const MAX_ADDRESSES: usize = 64;

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/api/v1/auth/keys", get(list).post(create))
        .route("/api/v1/auth/keys/{id}", delete(remove))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateRequest {
    name: String,
    roles: Option<Vec<String>>,
    expires_at: Option<String>,
    /// The user in whose name the key acts; administrators may leave it out, and others are themselves.
    acts_as: Option<Uuid>,
    #[serde(default)]
    read_only: bool,
    #[serde(default)]
    addresses: Vec<String>,
}

async fn create(
    State(state): State<AppState>,
    scope: Scope,
    Input(request): Input<CreateRequest>,
) -> Result<(StatusCode, axum::Json<Value>), ApiError> {
    let caller = &scope.caller;
    if scope.proof.key.is_some() {
        return Err(ApiError::forbidden("a key cannot make keys; sign in for it"));
    }
    let acts_as = if caller.admin { request.acts_as } else { Some(scope.proof.user.ok_or_else(not_a_user)?) };
    if request.acts_as.is_some() && request.acts_as != acts_as {
        return Err(ApiError::forbidden("only administrators make keys for others"));
    }
    let roles = match request.roles {
        Some(roles) => roles,
        None => caller.roles.iter().map(|role| format!("{}:{}", role.app, role.role)).collect(),
    };
    if request.name.is_empty() || request.name.chars().count() > MAX_NAME {
        return Err(invalid("/name", format!("must have 1 to {MAX_NAME} characters")));
    }
    if roles.len() > MAX_ROLES {
        return Err(invalid("/roles", format!("must have at most {MAX_ROLES} items")));
    }
    let anonymous = roles.iter().any(|role| role == Caller::ANON);
    if anonymous && (roles.len() > 1 || acts_as.is_some()) {
        return Err(invalid("/roles", "anon stands alone, and acts as nobody".to_owned()));
    }
    if !anonymous {
        check_roles(&roles)?;
        if let Some(role) = roles.iter().find(|role| !has(caller, role)) {
            return Err(ApiError::forbidden(format!("you cannot give a role that you do not have: {role}")));
        }
    }
    if request.addresses.len() > MAX_ADDRESSES {
        return Err(invalid("/addresses", format!("must have at most {MAX_ADDRESSES} items")));
    }
    if let Some(wrong) = request.addresses.iter().find(|net| net.parse::<Network>().is_err()) {
        return Err(invalid(
            "/addresses",
            format!("{wrong:?} is no address and no network, as in 10.0.0.0/8"),
        ));
    }
    let expires_at = match &request.expires_at {
        None => None,
        Some(text) => match text.parse::<jiff::Timestamp>() {
            Ok(at) if at > jiff::Timestamp::now() => Some(at.to_string()),
            _ => return Err(invalid("/expires_at", "must be a time in the future, in RFC 3339".to_owned())),
        },
    };
    let new = NewKey {
        name: &request.name,
        roles: &roles,
        expires_at: expires_at.as_deref(),
        acts_as,
        read_only: request.read_only,
        addresses: &request.addresses,
    };
    let (key, mut shown) =
        api_key::create(&scope.tenant, &state.accounts.secrets, &new, actor(&scope)).await?;
    shown["key"] = json!(key);
    Ok((StatusCode::CREATED, axum::Json(shown)))
}

async fn list(scope: Scope) -> Result<axum::Json<Value>, ApiError> {
    let group = Group::read(api_key::list(whose(&scope)?)).charged_to(&scope.request.load);
    let reply = sql::run(&scope.tenant, group).await?;
    let items: Vec<Value> = reply.rows.iter().map(api_key::shown).collect();
    Ok(axum::Json(json!({"items": items})))
}

async fn remove(scope: Scope, Path(id): Path<Uuid>) -> Result<StatusCode, ApiError> {
    let group = Group::write(vec![api_key::remove(id, whose(&scope)?, actor(&scope))]);
    match sql::run(&scope.tenant, group).await?.rows.is_empty() {
        true => Err(ApiError::not_found("there is no such key")),
        false => Ok(StatusCode::NO_CONTENT),
    }
}

/// Whose keys the caller may know of; nothing for all.
fn whose(scope: &Scope) -> Result<Option<Uuid>, ApiError> {
    match (scope.caller.admin, scope.proof.user) {
        (true, _) => Ok(None),
        (false, Some(user)) => Ok(Some(user)),
        (false, None) => Err(not_a_user()),
    }
}

fn has(caller: &Caller, role: &str) -> bool {
    caller.admin || AppRole::parse(role).is_some_and(|role| caller.has_role(&role.app, role.role.as_str()))
}

fn not_a_user() -> ApiError {
    ApiError::forbidden("keys are of users who signed in here")
}

fn actor(scope: &Scope) -> Actor<'_> {
    Actor { user: &scope.caller.user, request: &scope.request.id, client: scope.request.client.as_deref() }
}
