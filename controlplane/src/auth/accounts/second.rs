//! Authenticators.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Signed, Visit,
    factors::{self, Factor},
    sessions,
    sign_up::Shown,
};
use crate::{
    auth::{Caller, token::unix_now},
    error::{ApiError, Code},
    postgres::Group,
};

impl Visit<'_> {
    /// A new authenticator for `user`, to be confirmed with a first code.
    ///
    /// # Errors
    /// When there is a confirmed one, or the password is not shown.
    pub(in crate::auth) async fn enrol(
        self,
        user: Uuid,
        password: Option<String>,
    ) -> Result<Value, ApiError> {
        let known = self.user(user).await?;
        // However young the session is: whoever has come by it would have the account for good.
        self.prove(&known, Shown { password, code: None }).await?;
        let (secret, sealed) = factors::secret(self.keys()?, user)?;
        let reply =
            self.run(Group::write(vec![factors::enrol(user, &sealed), self.noted_factor(user)])).await?;
        if reply.rows.is_empty() {
            return Err(ApiError::new(Code::Conflict, "there is an authenticator already; remove it first"));
        }
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let (issuer, account) = (encode(self.tenant.name.as_str()), encode(&known.email));
        let uri = format!("otpauth://totp/{issuer}:{account}?secret={secret}&issuer={issuer}");
        Ok(json!({"secret": secret, "uri": uri}))
    }

    /// Confirms the authenticator with a first code: recovery codes, and tokens with a second factor.
    ///
    /// # Errors
    /// When the code is wrong or there is nothing to confirm.
    pub(in crate::auth) async fn confirm(
        self,
        user: Uuid,
        session: Uuid,
        code: &str,
    ) -> Result<(Vec<String>, Signed), ApiError> {
        let factor = self.factor(user).await?.filter(|factor| !factor.confirmed).ok_or_else(|| {
            ApiError::new(Code::Conflict, "there is no authenticator that waits for its first code")
        })?;
        let wrong = || ApiError::new(Code::InvalidSecondFactor, "the code is wrong");
        let step = factor.step(self.keys()?, code, unix_now())?.ok_or_else(wrong)?;
        let (codes, digests) = factors::recovery_codes(self.keys()?, user);
        let id = user.to_string();
        let confirm = factors::confirm(step, &digests, self.factor_change(user, &id, Some(session)));
        let reply = self.run(Group::write(vec![confirm, self.noted_factor(user)])).await?;
        if reply.rows.is_empty() {
            return Err(wrong());
        }
        Ok((codes, self.raise(user, session).await?))
    }

    /// Gives a session its second factor.
    ///
    /// # Errors
    /// When the code is wrong or there is no authenticator.
    pub(in crate::auth) async fn step_up(
        self,
        user: Uuid,
        session: Uuid,
        code: &str,
    ) -> Result<Signed, ApiError> {
        let factor = self.confirmed(user).await?;
        self.guess_code(&factor, Some(code)).await?;
        self.raise(user, session).await
    }

    /// Takes the authenticator away.
    ///
    /// # Errors
    /// When the code is wrong or there is no authenticator.
    pub(in crate::auth) async fn remove_factor(
        self,
        user: Uuid,
        session: Uuid,
        code: &str,
    ) -> Result<(), ApiError> {
        let factor = self.confirmed(user).await?;
        self.guess_code(&factor, Some(code)).await?;
        let id = user.to_string();
        self.take_factor(self.factor_change(user, &id, Some(session))).await?;
        Ok(())
    }

    /// Takes the authenticator of another user away, who lost it and all recovery codes.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(in crate::auth) async fn reset_factor(self, by: &Caller, user: Uuid) -> Result<bool, ApiError> {
        self.take_factor(self.factor_change(user, &by.user, None)).await
    }

    /// Whether there was one.
    async fn take_factor(self, change: factors::Change<'_>) -> Result<bool, ApiError> {
        let remove = vec![factors::remove(change), self.noted_factor(change.user)];
        Ok(!self.run(Group::write(remove)).await?.rows.is_empty())
    }

    /// A change of the authenticator of `user` by `by`, after which nothing but `session` goes on.
    fn factor_change<'b>(self, user: Uuid, by: &'b str, session: Option<Uuid>) -> factors::Change<'b>
    where
        Self: 'b,
    {
        factors::Change { user, actor: self.actor(by), session, told: self.tenant.auth.webhook().is_some() }
    }

    /// What the user may know of the authenticator.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(in crate::auth) async fn factor_status(self, user: Uuid) -> Result<Value, ApiError> {
        let factor = self.factor(user).await?.filter(|factor| factor.confirmed);
        Ok(json!({"enabled": factor.is_some(), "recovery_codes_left": factor.map_or(0, |f| f.recovery_left)}))
    }

    pub(super) async fn factor(self, user: Uuid) -> Result<Option<Factor>, ApiError> {
        let reply = self.run(Group::read(factors::of_user(user))).await?;
        Ok(reply.rows.first().and_then(Factor::read))
    }

    async fn confirmed(self, user: Uuid) -> Result<Factor, ApiError> {
        let factor = self.factor(user).await?.filter(|factor| factor.confirmed);
        factor.ok_or_else(|| ApiError::new(Code::Conflict, "this account has no authenticator"))
    }

    async fn raise(self, user: Uuid, session: Uuid) -> Result<Signed, ApiError> {
        let raise = vec![sessions::raise(session, user), self.noted_raise(session, user)];
        let reply = self.run(Group::write(raise)).await?;
        let generation = reply.rows.first().and_then(|row| row.text(0)).and_then(|text| text.parse().ok());
        let ended = || ApiError::new(Code::SessionRevoked, "the session has ended; sign in again");
        let generation = generation.ok_or_else(ended)?;
        self.tokens(self.user(user).await?, session, generation, true)
    }
}
