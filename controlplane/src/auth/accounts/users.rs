//! Users: documents of `core.user`, read and written here without the rules of permissions.
//!
//! A write leaves an event and a row in the audit like that of any document, in the same statement.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::super::{
    changes::texts,
    sql::{bound, is_true, rfc3339, statement},
};
use crate::postgres::{Bound, Row};

/// A user.
#[derive(Clone)]
pub struct User {
    pub id: Uuid,
    pub email: String,
    pub display_name: Option<String>,
    pub password_hash: Option<String>,
    pub roles: Vec<String>,
    pub enabled: bool,
    pub claims: Map<String, Value>,
    pub metadata: Map<String, Value>,
    pub email_verified_at: Option<String>,
    pub created_at: String,
    pub updated_at: String,
    pub version: i64,
}

/// Columns of [`User`], in the order in which they are read.
macro_rules! columns {
    ($of:literal) => {
        concat!(
            $of,
            ".id::text, ",
            $of,
            ".email, ",
            $of,
            ".display_name, ",
            $of,
            ".password_hash, ",
            $of,
            ".roles::text, ",
            $of,
            ".enabled, ",
            $of,
            ".claims::text, ",
            $of,
            ".metadata::text, ",
            $of,
            ".email_verified_at::text, ",
            $of,
            ".created_at::text, ",
            $of,
            ".updated_at::text, ",
            $of,
            ".version"
        )
    };
}
pub(super) use columns;

/// How many columns those are.
pub(super) const COLUMNS: usize = 12;

impl User {
    /// Reads the columns that begin at `from`; nothing when they are of no user.
    pub(super) fn read(row: &Row, from: usize) -> Option<Self> {
        let values: Vec<Option<&str>> = row
            .values()
            .skip(from)
            .take(COLUMNS)
            .map(|v| v.and_then(|v| std::str::from_utf8(v).ok()))
            .collect();
        let text = |n: usize| values.get(n).copied().flatten();
        let parsed = |n: usize| text(n).and_then(|json| serde_json::from_str::<Value>(json).ok());
        let object = |n: usize| match parsed(n) {
            Some(Value::Object(map)) => map,
            _ => Map::new(),
        };
        Some(Self {
            id: text(0)?.parse().ok()?,
            email: text(1)?.to_owned(),
            display_name: text(2).map(str::to_owned),
            password_hash: text(3).map(str::to_owned),
            roles: parsed(4).map(|roles| texts(&roles)).unwrap_or_default(),
            enabled: is_true(row, from + 5),
            claims: object(6),
            metadata: object(7),
            email_verified_at: text(8).map(rfc3339),
            created_at: rfc3339(text(9)?),
            updated_at: rfc3339(text(10)?),
            version: text(11)?.parse().ok()?,
        })
    }

    /// What the user may see of it.
    pub fn shown(&self) -> Value {
        json!({
            "id": self.id, "email": self.email, "display_name": self.display_name, "roles": self.roles,
            "enabled": self.enabled, "claims": self.claims, "metadata": self.metadata,
            "email_verified_at": self.email_verified_at, "created_at": self.created_at,
            "updated_at": self.updated_at,
        })
    }
}

/// Who writes, for the audit.
#[derive(Debug, Clone, Copy)]
pub struct Actor<'a> {
    /// The user's id.
    pub user: &'a str,
    /// The request's id.
    pub request: &'a str,
    /// The address that the request came from.
    pub client: Option<&'a str>,
}

/// The event, and the audit row of `$1` the actor, `$2` the request and `$3` its address, of the user in `stored`.
const EVENT: &str = "event AS (INSERT INTO tenantry.outbox (app, doc_type, doc_id, doc_version, operation, body) \
    SELECT 'core', 'user', id::text, version, 'Put', json_build_object('id', id, 'version', version, \
        'created_at', replace(replace(created_at::text, ' ', 'T'), '+00', 'Z'), \
        'updated_at', replace(replace(updated_at::text, ' ', 'T'), '+00', 'Z'), \
        'created_by', created_by, 'updated_by', updated_by, 'email', email, 'display_name', display_name, \
        'roles', roles, 'enabled', enabled, 'claims', claims, 'metadata', metadata, \
        'email_verified_at', replace(replace(email_verified_at::text, ' ', 'T'), '+00', 'Z')) FROM stored), ";

statement!(
    BY_EMAIL,
    "SELECT ",
    columns!("u"),
    " FROM {schema}.core_user u WHERE u.email = ANY ($1::text[]) \
     ORDER BY u.email = $2::text DESC LIMIT 1"
);
statement!(BY_ID, "SELECT ", columns!("u"), " FROM {schema}.core_user u WHERE u.id = $1::uuid");
statement!(
    INSERT,
    "WITH stored AS (INSERT INTO {schema}.core_user AS u (id, email, display_name, password_hash, roles, metadata, \
        email_verified_at, created_by, updated_by) \
     VALUES ($4::uuid, $5::text, $6::text, $7::text, $8::jsonb, $9::jsonb, \
        CASE WHEN $10::boolean THEN now() END, $1::text, $1::text) RETURNING u.*), ",
    EVENT,
    "audit AS (INSERT INTO tenantry.audit \
        (actor, action, app, doc_type, doc_id, doc_version, request_id, client, changes) \
     SELECT $1::text, 'Create', 'core', 'user', id::text, version, $2::text, $3::text, \
        json_build_object('email', email, 'roles', roles) FROM stored) \
     SELECT ",
    columns!("stored"),
    " FROM stored"
);
statement!(
    UPDATE,
    "WITH stored AS (UPDATE {schema}.core_user u SET version = u.version + 1, updated_at = now(), \
        updated_by = $1::text, password_hash = coalesce($5::text, u.password_hash), \
        email = coalesce($6::text, u.email), display_name = coalesce($7::text, u.display_name), \
        metadata = u.metadata || coalesce($8::jsonb, '{}'), \
        email_verified_at = CASE WHEN $9::boolean THEN coalesce(u.email_verified_at, now()) ELSE u.email_verified_at END \
     WHERE u.id = $4::uuid AND u.enabled RETURNING u.*), ",
    EVENT,
    "audit AS (INSERT INTO tenantry.audit \
        (actor, action, app, doc_type, doc_id, doc_version, request_id, client, changes) \
     SELECT $1::text, 'Update', 'core', 'user', id::text, version, $2::text, $3::text, $10::json FROM stored) \
     SELECT ",
    columns!("stored"),
    " FROM stored"
);
// The same password in another form: nobody needs to hear of it.
statement!(
    UPGRADE,
    "UPDATE {schema}.core_user SET password_hash = $3::text WHERE id = $1::uuid AND password_hash = $2::text"
);

/// The e-mail address as it is stored.
pub(super) fn normalized(email: &str) -> String {
    email.trim().to_lowercase()
}

/// The user with this address: as it was written, or in lower case.
pub(super) fn by_email(email: &str) -> Bound {
    let (written, lower) = (email.trim(), normalized(email));
    let both = super::super::sql::array([written, &lower]);
    bound(&BY_EMAIL, &[Some(&both), Some(written)])
}

/// The user with this id.
pub(super) fn by_id(id: Uuid) -> Bound {
    bound(&BY_ID, &[Some(&id.to_string())])
}

/// A new user.
pub(super) struct NewUser<'a> {
    pub id: Uuid,
    pub email: &'a str,
    pub display_name: Option<&'a str>,
    pub password_hash: Option<&'a str>,
    pub roles: &'a [String],
    pub metadata: &'a Map<String, Value>,
    pub verified: bool,
}

pub(super) fn insert(new: &NewUser<'_>, actor: Actor<'_>) -> Bound {
    let (id, roles) = (new.id.to_string(), json!(new.roles).to_string());
    let metadata = Value::Object(new.metadata.clone()).to_string();
    let values = [
        Some(actor.user),
        Some(actor.request),
        actor.client,
        Some(id.as_str()),
        Some(new.email),
        new.display_name,
        new.password_hash,
        Some(&roles),
        Some(&metadata),
        Some(if new.verified { "t" } else { "f" }),
    ];
    bound(&INSERT, &values)
}

/// What is to be another; nothing stays as it is.
#[derive(Default)]
pub(super) struct Changed<'a> {
    pub password_hash: Option<&'a str>,
    pub email: Option<&'a str>,
    pub display_name: Option<&'a str>,
    /// Merged into what is there.
    pub metadata: Option<&'a Map<String, Value>>,
    pub verified: bool,
}

/// Changes a user who is enabled.
pub(super) fn update(id: Uuid, changed: &Changed<'_>, actor: Actor<'_>) -> Bound {
    let mut said = Map::new();
    let mut say = |name: &str, value: Option<Value>| value.map(|value| said.insert(name.to_owned(), value));
    say("password", changed.password_hash.map(|_| json!("changed")));
    say("email", changed.email.map(Value::from));
    say("display_name", changed.display_name.map(Value::from));
    say("metadata", changed.metadata.cloned().map(Value::Object));
    say("email_verified", changed.verified.then_some(json!(true)));
    let metadata = changed.metadata.map(|metadata| Value::Object(metadata.clone()).to_string());
    let (id, said) = (id.to_string(), Value::Object(said).to_string());
    let values = [
        Some(actor.user),
        Some(actor.request),
        actor.client,
        Some(id.as_str()),
        changed.password_hash,
        changed.email,
        changed.display_name,
        metadata.as_deref(),
        Some(if changed.verified { "t" } else { "f" }),
        Some(&said),
    ];
    bound(&UPDATE, &values)
}

/// Stores the same password in another form, unless it was changed meanwhile.
pub(super) fn upgrade(id: Uuid, old: &str, new: &str) -> Bound {
    bound(&UPGRADE, &[Some(&id.to_string()), Some(old), Some(new)])
}
