//! Who calls, and for which tenant.

use std::{
    convert::Infallible,
    net::IpAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{extract::FromRequestParts, http::request::Parts};
use serde_json::{Map, Value};
use tenantry_crds::names::{AppName, RoleName};
use uuid::Uuid;

use super::id::UserId;
use crate::{error::ApiError, load::Load, registry::TenantEntry};

/// Proof that the tenant is served and that the token was issued for it. Whatever reads or writes a tenant's data takes one.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The tenant.
    pub tenant: Arc<TenantEntry>,
    /// Who calls.
    pub caller: Arc<Caller>,
    /// What the call rests on.
    pub proof: Proof,
    /// The request, for journals.
    pub request: RequestInfo,
}

/// What a call rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Proof {
    /// The user's document, where the user is one of the tenant's own.
    pub user: Option<Uuid>,
    /// The session, for a token of a user who signed in.
    pub session: Option<Uuid>,
    /// The API key.
    pub key: Option<Uuid>,
    /// The version of the user's document that the roles are from.
    pub version: Option<i64>,
    /// Whether the session has a second factor.
    pub second_factor: bool,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user's id.
    pub user: Arc<str>,
    /// The roles, each of an app.
    pub roles: Vec<AppRole>,
    /// Whether the user administers the tenant: everything is allowed.
    pub admin: bool,
    /// Whether nobody has signed in: what is given to every user is not given to this one.
    pub anonymous: bool,
    /// What else is said of the user, for row rules.
    pub claims: Map<String, Value>,
}

/// A role of an app, `{app}:{role}` in a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppRole {
    /// The app.
    pub app: AppName,
    /// The role.
    pub role: RoleName,
}

impl AppRole {
    /// Reads `{app}:{role}`; nothing for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let (app, role) = text.split_once(':')?;
        Some(Self { app: AppName::new(app).ok()?, role: RoleName::new(role).ok()? })
    }
}

impl Caller {
    /// The role in a token that makes an administrator.
    pub const ADMIN: &str = "admin";
    /// The role of an API key that makes nobody in particular of whoever has it.
    pub const ANON: &str = "anon";

    /// A user with the roles of a token. A role that no app can have gives nothing.
    pub fn new(user: &str, roles: &[String]) -> Self {
        Self {
            user: user.into(),
            roles: roles.iter().filter_map(|role| AppRole::parse(role)).collect(),
            admin: roles.iter().any(|role| role == Self::ADMIN),
            anonymous: false,
            claims: Map::new(),
        }
    }

    /// The same with what else is said of the user.
    #[must_use]
    pub fn with_claims(self, claims: Map<String, Value>) -> Self {
        Self { claims, ..self }
    }

    /// Nobody in particular, with the role `anon` of each of `apps`.
    pub fn anonymous<'a>(apps: impl IntoIterator<Item = &'a AppName>) -> Self {
        let anon = RoleName::new(Self::ANON).ok();
        let of = |app: &AppName| Some(AppRole { app: app.clone(), role: anon.clone()? });
        let roles = apps.into_iter().filter_map(of).collect();
        Self { roles, anonymous: true, ..Self::new(&UserId::Anonymous.to_string(), &[]) }
    }

    /// Whether the user has `role` of `app`. An administrator has the roles of the token, no more: see [`Self::admin`].
    pub fn has_role(&self, app: &AppName, role: &str) -> bool {
        self.roles.iter().any(|held| held.app == *app && held.role.as_str() == role)
    }
}

/// The request, for journals and logs.
#[derive(Debug, Clone)]
pub struct RequestInfo {
    /// The request's id.
    pub id: Arc<str>,
    /// The address that the request came from.
    pub client: Option<Arc<str>>,
    /// The same, for limits, lockouts and the address lists of API keys.
    pub address: Option<IpAddr>,
    /// The trace that it belongs to, as a `traceparent` to pass on.
    pub trace: Option<Arc<str>>,
    /// What became known of it on the way.
    pub seen: Arc<Seen>,
    /// What it holds of the process.
    pub load: Load,
}

/// What became known of a request on its way, for the log.
#[derive(Debug, Default)]
pub struct Seen {
    tenant: OnceLock<Arc<TenantEntry>>,
    caller: OnceLock<Arc<Caller>>,
    rows: AtomicU64,
}

impl Seen {
    /// Which tenant it is for.
    pub fn tenant(&self) -> Option<&TenantEntry> {
        self.tenant.get().map(|tenant| &**tenant)
    }

    /// Who calls.
    pub fn caller(&self) -> Option<&Caller> {
        self.caller.get().map(|caller| &**caller)
    }

    /// The request is for this tenant; nobody may have signed in.
    pub fn is_at(&self, tenant: &Arc<TenantEntry>) {
        let _first = self.tenant.set(Arc::clone(tenant));
    }

    /// The request is that of a caller.
    pub fn is_of(&self, scope: &Scope) {
        self.is_at(&scope.tenant);
        let _first = self.caller.set(Arc::clone(&scope.caller));
    }

    /// Rows that the database answered with.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// The database answered with so many rows.
    pub fn add_rows(&self, rows: usize) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
    }
}

impl Default for RequestInfo {
    fn default() -> Self {
        Self {
            id: "".into(),
            client: None,
            address: None,
            trace: None,
            seen: Arc::default(),
            load: Load::default(),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Scope {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            ApiError::internal("a route that takes a Scope stands outside of the tenant's layers")
        })
    }
}

impl<S: Sync> FromRequestParts<S> for RequestInfo {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts))
    }
}

impl RequestInfo {
    /// What the outer layers found out about the request.
    pub fn of(parts: &Parts) -> Self {
        parts.extensions.get::<Self>().cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_that_no_app_can_have_gives_nothing() {
        let roles = ["crm:sales", "sales", "crm:", "Crm:sales", "crm:a:b", "owner"].map(str::to_owned);
        let caller = Caller::new("alice", &roles);
        assert_eq!(caller.roles.len(), 1);
        assert!(caller.has_role(&AppName::new("crm").unwrap(), "sales"));
        assert!(!caller.has_role(&AppName::new("hr").unwrap(), "sales"));
        assert!(!caller.admin);
    }
}
