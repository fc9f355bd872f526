//! Users: documents of `core.user`, read and written here without the rules of permissions.
//!
//! A write leaves an event and a row in the audit like that of any document, in the same statement.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    super::{
        address::Address,
        changes::texts,
        sql::{bound, is_true, rfc3339, statement},
    },
    control::{self, Actor, Places},
    factors::Factor,
    one_time::{self, Kind},
};
use crate::{
    error::ApiError,
    postgres::{Bound, Row},
};

/// A user.
#[derive(Clone)]
pub struct User {
    pub id: Uuid,
    /// In its one form.
    pub email: String,
    /// How it was written, where that is another text.
    pub email_as_written: Option<String>,
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
            ".email_as_written, ",
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
pub(super) const COLUMNS: usize = 13;

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
            email_as_written: text(2).map(str::to_owned),
            display_name: text(3).map(str::to_owned),
            password_hash: text(4).map(str::to_owned),
            roles: parsed(5).map(|roles| texts(&roles)).unwrap_or_default(),
            enabled: is_true(row, from + 6),
            claims: object(7),
            metadata: object(8),
            email_verified_at: text(9).map(rfc3339),
            created_at: rfc3339(text(10)?),
            updated_at: rfc3339(text(11)?),
            version: text(12)?.parse().ok()?,
        })
    }

    /// Where e-mail to the user goes.
    pub(super) fn mailbox(&self) -> &str {
        self.email_as_written.as_deref().unwrap_or(&self.email)
    }

    /// What the user may see of it.
    pub fn shown(&self) -> Value {
        json!({
            "id": self.id, "email": self.email, "email_as_written": self.email_as_written, "display_name": self.display_name, "roles": self.roles,
            "enabled": self.enabled, "claims": self.claims, "metadata": self.metadata,
            "email_verified_at": self.email_verified_at, "created_at": self.created_at,
            "updated_at": self.updated_at,
        })
    }
}

/// The metadata of `u` with `$8` merged into it.
const MERGED: &str = "((CASE WHEN jsonb_typeof(u.metadata) = 'object' THEN u.metadata ELSE '{}' END) || $8::jsonb) \
    - ARRAY(SELECT name FROM jsonb_each($8::jsonb) AS m (name, value) WHERE value = 'null')";

/// The event, and the audit row of `$1` the actor, `$2` the request and `$3` its address, of the user in `stored`.
pub(super) const EVENT: &str = "event AS (INSERT INTO tenantry.outbox (app, doc_type, doc_id, doc_version, operation, body) \
    SELECT 'core', 'user', id::text, version, 'Put', json_build_object('id', id, 'version', version, \
        'created_at', replace(replace(created_at::text, ' ', 'T'), '+00', 'Z'), \
        'updated_at', replace(replace(updated_at::text, ' ', 'T'), '+00', 'Z'), \
        'created_by', created_by, 'updated_by', updated_by, 'email', email, 'email_as_written', email_as_written, 'display_name', display_name, \
        'roles', roles, 'enabled', enabled, 'claims', claims, 'metadata', metadata, \
        'email_verified_at', replace(replace(email_verified_at::text, ' ', 'T'), '+00', 'Z')) FROM stored), ";

// The account and its own authenticator, in one look: whatever happens to its address meanwhile, they belong together.
statement!(
    BY_EMAIL,
    "SELECT 'account', ",
    columns!("u"),
    ", coalesce(f.sealed, f.nonce::text), f.last_step, f.id::text FROM {schema}.core_user u \
     LEFT JOIN tenantry.auth_factor f ON f.role = current_user AND f.id = u.id AND f.confirmed_at IS NOT NULL \
     WHERE u.email = $1::text"
);
statement!(CLOCK, "SELECT 'clock', now()::text");
statement!(BY_ID, "SELECT ", columns!("u"), " FROM {schema}.core_user u WHERE u.id = $1::uuid");
statement!(
    INSERT,
    "WITH stored AS (INSERT INTO {schema}.core_user AS u (id, email, display_name, password_hash, roles, metadata, \
        email_verified_at, created_by, updated_by, email_as_written) \
     VALUES ($4::uuid, $5::text, $6::text, $7::text, $8::jsonb, $9::jsonb, \
        CASE WHEN $10::boolean THEN now() END, $1::text, $1::text, $11::text) \
     ON CONFLICT (email) DO NOTHING RETURNING u.*), ",
    EVENT,
    "audit AS (INSERT INTO tenantry.audit \
        (actor, action, app, doc_type, doc_id, doc_version, request_id, client, changes) \
     SELECT $1::text, 'Create', 'core', 'user', id::text, version, $2::text, $3::text, \
        json_build_object('email', email, 'roles', roles) FROM stored) \
     SELECT ",
    columns!("stored"),
    " FROM stored"
);
// What is merged into the metadata takes out what it names as null. The bound is on the result, far enough from the one that is told
// that no way to write the same JSON meets it.
statement!(
    UPDATE,
    "WITH redeemed AS (UPDATE tenantry.auth_token SET expires_at = '-infinity', due_at = NULL \
        WHERE role = current_user AND id = $12::uuid AND expires_at > now() AND kind = ANY ($13::text[]) RETURNING id), \
     stored AS (UPDATE {schema}.core_user u SET version = u.version + 1, updated_at = now(), \
        updated_by = $1::text, \
        password_hash = CASE WHEN $14::boolean THEN $5::text ELSE coalesce($5::text, u.password_hash) END, \
        email = coalesce($6::text, u.email), \
        email_as_written = CASE WHEN $6::text IS NULL THEN u.email_as_written ELSE $11::text END, \
        display_name = CASE WHEN $14::boolean THEN $7::text ELSE coalesce($7::text, u.display_name) END, \
        metadata = CASE WHEN $14::boolean THEN coalesce($8::jsonb, '{}') WHEN $8::jsonb IS NULL THEN u.metadata ELSE ",
    MERGED,
    " END, \
        email_verified_at = CASE WHEN $9::boolean THEN coalesce(u.email_verified_at, now()) ELSE u.email_verified_at END \
     WHERE u.id = $4::uuid AND u.enabled AND ($12::uuid IS NULL OR EXISTS (SELECT FROM redeemed)) \
        AND NOT ($14::boolean AND u.email_verified_at IS NOT NULL) \
        AND ($14::boolean OR $8::jsonb IS NULL OR octet_length((",
    MERGED,
    ")::text) <= 32768) RETURNING u.*), ",
    EVENT,
    "audit AS (INSERT INTO tenantry.audit \
        (actor, action, app, doc_type, doc_id, doc_version, request_id, client, changes) \
     SELECT $1::text, 'Update', 'core', 'user', id::text, version, $2::text, $3::text, $10::json FROM stored), \
     unfactored AS (UPDATE tenantry.auth_factor f SET removed_at = now(), confirmed_at = NULL, recovery = '{}' \
        FROM stored s WHERE $14::boolean AND f.role = current_user AND f.id = s.id AND f.removed_at IS NULL), ",
    control::CHANGED,
    control::taken_along(Places {
        actor: "$1::text",
        request: "$2::text",
        client: "$3::text",
        session: "$15::uuid",
        told: "$16::boolean",
    })
    .as_str(),
    " SELECT ",
    columns!("stored"),
    " FROM stored"
);
// The same password in another form: nobody needs to hear of it.
statement!(
    UPGRADE,
    "UPDATE {schema}.core_user SET password_hash = $3::text WHERE id = $1::uuid AND password_hash = $2::text"
);

/// The time of the transaction.
pub(super) fn clock() -> Bound {
    bound(&CLOCK, &[])
}

/// What [`clock`] yields; nothing for another row.
pub(super) fn read_clock(row: &Row) -> Option<String> {
    row.text(1).filter(|_| row.text(0) == Some("clock")).map(rfc3339)
}

/// The account with this address, in its one form, and its authenticator.
pub(super) fn by_email(canonical: &str) -> Bound {
    bound(&BY_EMAIL, &[Some(canonical)])
}

/// What [`by_email`] yields; nothing for another row.
pub(super) struct AtTheDoor {
    pub user: User,
    pub factor: Option<Factor>,
}

impl AtTheDoor {
    /// # Errors
    /// When there is an account that cannot be read, or an authenticator: neither is the same as none.
    pub(super) fn read(row: &Row) -> Result<Option<Self>, ApiError> {
        if row.text(0) != Some("account") {
            return Ok(None);
        }
        let user = User::read(row, 1).ok_or_else(|| ApiError::internal("an account cannot be read"))?;
        let factor = Factor::beside(row, 1 + COLUMNS)?;
        Ok(Some(Self { user, factor }))
    }
}

/// The user with this id.
pub(super) fn by_id(id: Uuid) -> Bound {
    bound(&BY_ID, &[Some(&id.to_string())])
}

/// A new user.
pub(super) struct NewUser<'a> {
    pub id: Uuid,
    pub email: &'a Address,
    pub display_name: Option<&'a str>,
    pub password_hash: Option<&'a str>,
    pub roles: &'a [String],
    pub metadata: &'a Map<String, Value>,
    pub verified: bool,
}

/// Stores a new account; nothing when there is one with the address already.
pub(super) fn insert(new: &NewUser<'_>, actor: Actor<'_>) -> Bound {
    let (id, roles) = (new.id.to_string(), json!(new.roles).to_string());
    let metadata = Value::Object(new.metadata.clone()).to_string();
    let values = [
        Some(actor.user),
        Some(actor.request),
        actor.client,
        Some(id.as_str()),
        Some(&new.email.canonical),
        new.display_name,
        new.password_hash,
        Some(&roles),
        Some(&metadata),
        Some(if new.verified { "t" } else { "f" }),
        new.email.written.as_deref(),
    ];
    bound(&INSERT, &values)
}

/// What is to be another; what is absent stays as it is.
#[derive(Default)]
pub(super) struct Changed<'a> {
    pub password_hash: Option<&'a str>,
    pub email: Option<&'a Address>,
    pub display_name: Option<&'a str>,
    /// Merged into what is there.
    pub metadata: Option<&'a Map<String, Value>>,
    pub verified: bool,
    /// What somebody set who never proved the address goes, with the authenticator: only what is given here stays.
    pub anew: bool,
    /// A one-time token of one of these kinds that is used up by it. Without it nothing is changed.
    pub by: Option<(Uuid, &'a [Kind])>,
    /// The session that goes on.
    pub session: Option<Uuid>,
    /// Whether the address that the account had is told.
    pub told: bool,
}

/// Changes a user who is enabled, and ends what a change of control ends.
pub(super) fn update(id: Uuid, changed: &Changed<'_>, actor: Actor<'_>) -> Bound {
    let mut said = Map::new();
    let mut say = |name: &str, value: Option<Value>| value.map(|value| said.insert(name.to_owned(), value));
    say("password", changed.password_hash.map(|_| json!("changed")));
    say("email", changed.email.map(|email| json!(email.canonical)));
    say("display_name", changed.display_name.map(Value::from));
    say("metadata", changed.metadata.cloned().map(Value::Object));
    say("email_verified", changed.verified.then_some(json!(true)));
    let metadata = changed.metadata.map(|metadata| Value::Object(metadata.clone()).to_string());
    let (id, said) = (id.to_string(), Value::Object(said).to_string());
    let token = changed.by.map(|(token, _)| token.to_string());
    let kinds = one_time::names(changed.by.map(|(_, kinds)| kinds).unwrap_or_default());
    let session = changed.session.map(|session| session.to_string());
    let truth = |holds: bool| Some(if holds { "t" } else { "f" });
    let values = [
        Some(actor.user),
        Some(actor.request),
        actor.client,
        Some(id.as_str()),
        changed.password_hash,
        changed.email.map(|email| email.canonical.as_str()),
        changed.display_name,
        metadata.as_deref(),
        truth(changed.verified),
        Some(&said),
        changed.email.and_then(|email| email.written.as_deref()),
        token.as_deref(),
        Some(&kinds),
        truth(changed.anew),
        session.as_deref(),
        truth(changed.told),
    ];
    bound(&UPDATE, &values)
}

/// Stores the same password in another form, unless it was changed meanwhile.
pub(super) fn upgrade(id: Uuid, old: &str, new: &str) -> Bound {
    bound(&UPGRADE, &[Some(&id.to_string()), Some(old), Some(new)])
}
