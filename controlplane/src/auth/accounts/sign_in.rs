//! Passwords and sessions.

use uuid::Uuid;

use super::{
    Signed, User, Visit,
    attempts::{Attempt, Tally},
    factors::Factor,
    invalid_credentials,
    journal::Shown,
    one_time,
    sessions::{self, NewSession, Rotated, Which},
    users::{self, AtTheDoor},
};
use crate::{
    auth::{
        Caller, UserId,
        address::canonical,
        password::{Checked, Password},
        secret::Purpose,
        token::unix_now,
    },
    error::{ApiError, Code, Nuance},
    postgres::{Bound, Group},
};

impl Visit<'_> {
    /// Signs in with a password, and a code where the user has a second factor.
    ///
    /// # Errors
    /// The same for an unknown account as for a wrong password, after the same work.
    pub(in crate::auth) async fn sign_in(
        self,
        email: &str,
        password: String,
        code: Option<&str>,
    ) -> Result<Signed, ApiError> {
        let address = canonical(email);
        let attempt = Attempt::new(self.secrets(), self.tenant.origin, &address, self.request.address);
        let group = vec![attempt.note(), attempt.blocked(), users::by_email(&address)];
        let reply = self.run(Group::write(group)).await?;
        let (mut tally, mut found) = (Tally::default(), None);
        for row in &reply.rows {
            if !tally.takes(row) {
                found = AtTheDoor::read(row)?;
            }
        }
        tally.admit()?;
        let stored = found.as_ref().and_then(|found| found.user.password_hash.as_deref());
        let checked =
            self.state.accounts.hasher.check(self.tenant.uid, Password::new(password), stored).await?;
        let AtTheDoor { user, factor } = match found {
            Some(found) if checked != Checked::Wrong && found.user.enabled => found,
            other => {
                self.failed(other.map(|found| found.user.id), Shown::Password).await?;
                return Err(invalid_credentials());
            }
        };
        if self.tenant.auth.requires_verified_email() && user.email_verified_at.is_none() {
            return Err(ApiError::new(Code::EmailNotConfirmed, "verify your e-mail address first"));
        }
        let second_factor = factor.is_some();
        if let Some(factor) = factor {
            self.use_code(&factor, code).await?;
        }
        let mut statements = Vec::from(attempt.forgive());
        if let (Checked::Upgraded(better), Some(old)) = (&checked, &user.password_hash) {
            statements.push(users::upgrade(user.id, old, better));
        }
        self.start(user, second_factor, statements).await
    }

    /// The same, as an attempt of its own: whoever has come by a session or an e-mail must not try all codes there are.
    pub(super) async fn guess_code(self, factor: &Factor, code: Option<&str>) -> Result<(), ApiError> {
        let attempt = self.attempt(&factor.user.to_string()).await?;
        self.use_code(factor, code).await?;
        self.succeeded(&attempt).await
    }

    /// Uses a code of the second factor up.
    async fn use_code(self, factor: &Factor, code: Option<&str>) -> Result<(), ApiError> {
        let code = code.filter(|code| !code.is_empty()).ok_or_else(|| {
            ApiError::new(Code::SecondFactorRequired, "this account has a second factor")
                .hint("send its code, or a recovery code, as totp")
        })?;
        let wrong = || ApiError::new(Code::InvalidSecondFactor, "the code is wrong, or was used before");
        let id = factor.user.to_string();
        let used = factor.uses(self.keys()?, code, unix_now(), self.actor(&id))?;
        if let Some(used) = used
            && !self.run(Group::write(vec![used])).await?.rows.is_empty()
        {
            return Ok(());
        }
        self.failed(Some(factor.user), Shown::Code).await?;
        Err(wrong())
    }

    /// Begins a session.
    pub(super) async fn start(
        self,
        user: User,
        second_factor: bool,
        mut statements: Vec<Bound>,
    ) -> Result<Signed, ApiError> {
        let (policy, id) = (&self.tenant.auth, user.id.to_string());
        let new = NewSession {
            id: Uuid::now_v7(),
            user: user.id,
            second_factor,
            refresh_seconds: policy.refresh_seconds(),
            session_seconds: policy.session_seconds(),
            agent: self.agent,
        };
        statements.push(sessions::start(&new, self.actor(&id)));
        self.run(Group::write(statements)).await?;
        self.tokens(user, new.id, 1, second_factor)
    }

    /// Goes on with a session. A token may be used once; the newest but one is answered with the newest for a moment, any older
    /// one ends the session.
    ///
    /// # Errors
    /// When the session does not go on.
    pub(in crate::auth) async fn refresh(self, token: &str) -> Result<Signed, ApiError> {
        let revoked = || ApiError::new(Code::SessionRevoked, "the session has ended; sign in again");
        let named = self.secrets().open(Purpose::Refresh, self.tenant.uid, token).ok_or_else(revoked)?;
        let seconds = self.tenant.auth.refresh_seconds();
        let nobody = UserId::Anonymous.to_string();
        let rotate = sessions::rotate(named.id, named.number, seconds, self.actor(&nobody));
        let reply = self.run(Group::write(vec![rotate])).await?;
        let rotated = reply.rows.first().and_then(|row| Rotated::read(row, named.number));
        match rotated {
            Some(Rotated::On { generation, second_factor, user }) => {
                self.tokens(*user, named.id, generation, second_factor)
            }
            Some(Rotated::Reused) => Err(ApiError::new(
                Code::TokenReused,
                "this refresh token was used before, so the session has been ended; sign in again",
            )),
            Some(Rotated::Expired) => {
                Err(ApiError::new(Code::TokenExpired, "the session was not refreshed in time; sign in again")
                    .nuance(Nuance::Refresh))
            }
            Some(Rotated::Revoked | Rotated::UserGone) | None => Err(revoked()),
        }
    }

    /// Ends sessions of `user`, in the name of `by`; how many. Whoever is signed out everywhere has no one-time token left either.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(in crate::auth) async fn sign_out(
        self,
        by: &Caller,
        user: Uuid,
        which: SignOut,
    ) -> Result<usize, ApiError> {
        let which = match which {
            SignOut::Here(session) => Which::One(session),
            SignOut::Elsewhere(session) => Which::AllBut(session),
            SignOut::Everywhere => Which::All,
        };
        let mut group = vec![sessions::end(user, which, self.actor(&by.user))];
        if matches!(which, Which::All) {
            group.push(one_time::void(user));
        }
        Ok(self.run(Group::write(group)).await?.rows.len())
    }

    /// The sessions of `user`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(in crate::auth) async fn sessions(
        self,
        user: Uuid,
        current: Option<Uuid>,
    ) -> Result<Vec<serde_json::Value>, ApiError> {
        let reply = self.run(Group::read(sessions::list(user))).await?;
        Ok(reply.rows.iter().map(|row| sessions::shown(row, current)).collect())
    }
}

/// Which sessions end.
#[derive(Debug, Clone, Copy)]
pub(in crate::auth) enum SignOut {
    /// This one.
    Here(Uuid),
    /// All but this one.
    Elsewhere(Uuid),
    /// All.
    Everywhere,
}
