//! One-time tokens: what proves that an e-mail arrived. The worker hands them to the tenant's webhook.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    super::sql::{bound, is_true, statement},
    factors::Factor,
};
use crate::{
    error::ApiError,
    postgres::{Bound, Row},
};

/// What a one-time token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// To verify the address of a new account.
    Verify,
    /// To set a new password.
    Recover,
    /// To accept an invitation.
    Invite,
    /// To make another address the account's.
    ChangeEmail,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Verify => "Verify",
            Self::Recover => "Recover",
            Self::Invite => "Invite",
            Self::ChangeEmail => "ChangeEmail",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Verify, Self::Recover, Self::Invite, Self::ChangeEmail]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }

    /// Seconds that it may be used.
    const fn lifetime(self) -> &'static str {
        match self {
            Self::Recover => "3600",
            Self::Verify | Self::ChangeEmail => "86400",
            Self::Invite => "604800",
        }
    }
}

// At most one a minute for each purpose, or anybody could have people flooded with e-mail.
statement!(
    ISSUE,
    "INSERT INTO tenantry.auth_token (id, kind, user_id, email, redirect_to, expires_at, due_at) \
     SELECT $1::uuid, $2::text, $3::uuid, $4::text, $5::text, \
        now() + make_interval(secs => $6::double precision), now() \
     WHERE EXISTS (SELECT FROM {schema}.core_user WHERE id = $3::uuid) AND NOT EXISTS (SELECT FROM tenantry.auth_token \
        WHERE role = current_user AND user_id = $3::uuid AND kind = $2::text \
        AND created_at > now() - interval '1 minute' AND expires_at > now())"
);
// One statement for addresses that are known and that are not. When several people asked for one account that nobody has proved to be
// theirs, whose is it that asks for another e-mail? What they set stays with the e-mails that they got; this one brings nothing.
statement!(
    ISSUE_TO,
    "INSERT INTO tenantry.auth_token (id, kind, user_id, email, redirect_to, expires_at, due_at, brings) \
     SELECT $1::uuid, $2::text, u.id, coalesce(u.email_as_written, u.email), $4::text, \
        now() + make_interval(secs => $5::double precision), now(), \
        CASE WHEN $2::text = 'Verify' AND EXISTS (SELECT FROM tenantry.auth_token t \
            WHERE t.role = current_user AND t.user_id = u.id AND t.kind = 'Verify' AND t.brings IS NOT NULL \
                AND t.expires_at > now()) THEN '{}'::json END \
     FROM {schema}.core_user u WHERE u.email = $3::text AND u.enabled \
        AND ($6::boolean OR u.email_verified_at IS NULL) \
        AND NOT EXISTS (SELECT FROM tenantry.auth_token t \
            WHERE t.role = current_user AND t.user_id = u.id AND t.kind = $2::text \
            AND t.created_at > now() - interval '1 minute' AND t.expires_at > now())"
);
// To the account of a sign-up: it was made a moment ago; or it was there, made by somebody who has not proved the address either: then
// each brings what it asked for with its own e-mail; or it is somebody's: then that one is told. Five an hour.
statement!(
    ISSUE_TO_SIGN_UP,
    "INSERT INTO tenantry.auth_token (id, kind, user_id, email, redirect_to, expires_at, due_at, brings, events) \
     SELECT $1::uuid, a.kind, a.id, a.mailbox, CASE a.kind WHEN 'Verify' THEN $4::text END, now() + interval '1 day', now(), \
        CASE WHEN a.kind = 'Verify' AND a.id <> $2::uuid THEN $5::json END, CASE a.kind WHEN 'Notice' THEN 'sign_up' END \
     FROM (SELECT u.id, coalesce(u.email_as_written, u.email) AS mailbox, \
            CASE WHEN u.email_verified_at IS NULL AND u.created_by = u.id::text THEN 'Verify' ELSE 'Notice' END AS kind \
        FROM {schema}.core_user u WHERE u.email = $3::text AND u.enabled AND ($6::boolean OR u.id = $2::uuid)) a \
     WHERE (SELECT count(*) FROM tenantry.auth_token t WHERE t.role = current_user AND t.user_id = a.id \
        AND t.kind = a.kind AND t.created_at > now() - interval '1 hour' AND t.expires_at > now()) < 5"
);
statement!(
    TELL,
    "INSERT INTO tenantry.auth_token (id, kind, user_id, email, events, expires_at, due_at) \
     SELECT $1::uuid, 'Notice', $2::uuid, $3::text, $4::text, now() + interval '1 day', now()"
);
// The token, its account, and that account's authenticator: what is missing is not somebody else's. Last, whether only somebody who never
// proved the address made the account.
statement!(
    PEEK,
    "SELECT t.kind, u.id::text, t.email, t.brings::text, u.email_verified_at IS NULL AND u.created_by = u.id::text, \
        coalesce(f.sealed, f.nonce::text), f.last_step, f.id::text \
     FROM tenantry.auth_token t JOIN {schema}.core_user u ON u.id = t.user_id AND u.enabled \
     LEFT JOIN tenantry.auth_factor f ON f.role = current_user AND f.id = u.id AND f.confirmed_at IS NOT NULL \
     WHERE t.role = current_user AND t.id = $1::uuid AND t.expires_at > now() AND t.kind = ANY ($2::text[])"
);
// What is used up has expired: the worker removes the row, which a tenant's role may not.
statement!(
    VOID,
    "UPDATE tenantry.auth_token SET expires_at = '-infinity', due_at = NULL \
     WHERE role = current_user AND user_id = $1::uuid AND kind <> 'Notice' AND expires_at > now()"
);

pub(super) fn issue(id: Uuid, kind: Kind, user: Uuid, email: &str, redirect_to: Option<&str>) -> Bound {
    let values = [
        Some(id.to_string()),
        Some(kind.as_str().to_owned()),
        Some(user.to_string()),
        Some(email.to_owned()),
        redirect_to.map(str::to_owned),
        Some(kind.lifetime().to_owned()),
    ];
    bound(&ISSUE, &values.each_ref().map(Option::as_deref))
}

/// Issues a token to the account with this address, in its one form, if there is one; only to one that is not verified yet, unless
/// `any`. It goes to the address that the account has, and not to the one that somebody wrote.
pub(super) fn issue_to(id: Uuid, kind: Kind, canonical: &str, redirect_to: Option<&str>, any: bool) -> Bound {
    let id = id.to_string();
    let values = [
        Some(id.as_str()),
        Some(kind.as_str()),
        Some(canonical),
        redirect_to,
        Some(kind.lifetime()),
        Some(if any { "t" } else { "f" }),
    ];
    bound(&ISSUE_TO, &values)
}

/// Has the address of a sign-up verified: of the account `new`, if it was made, or with `known` of the one that was there.
pub(super) fn issue_to_sign_up(
    new: Uuid,
    canonical: &str,
    redirect_to: Option<&str>,
    brings: &Brings,
    known: bool,
) -> Bound {
    let (id, new) = (Uuid::now_v7().to_string(), new.to_string());
    let brings = serde_json::json!(brings).to_string();
    let known = Some(if known { "t" } else { "f" });
    bound(&ISSUE_TO_SIGN_UP, &[Some(&id), Some(&new), Some(canonical), redirect_to, Some(&brings), known])
}

/// Tells the owner of an account what happens to it.
pub(super) fn tell(user: Uuid, mailbox: &str, events: &str) -> Bound {
    let (id, user) = (Uuid::now_v7().to_string(), user.to_string());
    bound(&TELL, &[Some(&id), Some(&user), Some(mailbox), Some(events)])
}

/// What a token is for, which stays as it is.
pub(super) fn peek(id: Uuid, kinds: &[Kind]) -> Bound {
    bound(&PEEK, &[Some(&id.to_string()), Some(&names(kinds))])
}

/// What a sign-up asked for, where the account was there already.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Brings {
    pub password_hash: Option<String>,
    pub display_name: Option<String>,
    pub metadata: Map<String, Value>,
}

/// A token that may be redeemed.
pub(super) struct Seen {
    pub kind: Kind,
    pub user: Uuid,
    /// Where it was sent.
    pub email: String,
    pub brings: Option<Brings>,
    /// Nobody proved the account's address before, and nobody but who asked for it made the account.
    pub unproven: bool,
    pub factor: Option<Factor>,
}

impl Seen {
    /// # Errors
    /// When the row cannot be read: that is not the same as none.
    pub(super) fn read(row: &Row) -> Result<Self, ApiError> {
        let unreadable = || ApiError::internal("a one-time token cannot be read");
        let text = |n: usize| row.text(n).ok_or_else(unreadable);
        let brings = row.text(3).map(serde_json::from_str).transpose().map_err(ApiError::internal)?;
        Ok(Self {
            kind: Kind::parse(text(0)?).ok_or_else(unreadable)?,
            user: text(1)?.parse().map_err(ApiError::internal)?,
            email: text(2)?.to_owned(),
            brings,
            unproven: is_true(row, 4),
            factor: Factor::beside(row, 5)?,
        })
    }
}

/// Takes back all that were not redeemed.
pub(super) fn void(user: Uuid) -> Bound {
    bound(&VOID, &[Some(&user.to_string())])
}

pub(super) fn names(kinds: &[Kind]) -> String {
    super::super::sql::array(kinds.iter().map(|kind| kind.as_str()))
}
