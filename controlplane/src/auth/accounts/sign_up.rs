//! New accounts, and what is proved by e-mail.

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    Signed, User, Visit, attempts, journal,
    one_time::{self, Brings, Kind, Seen},
    users::{self, Changed, NewUser},
    weak,
};
use crate::{
    auth::{
        AppRole, Caller,
        address::{Address, canonical},
        password::{Checked, Password},
        secret::Purpose,
        sql::{self, Failed},
        token::unix_now,
    },
    error::{ApiError, Code, FieldError},
    postgres::Group,
};

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
    /// Merged into what is there; members that are null are taken out.
    pub metadata: Option<Map<String, Value>>,
    /// A code of the authenticator, in the place of the password.
    pub totp: Option<String>,
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
        let email = address(&new.email)?;
        check(new.display_name.as_deref(), &new.metadata)?;
        let password = Password::new(new.password);
        let wrong = policy.weaknesses(password.prepared(), &email.canonical);
        if !wrong.is_empty() {
            return Err(weak(wrong));
        }
        let hash = self.state.accounts.hasher.hash(self.tenant.uid, password).await?;
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
        let waits = policy.requires_verified_email();
        let mut group = vec![users::insert(&user, self.actor(&actor)), users::clock()];
        if policy.webhook().is_some() {
            let brings = Brings {
                password_hash: Some(hash.clone()),
                display_name: new.display_name.clone(),
                metadata: new.metadata.clone(),
            };
            let redirect_to = new.redirect_to.as_deref();
            group.push(one_time::issue_to_sign_up(id, &email.canonical, redirect_to, &brings, waits));
        }
        if waits {
            group.push(attempts::asked(self.secrets(), self.tenant.origin, &email.canonical));
        }
        let reply = self.run(Group::write(group)).await?;
        if waits {
            // Whoever gets no e-mail learns nothing: of an address that is known and of one that is not, the answer is made here, of what was
            // sent and the time of the transaction.
            let now = reply.rows.iter().find_map(users::read_clock);
            let now = now.ok_or_else(|| ApiError::internal("the database told no time"))?;
            return Ok(Registered::Waiting(Box::new(User {
                id,
                email: email.canonical,
                email_as_written: email.written,
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
            })));
        }
        let user = reply.rows.iter().find_map(|row| User::read(row, 0)).ok_or_else(taken)?;
        Ok(Registered::In(Box::new(self.start(user, false, Vec::new()).await?)))
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
        let email = address(&new.email)?;
        check(new.display_name.as_deref(), &Map::new())?;
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
        let token =
            one_time::issue(Uuid::now_v7(), Kind::Invite, id, email.mailbox(), new.redirect_to.as_deref());
        let group = Group::write(vec![users::insert(&user, self.actor(&by.user)), token]);
        let reply = self.run(group).await?;
        reply.rows.first().and_then(|row| User::read(row, 0)).ok_or_else(taken)
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
        if self.tenant.auth.webhook().is_none() {
            return Ok(());
        }
        let email = canonical(email);
        let asked = attempts::asked(self.secrets(), self.tenant.origin, &email);
        let issue = one_time::issue_to(Uuid::now_v7(), kind, &email, redirect_to, any);
        self.run(Group::write(vec![asked, issue])).await?;
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
        let reply = self.run(Group::read(one_time::peek(named.id, kinds))).await?;
        let seen = Seen::read(reply.rows.first().ok_or_else(unknown)?)?;
        let password = password.map(Password::new);
        if let Some(wrong) =
            password.as_ref().map(|password| self.tenant.auth.weaknesses(password.prepared(), &seen.email))
            && !wrong.is_empty()
        {
            return Err(weak(wrong));
        }
        // Somebody proves for the first time that the address is theirs: what was set without that is not theirs.
        let anew = seen.unproven && (seen.kind == Kind::Recover || seen.brings.is_some());
        let factor = seen.factor.filter(|_| !anew);
        if let Some(factor) = &factor {
            self.guess_code(factor, code).await?;
        }
        let brings = seen.brings.filter(|_| anew).unwrap_or_default();
        let hash = match password {
            Some(password) => Some(self.state.accounts.hasher.hash(self.tenant.uid, password).await?),
            None => brings.password_hash,
        };
        let email = match seen.kind {
            Kind::ChangeEmail => Some(address(&seen.email)?),
            _ => None,
        };
        let changed = Changed {
            password_hash: hash.as_deref(),
            email: email.as_ref(),
            display_name: brings.display_name.as_deref(),
            metadata: anew.then_some(&brings.metadata),
            verified: true,
            anew,
            by: Some((named.id, kinds)),
            session: None,
            told: self.tenant.auth.webhook().is_some(),
        };
        let id = seen.user.to_string();
        // Whoever reads the mail has what it was for: older mail opens nothing any more.
        let mut group = vec![users::update(seen.user, &changed, self.actor(&id)), one_time::void(seen.user)];
        if anew {
            group.push(self.noted_factor(seen.user));
        }
        let group = Group::write(group);
        let reply = sql::run_or_refused(self.tenant, group).await.map_err(|failed| match failed {
            Failed::Duplicate => {
                ApiError::new(Code::UserAlreadyExists, "the address is another account's by now")
            }
            Failed::Other(error) => error,
        })?;
        // No row: somebody else redeemed it a moment ago, or the account is gone or was disabled.
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
        let email = changes.email.as_deref().map(address).transpose()?;
        let email = email.filter(|new| new.canonical != known.email || new.mailbox() != known.mailbox());
        check(changes.display_name.as_deref(), changes.metadata.as_ref().unwrap_or(&Map::new()))?;
        if let Some(metadata) = &changes.metadata {
            check_merged(&known.metadata, metadata)?;
        }
        if email.is_some() && self.tenant.auth.webhook().is_none() {
            return Err(ApiError::forbidden(
                "this tenant sends no e-mail, so a new address cannot be verified",
            )
            .hint("ask an administrator to change the address"));
        }
        let password = changes.password.map(Password::new);
        if let Some(password) = &password {
            let wrong = self.tenant.auth.weaknesses(password.prepared(), &known.email);
            if !wrong.is_empty() {
                return Err(weak(wrong));
            }
        }
        let shown = Shown { password: changes.current_password, code: changes.totp };
        match (&email, &password) {
            (Some(_), _) => self.prove(&known, shown).await?,
            (None, Some(_)) if !is_recent(session) => self.prove(&known, shown).await?,
            _ => {}
        }
        let hash = match password {
            Some(password) => Some(self.state.accounts.hasher.hash(self.tenant.uid, password).await?),
            None => None,
        };
        let id = user.to_string();
        let changed = Changed {
            password_hash: hash.as_deref(),
            display_name: changes.display_name.as_deref(),
            metadata: changes.metadata.as_ref(),
            session,
            told: self.tenant.auth.webhook().is_some(),
            ..Changed::default()
        };
        let mut group = Vec::new();
        if hash.is_some() || changed.display_name.is_some() || changed.metadata.is_some() {
            group.push(users::update(user, &changed, self.actor(&id)));
        }
        let updates = !group.is_empty();
        // After the password, which takes all tokens of before back.
        if let Some(email) = email {
            group.push(one_time::tell(user, known.mailbox(), "email_requested"));
            let redirect_to = changes.redirect_to.as_deref();
            group.push(one_time::issue(
                Uuid::now_v7(),
                Kind::ChangeEmail,
                user,
                email.mailbox(),
                redirect_to,
            ));
            group.push(journal::address_change(user, &email.canonical, self.actor(&id)));
        }
        if group.is_empty() {
            return Ok(known);
        }
        let reply = self.run(Group::write(group)).await?;
        if updates && reply.rows.is_empty() {
            return Err(ApiError::new(Code::Conflict, "the account changed at this moment, or was disabled")
                .hint("read it again"));
        }
        self.user(user).await
    }

    /// Whether it is the user still, by the password or by a code of the authenticator.
    pub(super) async fn prove(self, user: &User, shown: Shown) -> Result<(), ApiError> {
        let Some(password) = shown.password else {
            if let Some(code) = shown.code.as_deref()
                && let Some(factor) = self.factor(user.id).await?.filter(|factor| factor.confirmed)
            {
                return self.guess_code(&factor, Some(code)).await;
            }
            return Err(ApiError::forbidden("show the password again for this")
                .hint("send it as current_password, or a code of the authenticator as totp"));
        };
        let attempt = self.attempt(&canonical(&user.email)).await?;
        let (hasher, stored) = (&self.state.accounts.hasher, user.password_hash.as_deref());
        match hasher.check(self.tenant.uid, Password::new(password), stored).await? {
            Checked::Wrong => {
                self.failed(Some(user.id), journal::Shown::Password).await?;
                Err(super::invalid_credentials())
            }
            Checked::Right | Checked::Upgraded(_) => self.succeeded(&attempt).await,
        }
    }
}

/// What somebody shows who changes what opens the account.
#[derive(Default)]
pub(super) struct Shown {
    pub password: Option<String>,
    pub code: Option<String>,
}

/// Whether the session began a short while ago, with something that opens the account.
fn is_recent(session: Option<Uuid>) -> bool {
    let began = session.and_then(|session| session.get_timestamp()).map(|at| at.to_unix().0);
    began.is_some_and(|began| unix_now().saturating_sub(began) < RECENT_SECONDS)
}

fn taken() -> ApiError {
    ApiError::new(Code::UserAlreadyExists, "there is an account with this e-mail address")
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

fn address(text: &str) -> Result<Address, ApiError> {
    Address::new(text).map_err(|wrong| invalid("/email", format!("is not an e-mail address: {wrong}")))
}

fn check(name: Option<&str>, metadata: &Map<String, Value>) -> Result<(), ApiError> {
    if name.is_some_and(|name| name.chars().count() > MAX_NAME) {
        return Err(invalid("/display_name", format!("must have at most {MAX_NAME} characters")));
    }
    bounded(metadata)
}

/// The bound is on what is kept, or many small changes would go beyond it. What makes it smaller is always possible.
fn check_merged(kept: &Map<String, Value>, change: &Map<String, Value>) -> Result<(), ApiError> {
    let mut merged = kept.clone();
    for (name, value) in change {
        match value {
            Value::Null => drop(merged.remove(name)),
            value => drop(merged.insert(name.clone(), value.clone())),
        }
    }
    bounded(&merged).or_else(|refused| if bytes_of(&merged) < bytes_of(kept) { Ok(()) } else { Err(refused) })
}

fn bytes_of(metadata: &Map<String, Value>) -> usize {
    serde_json::to_string(metadata).map_or(usize::MAX, |text| text.len())
}

fn bounded(metadata: &Map<String, Value>) -> Result<(), ApiError> {
    if bytes_of(metadata) > MAX_METADATA_BYTES {
        return Err(invalid("/data", format!("must have at most {MAX_METADATA_BYTES} bytes")));
    }
    Ok(())
}

pub(in crate::auth) fn invalid(pointer: &str, message: String) -> ApiError {
    let field = pointer.trim_start_matches('/').to_owned();
    ApiError::new(Code::ValidationFailed, format!("{field} {message}"))
        .with_errors(vec![FieldError { pointer: pointer.to_owned(), message }])
}
