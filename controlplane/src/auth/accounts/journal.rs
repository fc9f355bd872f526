//! What people do to accounts, in the tenant's audit journal: as rows of `core` that are no documents.
//!
//! A failed sign-in is done by nobody who is known, so anybody could fill the journal with them. They are counted, by account and
//! hour, and for all addresses that no account has together; the journal has the first of an hour, the tenth, the hundredth.

use serde_json::Value;
use uuid::Uuid;

use super::{
    super::{
        id::UserId,
        sql::{bound, statement},
    },
    Visit,
    control::Actor,
};
use crate::{
    error::ApiError,
    postgres::{Bound, Group},
};

// What the transaction did to the row is what has its time.
statement!(
    FACTOR,
    "INSERT INTO tenantry.audit (actor, action, app, doc_type, doc_id, doc_version, request_id, client, changes) \
     SELECT $1::text, CASE WHEN removed_at = now() THEN 'Delete' WHEN confirmed_at = now() THEN 'Update' ELSE 'Create' END, \
        'core', 'factor', id::text, 1, $2::text, $3::text, \
        CASE WHEN removed_at IS NULL THEN json_build_object('confirmed', confirmed_at IS NOT NULL) END \
     FROM tenantry.auth_factor \
     WHERE role = current_user AND id = $4::uuid AND now() IN (removed_at, confirmed_at, created_at)"
);
statement!(
    RAISED,
    "INSERT INTO tenantry.audit (actor, action, app, doc_type, doc_id, doc_version, request_id, client, changes) \
     SELECT $1::text, 'Update', 'core', 'session', id::text, 1, $2::text, $3::text, \
        json_build_object('user', user_id, 'second_factor', true) \
     FROM tenantry.auth_session WHERE role = current_user AND id = $4::uuid AND assurance = 2 AND rotated_at = now()"
);
statement!(
    ASKED,
    "INSERT INTO tenantry.audit (actor, action, app, doc_type, doc_id, doc_version, request_id, client, changes) \
     VALUES ($1::text, 'Create', 'core', 'address_change', $4::text, 1, $2::text, $3::text, $5::json)"
);
statement!(
    FAILED,
    "WITH counted AS (INSERT INTO tenantry.auth_attempt AS a (id, failures) \
        VALUES ('failed ' || $4::text || ' ' || floor(extract(epoch FROM now()) / 3600)::bigint::text, 1) \
        ON CONFLICT (role, id) DO UPDATE SET failures = a.failures + 1, last_at = now() RETURNING failures) \
     INSERT INTO tenantry.audit (actor, action, app, doc_type, doc_id, doc_version, request_id, client, changes) \
     SELECT $1::text, 'Create', 'core', 'failed_sign_in', $4::text, failures, $2::text, $3::text, \
        json_build_object('failures', failures, 'shown', $5::text) \
     FROM counted WHERE failures IN (1, 10, 100, 1000, 10000, 100000, 1000000)"
);

/// Of an account that nobody has.
const UNKNOWN: &str = "unknown";

/// What somebody showed who is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    Password,
    Code,
}

/// Somebody asked for `email` to become the address of `user`.
pub(super) fn address_change(user: Uuid, email: &str, actor: Actor<'_>) -> Bound {
    let (user, changes) = (user.to_string(), Value::from_iter([("email", email)]).to_string());
    bound(&ASKED, &[Some(actor.user), Some(actor.request), actor.client, Some(&user), Some(&changes)])
}

impl Visit<'_> {
    /// Notes what this transaction did to the authenticator of `user`, if it did anything.
    pub(super) fn noted_factor(&self, user: Uuid) -> Bound {
        let user = user.to_string();
        let actor = self.actor(&user);
        bound(&FACTOR, &[Some(actor.user), Some(actor.request), actor.client, Some(&user)])
    }

    /// Notes that this transaction gave a session of `user` its second factor, if it did.
    pub(super) fn noted_raise(&self, session: Uuid, user: Uuid) -> Bound {
        let (session, user) = (session.to_string(), user.to_string());
        let actor = self.actor(&user);
        bound(&RAISED, &[Some(actor.user), Some(actor.request), actor.client, Some(&session)])
    }

    /// Notes that what was shown for `account` was wrong; for none, that no account has the address.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn failed(self, account: Option<Uuid>, shown: Shown) -> Result<(), ApiError> {
        let account = account.map_or_else(|| UNKNOWN.to_owned(), |account| account.to_string());
        let nobody = UserId::Anonymous.to_string();
        let actor = self.actor(&nobody);
        let shown = match shown {
            Shown::Password => "password",
            Shown::Code => "second_factor",
        };
        let values = [Some(actor.user), Some(actor.request), actor.client, Some(&account), Some(shown)];
        self.run(Group::write(vec![bound(&FAILED, &values)])).await?;
        Ok(())
    }
}
