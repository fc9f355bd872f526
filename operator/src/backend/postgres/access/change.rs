//! What can be changed about direct access, and the SQL of it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Deserialize;
use tenantry_crds::{
    names::{AccessLogin, AccessName, AccessRole, Slot},
    v1alpha1::{AccessBackend, AccessLevel},
};
use tenantry_migrations::{
    logins,
    sql::{Ident, Literal},
};

use super::{
    super::{
        change::{Identity, OrphanRow},
        ddl::push,
        rows,
    },
    grants::{CONNECTION_LIMIT, Rights, Verifier, mark, settings},
};

/// How far credentials are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Issued {
    /// They have a new serial; the backend may not know them.
    New,
    /// The same login is to get another password; the backend may not know it.
    Renewed,
    /// The backend knows them.
    Applied,
}

impl Issued {
    const fn as_str(self) -> &'static str {
        match self {
            Self::New => "New",
            Self::Renewed => "Renewed",
            Self::Applied => "Applied",
        }
    }
}

/// The key of a row of `tenantry.access` within its tenant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowKey {
    /// The access.
    pub access: AccessName,
    /// The backend.
    pub backend: AccessBackend,
}

/// What a row says when credentials are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRow {
    /// Which row.
    pub key: RowKey,
    /// The level.
    pub level: AccessLevel,
    /// Namespace and name of the Secret.
    pub secret: (String, String),
    /// Which credentials.
    pub serial: i64,
    /// SHA-256 of the password.
    pub digest: String,
    /// [`Issued::New`] or [`Issued::Renewed`].
    pub state: Issued,
    /// The annotation that is acted on with this.
    pub handled_rotate: Option<String>,
}

/// A change to a tenant's direct access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessChange {
    /// The intent: this password is about to be in the Secret.
    Issue(AccessRow),
    /// The access role with the rights of its level, whatever it had before.
    Role {
        /// The role.
        role: AccessRole,
        /// Of which access.
        access: AccessName,
        /// What it may do.
        level: AccessLevel,
        /// It is there.
        exists: bool,
        /// It can become the owner.
        owns: bool,
    },
    /// A login of the role. Its password stays as it is without a verifier.
    Login {
        /// The role.
        role: AccessRole,
        /// The slot.
        slot: Slot,
        /// Of which access.
        access: AccessName,
        /// What it may do.
        level: AccessLevel,
        /// It is there.
        exists: bool,
        /// Its password.
        verifier: Option<Verifier>,
    },
    /// The backend and the Secret have what the row says. The credentials before these work for so many seconds more.
    Applied {
        /// Which row.
        key: RowKey,
        /// What they allow.
        level: AccessLevel,
        /// Since when.
        at: Time,
        /// Seconds.
        overlap: u64,
    },
    /// The credentials before these are gone.
    Retired(RowKey),
    /// The Secret is not claimed any more.
    Release(RowKey),
    /// Nobody can log in as this one any more; who is in stays.
    Refuse(AccessLogin),
    /// Who is in is put out.
    EndSessions(AccessLogin),
    /// Who is in is put out, and the login goes with all that it owns.
    DropLogin(AccessLogin),
    /// The access role goes with its rights.
    DropRole {
        /// The role.
        role: AccessRole,
        /// The tenant's schema is there, so the role may have rights in it.
        schema: bool,
    },
    /// The row goes.
    Forget(RowKey),
    /// What a backend that does not answer keeps of it.
    Leave(OrphanRow),
}

/// All of `changes` as one script, which is one transaction; see [`super::super::ddl::script`].
pub fn script(tenant: &Identity, epoch: i64, changes: &[AccessChange]) -> String {
    let mut sql = format!("SELECT tenantry.fence({epoch});\n");
    for change in changes {
        append(&mut sql, tenant, change);
    }
    sql
}

fn append(sql: &mut String, tenant: &Identity, change: &AccessChange) {
    match change {
        AccessChange::Issue(row) => issue(sql, tenant, row),
        AccessChange::Role { role, access, level, exists, owns } => {
            if !exists {
                push(sql, format_args!("CREATE ROLE {} NOLOGIN", Ident(role.as_str())));
            }
            comment(sql, tenant, role.as_str(), access);
            grant(sql, tenant, role, *level, *owns);
        }
        AccessChange::Login { role, slot, access, level, exists, verifier } => {
            let login = role.login(*slot);
            let password =
                verifier.as_ref().map(|verifier| format!(" PASSWORD {}", Literal(verifier.as_str())));
            let (verb, login_name) = (if *exists { "ALTER" } else { "CREATE" }, Ident(login.as_str()));
            push(
                sql,
                format_args!(
                    "{verb} ROLE {login_name} LOGIN INHERIT CONNECTION LIMIT {CONNECTION_LIMIT}{}",
                    password.unwrap_or_default()
                ),
            );
            comment(sql, tenant, login.as_str(), access);
            push(
                sql,
                format_args!("GRANT {} TO {login_name} WITH INHERIT TRUE, SET TRUE", Ident(role.as_str())),
            );
            push(sql, format_args!("ALTER ROLE {login_name} RESET ALL"));
            for (name, value) in settings(tenant, *level) {
                push(sql, format_args!("ALTER ROLE {login_name} SET {name} = {}", Literal(&value)));
            }
        }
        AccessChange::Applied { key, level, at, overlap } => push(
            sql,
            format_args!(
                "UPDATE tenantry.access SET level = '{level:?}', state = 'Applied', \
                 rotated_at = CASE state WHEN 'Applied' THEN rotated_at ELSE {at} END, \
                 previous_until = CASE WHEN state = 'New' AND serial > 1 THEN {at} + interval '{overlap} seconds' \
                 ELSE previous_until END {}",
                matching(tenant, key),
                at = format_args!("{}::timestamptz", Literal(&at.0.to_string())),
            ),
        ),
        AccessChange::Retired(key) => push(
            sql,
            format_args!("UPDATE tenantry.access SET previous_until = NULL {}", matching(tenant, key)),
        ),
        AccessChange::Release(key) => push(
            sql,
            format_args!(
                "UPDATE tenantry.access SET secret_namespace = NULL, secret_name = NULL {}",
                matching(tenant, key)
            ),
        ),
        AccessChange::Refuse(login) => {
            push(sql, format_args!("ALTER ROLE {} NOLOGIN", Ident(login.as_str())));
        }
        AccessChange::EndSessions(login) => end_sessions(sql, login),
        AccessChange::DropLogin(login) => {
            let name = Ident(login.as_str());
            end_sessions(sql, login);
            // A large object is all that a login can own: anyone may make one.
            push(sql, format_args!("DROP OWNED BY {name}"));
            push(sql, format_args!("DROP ROLE {name}"));
        }
        AccessChange::DropRole { role, schema } => {
            let name = Ident(role.as_str());
            if *schema {
                // DROP OWNED revokes only what whoever runs it granted.
                become_owner(sql, tenant);
                revoke(sql, tenant, role);
                push(sql, format_args!("RESET ROLE"));
            }
            own(sql, role.as_str());
            push(sql, format_args!("DROP OWNED BY {name}"));
            push(sql, format_args!("DROP ROLE {name}"));
        }
        AccessChange::Forget(key) => {
            push(sql, format_args!("DELETE FROM tenantry.access {}", matching(tenant, key)));
        }
        AccessChange::Leave(row) => rows::orphan(sql, tenant, row),
    }
}

/// Sessions of a role are ended, and what it owns is dropped, by those who have its rights.
fn own(sql: &mut String, role: &str) {
    push(sql, format_args!("GRANT {} TO CURRENT_USER WITH INHERIT TRUE, SET FALSE", Ident(role)));
}

fn end_sessions(sql: &mut String, login: &AccessLogin) {
    own(sql, login.as_str());
    push(
        sql,
        format_args!(
            "SELECT pg_catalog.pg_terminate_backend(pid, 1000) FROM pg_catalog.pg_stat_activity WHERE usename = {}",
            Literal(login.as_str())
        ),
    );
}

fn comment(sql: &mut String, tenant: &Identity, role: &str, access: &AccessName) {
    let mark = mark(tenant, access.as_str());
    push(sql, format_args!("COMMENT ON ROLE {} IS {}", Ident(role), Literal(&mark)));
}

/// Everything is taken first, so that a level that shrinks leaves nothing.
fn grant(sql: &mut String, tenant: &Identity, role: &AccessRole, level: AccessLevel, owns: bool) {
    let (name, role) = (role, Ident(role.as_str()));
    let (owner, schema) = (Ident(tenant.owner.as_str()), Ident(tenant.schema.as_str()));
    push(sql, format_args!("GRANT {} TO {role} WITH INHERIT TRUE, SET FALSE", Ident(logins::ACCESS)));
    if level == AccessLevel::Owner {
        push(sql, format_args!("GRANT {owner} TO {role} WITH SET TRUE, INHERIT FALSE"));
    } else if owns {
        push(sql, format_args!("REVOKE {owner} FROM {role}"));
    }
    become_owner(sql, tenant);
    revoke(sql, tenant, name);
    let defaults = format!("ALTER DEFAULT PRIVILEGES IN SCHEMA {schema}");
    let rights = Rights::of(level);
    if !rights.schema.is_empty() {
        push(sql, format_args!("GRANT {} ON SCHEMA {schema} TO {role}", rights.schema));
    }
    for (kind, privileges) in [("TABLES", rights.tables), ("SEQUENCES", rights.sequences)] {
        if !privileges.is_empty() {
            push(sql, format_args!("GRANT {privileges} ON ALL {kind} IN SCHEMA {schema} TO {role}"));
            push(sql, format_args!("{defaults} GRANT {privileges} ON {kind} TO {role}"));
        }
    }
    push(sql, format_args!("RESET ROLE"));
}

/// The provisioner acts as the owner until `RESET ROLE`.
fn become_owner(sql: &mut String, tenant: &Identity) {
    let owner = Ident(tenant.owner.as_str());
    push(sql, format_args!("GRANT {owner} TO CURRENT_USER WITH SET TRUE, INHERIT FALSE"));
    push(sql, format_args!("SET LOCAL ROLE {owner}"));
}

fn revoke(sql: &mut String, tenant: &Identity, role: &AccessRole) {
    let (role, schema) = (Ident(role.as_str()), Ident(tenant.schema.as_str()));
    push(sql, format_args!("REVOKE ALL ON SCHEMA {schema} FROM {role}"));
    for kind in ["TABLES", "SEQUENCES"] {
        push(sql, format_args!("REVOKE ALL ON ALL {kind} IN SCHEMA {schema} FROM {role}"));
        push(
            sql,
            format_args!("ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} REVOKE ALL ON {kind} FROM {role}"),
        );
    }
}

fn issue(sql: &mut String, tenant: &Identity, row: &AccessRow) {
    let (namespace, secret) = &row.secret;
    let rotate = row.handled_rotate.as_deref();
    push(
        sql,
        format_args!(
            "INSERT INTO tenantry.access \
             (tenant, access, backend, level, secret_namespace, secret_name, serial, digest, state, handled_rotate) \
             VALUES ({}, {}, '{:?}', '{:?}', {}, {}, {}, {}, '{}', {}) \
             ON CONFLICT (tenant, access, backend) DO UPDATE SET secret_namespace = excluded.secret_namespace, \
             secret_name = excluded.secret_name, serial = excluded.serial, digest = excluded.digest, \
             state = excluded.state, handled_rotate = excluded.handled_rotate",
            Literal(tenant.name.as_str()),
            Literal(row.key.access.as_str()),
            row.key.backend,
            row.level,
            Literal(namespace),
            Literal(secret),
            row.serial,
            Literal(&row.digest),
            row.state.as_str(),
            rotate.map_or_else(|| "NULL".to_owned(), |value| Literal(value).to_string()),
        ),
    );
}

fn matching(tenant: &Identity, key: &RowKey) -> String {
    format!(
        "WHERE tenant = {} AND access = {} AND backend = '{:?}'",
        Literal(tenant.name.as_str()),
        Literal(key.access.as_str()),
        key.backend
    )
}
