//! New accounts, and what is proved by e-mail.

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    SignOut, Signed, User, Visit,
    factors::{self, Factor},
    journal,
    one_time::{self, Kind, Redeemed},
    sessions::{self, Which},
    users::{self, Changed, NewUser},
    weak,
};
use crate::{
    auth::{
        AppRole, Caller,
        password::Checked,
        secret::Purpose,
        sql::{self, Failed, array},
        token::unix_now,
    },
    error::{ApiError, Code, FieldError},
    postgres::Group,
};

/// The longest e-mail address, by RFC 5321.
const MAX_EMAIL: usize = 254;
const MAX_NAME: usize = 140;
const MAX_METADATA_BYTES: usize = 16 * 1024;
/// Seconds after which somebody who changes what opens the account has to show the password again.
const RECENT_SECONDS: u64 = 3600;

/// An account that somebody asks for.
#[derive(Default)]
pub(in crate::auth) struct NewAccount {
    pub email: String,
    pub password: String,
    pub display_name: Option<String>,
    pub metadata: Map<String, Value>,
    pub redirect_to: Option<String>,
}

/// What became of it.
pub(in crate::auth) enum Registered {
    /// Signed in at once.
    In(Box<Signed>),
    /// Waits for the address to be verified.
    Waiting(Box<User>),
}

/// Whom an administrator invites.
#[derive(Debug, Default)]
pub(in crate::auth) struct Invitation {
    pub email: String,
    pub display_name: Option<String>,
    pub roles: Vec<String>,
    pub redirect_to: Option<String>,
}

/// What users change of themselves.
#[derive(Default)]
pub(in crate::auth) struct Changes {
    pub redirect_to: Option<String>,
    pub current_password: Option<String>,
    pub password: Option<String>,
    pub email: Option<String>,
    pub display_name: Option<String>,
    pub metadata: Option<Map<String, Value>>,
}

impl Visit<'_> {
    /// Makes an account for whoever asks, where the tenant allows it.
    ///
    /// # Errors
    /// When it does not, or something is wrong with the account.
    pub(in crate::auth) async fn sign_up(self, new: NewAccount) -> Result<Registered, ApiError> {
        let policy = &self.tenant.auth;
        if !policy.allows_sign_up() {
            return Err(ApiError::new(Code::SignupDisabled, "nobody may make an account here by themselves")
                .hint("ask an administrator for an account or an invitation"));
        }
        self.state.rates.of_sign_up(self.tenant.uid, self.request.address).await?;
        let email = users::normalized(&new.email);
        check(&email, new.display_name.as_deref(), &new.metadata)?;
        let wrong = policy.weaknesses(&new.password, &email);
        if !wrong.is_empty() {
            return Err(weak(wrong));
        }
        let hash = self.state.accounts.hasher.hash(self.tenant.uid, new.password).await?;
        let id = Uuid::now_v7();
        let user = NewUser {
            id,
            email: &email,
            display_name: new.display_name.as_deref(),
            password_hash: Some(&hash),
            roles: policy.default_roles(),
            metadata: &new.metadata,
            verified: false,
        };
        let actor = id.to_string();
        let mut group = vec![users::insert(&user, self.actor(&actor))];
        let waits = policy.requires_verified_email();
        if waits || policy.webhook().is_some() {
            group.push(one_time::issue(Uuid::now_v7(), Kind::Verify, id, &email, new.redirect_to.as_deref()));
        }
        match sql::run_or_refused(self.tenant, Group::write(group)).await {
            Ok(reply) => {
                let user = reply.rows.first().and_then(|row| User::read(row, 0));
                let user = user.ok_or_else(|| ApiError::internal("an insert yielded no user"))?;
                if waits {
                    return Ok(Registered::Waiting(Box::new(user)));
                }
                Ok(Registered::In(Box::new(self.start(user, false, Vec::new()).await?)))
            }
            // Whoever gets no e-mail learns nothing: the answer is the one to a new address.
            Err(Failed::Duplicate) if waits => {
                self.remind(Kind::Verify, &email, new.redirect_to.as_deref(), false).await?;
                let now = jiff::Timestamp::now().to_string();
                Ok(Registered::Waiting(Box::new(User {
                    id,
                    email,
                    display_name: new.display_name,
                    password_hash: None,
                    roles: policy.default_roles().to_vec(),
                    enabled: true,
                    claims: Map::new(),
                    metadata: new.metadata,
                    email_verified_at: None,
                    created_at: now.clone(),
                    updated_at: now,
                    version: 1,
                })))
            }
            Err(Failed::Duplicate) => {
                Err(ApiError::new(Code::UserAlreadyExists, "there is an account with this e-mail address"))
            }
            Err(Failed::Other(error)) => Err(error),
        }
    }

    /// Invites somebody: an account without a password, and a token to set one.
    ///
    /// # Errors
    /// When the tenant allows no invitations, or something is wrong with this one.
    pub(in crate::auth) async fn invite(self, by: &Caller, new: Invitation) -> Result<User, ApiError> {
        if !self.tenant.auth.allows_invites() {
            return Err(ApiError::forbidden("this tenant allows no invitations")
                .hint("spec.auth.invites of the Tenant allows them"));
        }
        let email = users::normalized(&new.email);
        check(&email, new.display_name.as_deref(), &Map::new())?;
        check_roles(&new.roles)?;
        let (id, metadata) = (Uuid::now_v7(), Map::new());
        let user = NewUser {
            id,
            email: &email,
            display_name: new.display_name.as_deref(),
            password_hash: None,
            roles: &new.roles,
            metadata: &metadata,
            verified: false,
        };
        let token = one_time::issue(Uuid::now_v7(), Kind::Invite, id, &email, new.redirect_to.as_deref());
        let group = Group::write(vec![users::insert(&user, self.actor(&by.user)), token]);
        match sql::run_or_refused(self.tenant, group).await {
            Ok(reply) => reply
                .rows
                .first()
                .and_then(|row| User::read(row, 0))
                .ok_or_else(|| ApiError::internal("an insert yielded no user")),
            Err(Failed::Duplicate) => {
                Err(ApiError::new(Code::UserAlreadyExists, "there is an account with this e-mail address"))
            }
            Err(Failed::Other(error)) => Err(error),
        }
    }

    /// Has a one-time token sent to an address, if it is known here. The answer tells nothing of that.
    ///
    /// # Errors
    /// When the database does not answer, or somebody asks too often.
    pub(in crate::auth) async fn ask(
        self,
        kind: Kind,
        email: &str,
        redirect_to: Option<&str>,
        any: bool,
    ) -> Result<(), ApiError> {
        self.state.rates.of_sign_up(self.tenant.uid, self.request.address).await?;
        self.remind(kind, email, redirect_to, any).await
    }

    async fn remind(
        self,
        kind: Kind,
        email: &str,
        redirect_to: Option<&str>,
        any: bool,
    ) -> Result<(), ApiError> {
        if self.tenant.auth.webhook().is_none() {
            return Ok(());
        }
        let addresses = array([email.trim(), &users::normalized(email)]);
        let issue = one_time::issue_to(Uuid::now_v7(), kind, &addresses, redirect_to, any);
        self.run(Group::write(vec![issue])).await?;
        Ok(())
    }

    /// Redeems a one-time token and signs in; with `password`, that is the account's from now on.
    ///
    /// # Errors
    /// When the token is not one of `kinds`, was used before or has expired.
    pub(in crate::auth) async fn redeem(
        self,
        token: &str,
        kinds: &[Kind],
        password: Option<String>,
        code: Option<&str>,
    ) -> Result<Signed, ApiError> {
        let unknown = || {
            ApiError::new(Code::TokenExpired, "the token is not known, was used before, or has expired")
                .hint("ask for a new one")
        };
        let named = self.secrets().open(Purpose::OneTime, self.tenant.uid, token).ok_or_else(unknown)?;
        let look = vec![one_time::peek(named.id, kinds), factors::of_token(named.id)];
        let reply = self.run(Group::read_all(look)).await?;
        let mut rows = reply.rows.iter();
        let seen = rows.next().and_then(Redeemed::read).ok_or_else(unknown)?;
        if let Some(wrong) =
            password.as_deref().map(|password| self.tenant.auth.weaknesses(password, &seen.email))
            && !wrong.is_empty()
        {
            return Err(weak(wrong));
        }
        let factor = rows.next().and_then(Factor::read);
        if let Some(factor) = &factor {
            self.guess_code(factor, code).await?;
        }
        let hash = match password {
            Some(password) => Some(self.state.accounts.hasher.hash(self.tenant.uid, password).await?),
            None => None,
        };
        let reply = self.run(Group::write(vec![one_time::redeem(named.id, kinds)])).await?;
        let redeemed = reply.rows.first().and_then(Redeemed::read).ok_or_else(unknown)?;
        let changed = Changed {
            password_hash: hash.as_deref(),
            email: (redeemed.kind == Kind::ChangeEmail).then_some(redeemed.email.as_str()),
            verified: true,
            ..Changed::default()
        };
        let id = redeemed.user.to_string();
        let mut group = vec![users::update(redeemed.user, &changed, self.actor(&id))];
        if hash.is_some() {
            group.push(sessions::end(redeemed.user, Which::All, self.actor(&id)));
        }
        let reply =
            sql::run_or_refused(self.tenant, Group::write(group)).await.map_err(|failed| match failed {
                Failed::Duplicate => {
                    ApiError::new(Code::UserAlreadyExists, "the address is another account's by now")
                }
                Failed::Other(error) => error,
            })?;
        // No row: the account is gone or was disabled.
        let user = reply.rows.first().and_then(|row| User::read(row, 0)).ok_or_else(unknown)?;
        self.start(user, factor.is_some(), Vec::new()).await
    }

    /// Changes what users may change of themselves.
    ///
    /// # Errors
    /// When something is wrong with the change, or the password has to be shown for it.
    pub(in crate::auth) async fn change(
        self,
        user: Uuid,
        session: Option<Uuid>,
        changes: Changes,
    ) -> Result<User, ApiError> {
        let known = self.user(user).await?;
        if changes.password.is_some() || changes.email.is_some() {
            self.prove(&known, session, changes.current_password).await?;
        }
        if let Some(metadata) = &changes.metadata {
            check(&known.email, changes.display_name.as_deref(), metadata)?;
        } else {
            check(&known.email, changes.display_name.as_deref(), &Map::new())?;
        }
        let hash = match changes.password {
            Some(password) => {
                let wrong = self.tenant.auth.weaknesses(&password, &known.email);
                if !wrong.is_empty() {
                    return Err(weak(wrong));
                }
                Some(self.state.accounts.hasher.hash(self.tenant.uid, password).await?)
            }
            None => None,
        };
        let id = user.to_string();
        let mut group = Vec::new();
        if let Some(email) = changes.email.as_deref().map(users::normalized).filter(|new| *new != known.email)
        {
            check(&email, None, &Map::new())?;
            if self.tenant.auth.webhook().is_none() {
                return Err(ApiError::forbidden(
                    "this tenant sends no e-mail, so a new address cannot be verified",
                )
                .hint("ask an administrator to change the address"));
            }
            let redirect_to = changes.redirect_to.as_deref();
            group.push(one_time::issue(Uuid::now_v7(), Kind::ChangeEmail, user, &email, redirect_to));
            group.push(journal::address_change(user, &email, self.actor(&id)));
        }
        let changed = Changed {
            password_hash: hash.as_deref(),
            display_name: changes.display_name.as_deref(),
            metadata: changes.metadata.as_ref(),
            ..Changed::default()
        };
        if hash.is_some() || changed.display_name.is_some() || changed.metadata.is_some() {
            group.push(users::update(user, &changed, self.actor(&id)));
        }
        if hash.is_some() {
            // Whoever knew the old password is out.
            group.push(one_time::void(user, &[Kind::Recover]));
            let which = session.map_or(Which::All, Which::AllBut);
            group.push(sessions::end(user, which, self.actor(&id)));
        }
        if group.is_empty() {
            return Ok(known);
        }
        self.run(Group::write(group)).await?;
        self.user(user).await
    }

    /// Whether it is the user still: a session that is young, or the password.
    pub(super) async fn prove(
        self,
        user: &User,
        session: Option<Uuid>,
        password: Option<String>,
    ) -> Result<(), ApiError> {
        let began = session.and_then(|session| session.get_timestamp()).map(|at| at.to_unix().0);
        if began.is_some_and(|began| unix_now().saturating_sub(began) < RECENT_SECONDS) {
            return Ok(());
        }
        let Some(password) = password else {
            return Err(ApiError::forbidden("show the password again for this")
                .hint("send it as current_password, or sign in again"));
        };
        let attempt = self.attempt(&users::normalized(&user.email)).await?;
        match self
            .state
            .accounts
            .hasher
            .check(self.tenant.uid, password, user.password_hash.as_deref())
            .await?
        {
            Checked::Wrong => {
                self.failed(Some(user.id), journal::Shown::Password).await?;
                Err(super::invalid_credentials())
            }
            Checked::Right | Checked::Upgraded(_) => self.succeeded(&attempt).await,
        }
    }

    /// Ends all sessions of a user, whoever asks for it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(in crate::auth) async fn sign_out_everywhere(self, user: Uuid) -> Result<usize, ApiError> {
        self.sign_out(user, SignOut::Everywhere).await
    }
}

/// # Errors
/// When a role is not one that a token can have.
pub(in crate::auth) fn check_roles(roles: &[String]) -> Result<(), ApiError> {
    let wrong = |role: &&String| *role != Caller::ADMIN && AppRole::parse(role).is_none();
    match roles.iter().find(wrong) {
        Some(role) => Err(invalid("/roles", format!("{role:?} is neither admin nor APP:ROLE"))),
        None => Ok(()),
    }
}

fn check(email: &str, name: Option<&str>, metadata: &Map<String, Value>) -> Result<(), ApiError> {
    let fits = email.len() <= MAX_EMAIL
        && email.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty() && domain.contains(|c: char| c.is_alphanumeric()) && !domain.contains('@')
        })
        && !email.contains(|c: char| c.is_whitespace() || c.is_control());
    if !fits {
        return Err(invalid("/email", "is not an e-mail address".to_owned()));
    }
    if name.is_some_and(|name| name.chars().count() > MAX_NAME) {
        return Err(invalid("/display_name", format!("must have at most {MAX_NAME} characters")));
    }
    if serde_json::to_string(metadata).map_or(usize::MAX, |text| text.len()) > MAX_METADATA_BYTES {
        return Err(invalid("/data", format!("must have at most {MAX_METADATA_BYTES} bytes")));
    }
    Ok(())
}

pub(in crate::auth) fn invalid(pointer: &str, message: String) -> ApiError {
    let field = pointer.trim_start_matches('/').to_owned();
    ApiError::new(Code::ValidationFailed, format!("{field} {message}"))
        .with_errors(vec![FieldError { pointer: pointer.to_owned(), message }])
}
