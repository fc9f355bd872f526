//! One-time tokens: what proves that an e-mail arrived. The worker hands them to the tenant's webhook.

use uuid::Uuid;

use super::super::sql::{bound, statement};
use crate::postgres::{Bound, Row};

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
     WHERE NOT EXISTS (SELECT FROM tenantry.auth_token \
        WHERE role = current_user AND user_id = $3::uuid AND kind = $2::text \
        AND created_at > now() - interval '1 minute' AND expires_at > now())"
);
// One statement for addresses that are known and that are not.
statement!(
    ISSUE_TO,
    "INSERT INTO tenantry.auth_token (id, kind, user_id, email, redirect_to, expires_at, due_at) \
     SELECT $1::uuid, $2::text, u.id, u.email, $4::text, \
        now() + make_interval(secs => $5::double precision), now() \
     FROM {schema}.core_user u WHERE u.email = ANY ($3::text[]) AND u.enabled \
        AND ($6::boolean OR u.email_verified_at IS NULL) \
        AND NOT EXISTS (SELECT FROM tenantry.auth_token t \
            WHERE t.role = current_user AND t.user_id = u.id AND t.kind = $2::text \
            AND t.created_at > now() - interval '1 minute' AND t.expires_at > now()) LIMIT 1"
);
statement!(
    PEEK,
    "SELECT kind, user_id::text, email FROM tenantry.auth_token \
     WHERE role = current_user AND id = $1::uuid AND expires_at > now() AND kind = ANY ($2::text[])"
);
// What is used up has expired: the worker removes the row, which a tenant's role may not. Of two at once, the second finds that under
// the row's lock.
statement!(
    REDEEM,
    "UPDATE tenantry.auth_token SET expires_at = '-infinity', due_at = NULL \
     WHERE role = current_user AND id = $1::uuid AND expires_at > now() AND kind = ANY ($2::text[]) \
     RETURNING kind, user_id::text, email"
);
statement!(
    VOID,
    "UPDATE tenantry.auth_token SET expires_at = '-infinity', due_at = NULL \
     WHERE role = current_user AND user_id = $1::uuid AND kind = ANY ($2::text[]) AND expires_at > now()"
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

/// Issues a token to the account with one of `addresses`, if there is one; only to one that is not verified yet, unless `any`.
pub(super) fn issue_to(id: Uuid, kind: Kind, addresses: &str, redirect_to: Option<&str>, any: bool) -> Bound {
    let id = id.to_string();
    let values = [
        Some(id.as_str()),
        Some(kind.as_str()),
        Some(addresses),
        redirect_to,
        Some(kind.lifetime()),
        Some(if any { "t" } else { "f" }),
    ];
    bound(&ISSUE_TO, &values)
}

/// What a token is for, which stays as it is.
pub(super) fn peek(id: Uuid, kinds: &[Kind]) -> Bound {
    bound(&PEEK, &[Some(&id.to_string()), Some(&names(kinds))])
}

/// What was redeemed.
#[derive(Debug)]
pub(super) struct Redeemed {
    pub kind: Kind,
    pub user: Uuid,
    pub email: String,
}

impl Redeemed {
    pub(super) fn read(row: &Row) -> Option<Self> {
        Some(Self {
            kind: Kind::parse(row.text(0)?)?,
            user: row.text(1)?.parse().ok()?,
            email: row.text(2)?.to_owned(),
        })
    }
}

pub(super) fn redeem(id: Uuid, kinds: &[Kind]) -> Bound {
    bound(&REDEEM, &[Some(&id.to_string()), Some(&names(kinds))])
}

/// Takes back what was not redeemed.
pub(super) fn void(user: Uuid, kinds: &[Kind]) -> Bound {
    bound(&VOID, &[Some(&user.to_string()), Some(&names(kinds))])
}

fn names(kinds: &[Kind]) -> String {
    super::super::sql::array(kinds.iter().map(|kind| kind.as_str()))
}
