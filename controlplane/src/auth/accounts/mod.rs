//! What people do with their accounts: sign in, go on, sign out; sign up, verify, reset; second factors.
//!
//! - [`users`], [`sessions`], [`attempts`], [`factors`], [`one_time`] have the rows, one statement for each thing
//! - [`control`]: what ends when somebody else may have the control of an account
//! - [`forms`] gives addresses from before their one form
//! - [`journal`] has what of it stands in the audit journal and is no document
//! - [`sign_in`] has passwords and sessions, [`sign_up`] new accounts and what is proved by e-mail, [`second`] authenticators

mod attempts;
pub mod control;
mod factors;
mod forms;
mod journal;
#[cfg(test)]
mod on_servers;
pub(super) mod one_time;
mod second;
mod sessions;
mod sign_in;
mod sign_up;
pub(super) mod users;

use std::{sync::Arc, time::Duration};

use uuid::Uuid;

use super::{
    caller::{Proof, RequestInfo},
    password::Hasher,
    secret::{Named, Purpose, SecretKey},
    sql,
    token::Grant,
};
use crate::{
    error::{ApiError, Code},
    postgres::Group,
    registry::TenantEntry,
    state::AppState,
};
pub(super) use control::Actor;
pub use forms::{Clash, give_form};
pub(super) use sign_in::SignOut;
pub(super) use sign_up::{Changes, Invitation, NewAccount, Registered, check_roles, invalid};
pub(super) use users::User;

/// What accounts need beside the database.
#[derive(Debug)]
pub struct Accounts {
    /// What secrets derive from.
    pub secrets: SecretKey,
    /// Hashes passwords.
    pub hasher: Hasher,
}

/// Somebody at the door of a tenant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Visit<'a> {
    pub state: &'a AppState,
    pub tenant: &'a Arc<TenantEntry>,
    pub request: &'a RequestInfo,
    pub agent: Option<&'a str>,
    /// Who has shown already who they are.
    pub by: Option<&'a str>,
}

/// What somebody gets who signed in.
pub(super) struct Signed {
    pub access: String,
    pub session: Uuid,
    pub lifetime: Duration,
    pub refresh: String,
    pub user: User,
    /// Roles that wait for a second factor.
    pub withheld: Vec<String>,
}

impl<'a> Visit<'a> {
    fn secrets(&self) -> &'a SecretKey {
        &self.state.accounts.secrets
    }

    /// What second factors are made and read with.
    fn keys(&self) -> Result<factors::Keys<'a>, ApiError> {
        Ok(factors::Keys { derive: self.secrets(), safe: self.tenant.safe()?, origin: self.tenant.origin })
    }

    fn client(&self) -> Option<&'a str> {
        self.request.client.as_deref()
    }

    /// Whoever calls as who writes; `otherwise` where nobody has shown yet who they are.
    fn actor<'b>(&self, otherwise: &'b str) -> Actor<'b>
    where
        'a: 'b,
    {
        Actor { user: self.by.unwrap_or(otherwise), request: &self.request.id, client: self.client() }
    }

    async fn run(&self, group: Group) -> Result<crate::postgres::Reply, ApiError> {
        sql::run(self.tenant, group).await
    }

    /// The user with this id, who may be disabled.
    pub(super) async fn user(&self, id: Uuid) -> Result<User, ApiError> {
        let reply = self.run(Group::read(users::by_id(id))).await?;
        let user = reply.rows.first().and_then(|row| User::read(row, 0));
        user.ok_or_else(|| ApiError::not_found("there is no such user"))
    }

    /// The tokens of a session at `generation`.
    fn tokens(
        &self,
        user: User,
        session: Uuid,
        generation: u32,
        second_factor: bool,
    ) -> Result<Signed, ApiError> {
        let policy = &self.tenant.auth;
        let lifetime = policy.access_lifetime();
        let withheld = if second_factor { Vec::new() } else { policy.withheld_roles(&user.roles) };
        let withheld = withheld.into_iter().map(str::to_owned).collect();
        let grant = Grant {
            tenant: self.tenant.uid,
            user: user.id.to_string(),
            roles: policy.effective_roles(user.roles.clone(), second_factor),
            claims: user.claims.clone(),
            proof: Proof {
                session: Some(session),
                version: Some(user.version),
                second_factor,
                ..Proof::default()
            },
            lifetime,
        };
        let access = self.state.tokens.issue(grant).map_err(ApiError::internal)?;
        let named = Named { id: session, number: generation };
        let refresh = self.secrets().seal(Purpose::Refresh, self.tenant.uid, named);
        Ok(Signed { access, session, lifetime, refresh, user, withheld })
    }
}

/// The same answer for an account that does not exist, one without a password, and a wrong password.
fn invalid_credentials() -> ApiError {
    ApiError::new(Code::InvalidCredentials, "e-mail address and password do not belong together")
}

fn weak(wrong: Vec<String>) -> ApiError {
    let detail = format!("the password {}", wrong.join(", and "));
    let errors =
        wrong.into_iter().map(|message| crate::error::FieldError { pointer: "/password".into(), message });
    ApiError::new(Code::WeakPassword, detail).with_errors(errors.collect())
}
