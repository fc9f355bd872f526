//! Accounts whose address is not in its one form: they were made before there was one, or by SQL. The worker gives it to them.
//!
//! Nobody signs in to such an account meanwhile, since sign-in looks for the one form only. Two accounts that would have the same
//! one stay as they are, and are named: which of them is whose, nobody knows here.

use uuid::Uuid;

use super::{
    super::{
        address::{Address, canonical},
        sql::{self, Failed, bound, statement},
    },
    control::Actor,
    users::EVENT,
};
use crate::{error::ApiError, postgres::Group, registry::TenantEntry};

/// Accounts of one look.
const AT_ONCE: usize = 500;

// What ASCII without capitals writes has one form only.
statement!(
    OTHERS,
    "SELECT id::text, email FROM {schema}.core_user \
     WHERE id > $1::uuid AND email COLLATE \"C\" ~ '[^!-@[-~]' ORDER BY id LIMIT $2::integer"
);
statement!(
    REWRITE,
    "WITH stored AS (UPDATE {schema}.core_user u SET email = $6::text, email_as_written = $7::text, \
        version = u.version + 1, updated_at = now(), updated_by = $1::text \
     WHERE u.id = $4::uuid AND u.email = $5::text \
        AND NOT EXISTS (SELECT FROM {schema}.core_user o WHERE o.email = $6::text) RETURNING u.*), ",
    EVENT,
    "audit AS (INSERT INTO tenantry.audit \
        (actor, action, app, doc_type, doc_id, doc_version, request_id, client, changes) \
     SELECT $1::text, 'Update', 'core', 'user', id::text, version, $2::text, $3::text, \
        json_build_object('email', email, 'email_as_written', email_as_written) FROM stored) \
     SELECT id::text FROM stored"
);
statement!(HOLDER, "SELECT id::text FROM {schema}.core_user WHERE email = $1::text");

/// An account that cannot have the form of its address, since another one has it.
#[derive(Debug, PartialEq, Eq)]
pub struct Clash {
    /// The account.
    pub user: Uuid,
    /// The other one; none if it went a moment ago.
    pub holder: Option<Uuid>,
}

/// What a look came to.
#[derive(Debug, Default)]
pub struct Looked {
    /// Accounts that got their form.
    pub rewritten: usize,
    /// Those that could not.
    pub clashes: Vec<Clash>,
    /// Where the next look goes on; nowhere after the last.
    pub next: Option<Uuid>,
}

/// Gives addresses of accounts after `after` their one form.
///
/// # Errors
/// When the database does not answer.
pub async fn give_form(tenant: &TenantEntry, after: Uuid) -> Result<Looked, ApiError> {
    let (after, most) = (after.to_string(), AT_ONCE.to_string());
    let reply = sql::run(tenant, Group::read(bound(&OTHERS, &[Some(&after), Some(&most)]))).await?;
    let mut looked = Looked::default();
    for row in &reply.rows {
        let (Some(id), Some(email)) = (row.text(0).and_then(|id| id.parse().ok()), row.text(1)) else {
            continue;
        };
        if reply.rows.len() == AT_ONCE {
            looked.next = Some(id);
        }
        if email == canonical(email) {
            continue;
        }
        match rewrite(tenant, id, email).await? {
            None => looked.rewritten += 1,
            Some(clash) => looked.clashes.push(clash),
        }
    }
    Ok(looked)
}

/// The clash, if there is one.
async fn rewrite(tenant: &TenantEntry, id: Uuid, email: &str) -> Result<Option<Clash>, ApiError> {
    // One that is no address has no form either: nobody can sign in to it, and an administrator sees it.
    let Ok(address) = Address::new(email) else { return Ok(Some(Clash { user: id, holder: None })) };
    let (user, actor) =
        (id.to_string(), Actor { user: "tenantry-worker", request: "addresses", client: None });
    let values = [
        Some(actor.user),
        Some(actor.request),
        actor.client,
        Some(user.as_str()),
        Some(email),
        Some(&address.canonical),
        address.written.as_deref(),
    ];
    let done = match sql::run_or_refused(tenant, Group::write(vec![bound(&REWRITE, &values)])).await {
        Ok(reply) => !reply.rows.is_empty(),
        // Somebody took it just now.
        Err(Failed::Duplicate) => false,
        Err(Failed::Other(error)) => return Err(error),
    };
    if done {
        return Ok(None);
    }
    let reply = sql::run(tenant, Group::read(bound(&HOLDER, &[Some(&address.canonical)]))).await?;
    let holder = reply.rows.first().and_then(|row| row.text(0)).and_then(|id| id.parse().ok());
    Ok(Some(Clash { user: id, holder }))
}
