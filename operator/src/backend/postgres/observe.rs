//! What is there: everything about a tenant, or about many, in one round trip.

use std::collections::BTreeMap;

use serde::Deserialize;
use sqlx::{PgExecutor, PgPool, types::Json};
use tenantry_migrations::{
    logins::LoginShard,
    mark::{AccessMark, OwnershipMark},
    registry::{MigrationRecord, SearchBindingRecord, StreamBindingRecord, TenantAppRecord, TenantRecord},
};

use super::change::Identity;
use crate::error::Error;

const QUERY: &str = include_str!("observe.sql");
const LOOKING: &str = "looking at the tenant's schema";

/// What Postgres has of a tenant's name.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Observed {
    /// The registry's row.
    pub record: Option<TenantRecord>,
    /// Installed and removed apps.
    pub apps: Vec<TenantAppRecord>,
    /// Migrations that were begun.
    #[serde(default)]
    pub migrations: Vec<MigrationRecord>,
    /// Queues.
    pub streams: Vec<StreamBindingRecord>,
    /// Search indexes.
    pub searches: Vec<SearchBindingRecord>,
    /// How far the tables are that a snapshot fills: nothing while their transaction is not committed.
    pub restored: Option<Restored>,
    /// Where the snapshot of the Tenant with this uid is, once it was verified.
    pub snapshot: Option<String>,
    /// Names of direct accesses that have credentials.
    pub accesses: Vec<String>,
    /// Those of the asked hosts that another tenant serves.
    pub taken_hosts: Vec<TakenHost>,
    /// The owner role.
    pub owner: Option<ObservedRole>,
    /// The DML role.
    pub role: Option<ObservedRole>,
    /// A migrator that is at work, or that a crash left.
    #[serde(default)]
    pub migrator: Option<ObservedRole>,
    /// The login that serves the tenant alone, if there is one.
    #[serde(default)]
    pub traffic: Option<ObservedTraffic>,
    /// What can be code, or lead to some, and is of no shape that our DDL makes, in words. Expressions of columns and checks are not here.
    #[serde(default)]
    pub foreign: Vec<String>,
    /// The schema.
    pub schema: Option<ObservedSchema>,
    /// Tables of the schema, by name.
    pub tables: BTreeMap<String, ObservedTable>,
    /// Sequences of the schema, by name, and whether the DML role may use them.
    pub sequences: BTreeMap<String, bool>,
}

/// How far a restore is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Restored {
    /// The tables are filled; the registry does not know yet what they are at.
    Loaded,
    /// The registry knows.
    Recorded,
}

/// A host that another tenant serves.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TakenHost {
    /// The host.
    pub host: String,
    /// The tenant that serves it.
    pub tenant: String,
}

/// A role.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct ObservedRole {
    /// Its comment.
    pub comment: Option<String>,
    /// Who may administer it or become it.
    pub members: Vec<Member>,
    /// Roles whose rights it has.
    pub groups: Vec<String>,
}

/// A member of a role.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Member {
    /// The member.
    pub name: String,
    /// It may administer the role.
    pub admin: bool,
    /// It may become the role.
    pub set: bool,
}

/// A schema.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct ObservedSchema {
    /// Its comment.
    pub comment: Option<String>,
    /// The role that owns it.
    pub owner: String,
    /// The DML role may use it.
    pub granted: bool,
    /// The DML role gets its rights on tables made from now on.
    pub default_table_grants: bool,
    /// The DML role gets its rights on sequences made from now on.
    pub default_sequence_grants: bool,
}

/// A table.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct ObservedTable {
    /// The DML role may read and write it.
    pub granted: bool,
    /// It has a primary key.
    pub primary_key: bool,
    /// Columns, by name.
    pub columns: BTreeMap<String, ObservedColumn>,
    /// Indexes that are valid, by name, and whether each is unique.
    pub indexes: BTreeMap<String, bool>,
    /// Indexes that an attempt to build them left behind.
    #[serde(default)]
    pub invalid_indexes: Vec<String>,
    /// Check and foreign key constraints, by name, as `pg_get_constraintdef` writes them.
    pub constraints: BTreeMap<String, String>,
}

/// A column.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct ObservedColumn {
    /// The type, as `format_type` writes it.
    #[serde(rename = "type")]
    pub sql_type: String,
    /// It must have a value.
    pub not_null: bool,
    /// Its default, as `pg_get_expr` writes it.
    pub default: Option<String>,
}

/// The login that serves the tenant alone.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct ObservedTraffic {
    /// The role that it is; `groups` has all that it is a member of.
    #[serde(flatten)]
    pub role: ObservedRole,
    /// It can log in.
    pub opens: bool,
    /// It has settings or attributes that we did not give it.
    pub altered: bool,
    /// The tenant has shared connections for so long that no replica asks here any more.
    pub forgotten: bool,
}

impl ObservedRole {
    /// The ownership mark.
    pub fn mark(&self) -> Option<OwnershipMark> {
        OwnershipMark::parse(self.comment.as_deref()?)
    }

    /// The shard whose provisioner made the role: only that login may change it.
    pub fn provisioner(&self) -> Option<LoginShard> {
        self.members.iter().filter(|member| member.admin).find_map(|m| LoginShard::of_provisioner(&m.name))
    }

    /// Whether `login` may become the role.
    pub fn lets_in(&self, login: &str) -> bool {
        self.members.iter().any(|member| member.set && member.name == login)
    }
}

impl ObservedSchema {
    /// The ownership mark.
    pub fn mark(&self) -> Option<OwnershipMark> {
        OwnershipMark::parse(self.comment.as_deref()?)
    }
}

impl Observed {
    /// The shard of logins that the tenant is bound to, if it exists: who made the roles decides, since nobody else may
    /// change them; the registry is asked where there are none.
    pub fn shard(&self) -> Option<LoginShard> {
        let roles = [&self.owner, &self.role];
        roles
            .into_iter()
            .flatten()
            .find_map(ObservedRole::provisioner)
            .or_else(|| self.record.as_ref().map(|record| LoginShard::new(record.login_shard)))
    }
}

/// Those of `tables` that hold no row, as far as their files tell: one that was emptied counts as holding some.
///
/// # Errors
/// When Postgres does not answer.
pub async fn empty_tables(
    database: &PgPool,
    tenant: &Identity,
    tables: &[String],
) -> Result<Vec<String>, Error> {
    sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND c.relname = ANY ($2) AND c.relkind = 'r' AND pg_catalog.pg_relation_size(c.oid) = 0",
    )
    .bind(tenant.schema.as_str())
    .bind(tables)
    .fetch_all(database)
    .await
    .map_err(Error::database("looking for tables without rows"))
}

/// Whether there is a role of this name.
///
/// # Errors
/// When Postgres does not answer.
pub async fn has_role(database: &PgPool, name: &str) -> Result<bool, Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = $1)")
        .bind(name)
        .fetch_one(database)
        .await
        .map_err(Error::database("looking for the migrator"))
}

/// The logins that are the tenant's alone: its own, its migrator and those of its accesses.
///
/// # Errors
/// When Postgres does not answer.
pub async fn own_logins(database: &PgPool, tenant: &Identity) -> Result<Vec<String>, Error> {
    sqlx::query_scalar(
        "SELECT r.rolname::text FROM pg_catalog.pg_roles r \
         LEFT JOIN pg_catalog.pg_shdescription d ON d.objoid = r.oid AND d.classoid = 'pg_catalog.pg_authid'::regclass \
         WHERE r.rolcanlogin AND (r.rolname IN ($1, $2) OR pg_catalog.starts_with(d.description, $3))",
    )
    .bind(tenant.traffic.as_str())
    .bind(tenant.migrator.as_str())
    .bind(AccessMark::prefix(tenant.uid))
    .fetch_all(database)
    .await
    .map_err(Error::database("looking for the tenant's logins"))
}

/// Who uses a table of the tenant right now, as `crm_customer, which reporting (process 4711) uses`; nobody of ours counts.
///
/// # Errors
/// When Postgres does not answer.
pub async fn lock_holders(database: &PgPool, tenant: &Identity) -> Result<Vec<String>, Error> {
    sqlx::query_scalar(
        "SELECT DISTINCT pg_catalog.format('%s, which %s (process %s) uses', c.relname, a.usename, a.pid) \
         FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid = l.relation \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
         WHERE l.granted AND n.nspname = $1 AND c.relkind IN ('r', 'p') AND a.usename <> $2 \
           AND a.usename NOT LIKE 'tenantry\\_provisioner\\_%' \
           AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) \
         ORDER BY 1 LIMIT 3",
    )
    .bind(tenant.schema.as_str())
    .bind(tenant.migrator.as_str())
    .fetch_all(database)
    .await
    .map_err(Error::database("looking for who holds a table"))
}

/// Of whom to look at everything.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Whose names to look up.
    pub tenant: &'a Identity,
    /// Hosts that nobody else should serve.
    pub hosts: &'a [String],
    /// The digest of what was seen last: the same is not sent again.
    pub known: Option<Digest>,
}

/// A digest of everything that was seen of a tenant, to be compared with another of the same server only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(i64);

/// What a look at one of many found.
#[derive(Debug)]
pub struct Sight {
    /// Of everything that is there.
    pub digest: Digest,
    /// What is there; nothing when it is what the asker knew already.
    pub observed: Option<Observed>,
}

/// Looks at everything that bears the tenant's names, ours or not; run as `tenantry_operator`.
///
/// # Errors
/// When Postgres does not answer.
pub async fn observe(
    database: impl PgExecutor<'_>,
    tenant: &Identity,
    hosts: &[String],
) -> Result<Observed, Error> {
    let sights = observe_many(database, &[Asked { tenant, hosts, known: None }]).await?;
    let seen = sights.into_iter().next().and_then(|sight| sight.observed);
    seen.ok_or_else(|| Error::database(LOOKING)(sqlx::Error::RowNotFound))
}

/// The same for many at once, in their order.
///
/// # Errors
/// When Postgres does not answer.
pub async fn observe_many(database: impl PgExecutor<'_>, asked: &[Asked<'_>]) -> Result<Vec<Sight>, Error> {
    let texts = |of: fn(&Identity) -> &str| asked.iter().map(|one| of(one.tenant)).collect::<Vec<_>>();
    let rows: Vec<(i64, Option<Json<Observed>>)> = sqlx::query_as(QUERY)
        .bind(texts(|tenant| tenant.name.as_str()))
        .bind(texts(|tenant| tenant.schema.as_str()))
        .bind(texts(|tenant| tenant.owner.as_str()))
        .bind(texts(|tenant| tenant.role.as_str()))
        .bind(asked.iter().map(|one| one.hosts.join(" ")).collect::<Vec<_>>())
        .bind(asked.iter().map(|one| one.tenant.uid).collect::<Vec<_>>())
        .bind(asked.iter().map(|one| one.known.map(|Digest(digest)| digest)).collect::<Vec<_>>())
        .bind(texts(|tenant| tenant.migrator.as_str()))
        .bind(texts(|tenant| tenant.traffic.as_str()))
        .fetch_all(database)
        .await
        .map_err(Error::database(LOOKING))?;
    let sight = |(digest, seen): (i64, Option<Json<Observed>>)| Sight {
        digest: Digest(digest),
        observed: seen.map(|Json(observed)| observed),
    };
    Ok(rows.into_iter().map(sight).collect())
}
