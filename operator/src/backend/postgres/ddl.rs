//! The SQL of a tenant's roles and objects. The one place in the operator where such text is made: it takes names and
//! layouts, never text of a request.

use std::fmt::Write as _;

use tenantry_crds::{
    names::{RelationKind, RelationName, TableName},
    v1alpha1::OnDelete,
};
use tenantry_migrations::{
    layout::{Column, DefaultValue, ForeignKey, Index, TableLayout},
    logins::{self, LoginShard},
    mark::OwnershipMark,
    sql::{Ident, Literal},
};

use super::{
    change::{Changes, Identity, ObjectChange, RoleChange},
    rows,
};

const TABLE_GRANTS: &str = "SELECT, INSERT, UPDATE, DELETE";
const SEQUENCE_GRANTS: &str = "USAGE";

/// All of `changes` as one script. Sent as one message it is one transaction: Postgres rolls back all of it when a part
/// fails, and no connection is ever idle inside it, so a frozen leader holds no lock for longer than a statement.
///
/// `verifier` yields what Postgres keeps of the password of the tenant's own login. It is asked only where that login is made: it takes
/// some milliseconds.
pub fn script(tenant: &Identity, epoch: i64, changes: &Changes, verifier: impl FnOnce() -> String) -> String {
    let mut sql = format!("SELECT tenantry.fence({epoch});\n");
    let dedicates = changes.roles.iter().any(|change| matches!(change, RoleChange::Dedicate { .. }));
    append(&mut sql, tenant, changes, &if dedicates { verifier() } else { String::new() });
    sql
}

/// Changes of relations that are there, as one script for a session that is the tenant's owner role already.
pub fn objects_script(tenant: &Identity, changes: &[ObjectChange]) -> String {
    let mut sql = String::new();
    for change in changes {
        object_change(&mut sql, tenant, change);
    }
    sql
}

/// The same for reading: statement by statement, without the fence.
pub fn statements(tenant: &Identity, changes: &Changes) -> Vec<String> {
    let mut sql = String::new();
    append(&mut sql, tenant, changes, "(made anew)");
    // Every statement ends so, and nothing in one does: a line of a table begins with spaces.
    sql.split_terminator(";\n").map(str::to_owned).collect()
}

fn append(sql: &mut String, tenant: &Identity, changes: &Changes, verifier: &str) {
    // Roles go last, when nothing is left that they own; all other changes of roles come first.
    let (last, first): (Vec<RoleChange>, Vec<RoleChange>) =
        changes.roles.iter().partition(|change| matches!(change, RoleChange::DropRoles));
    for change in first {
        role_change(sql, tenant, change, verifier);
    }
    if !changes.objects.is_empty() {
        push(sql, format_args!("SET LOCAL ROLE {}", Ident(tenant.owner.as_str())));
        for change in &changes.objects {
            object_change(sql, tenant, change);
        }
        push(sql, format_args!("RESET ROLE"));
    }
    for change in last {
        role_change(sql, tenant, change, verifier);
    }
    rows::append(sql, tenant, &changes.rows);
}

/// How long the end of a session is waited for, in milliseconds.
const SESSION_END_MS: u32 = 5_000;
/// Longer than any step of a tenant takes; a migrator that a crash left lets nobody in after it.
const MIGRATOR_LIFE: &str = "2 hours";

/// Makes the tenant's migrator, in place of one that a crash left. Its password is new each time: whoever worked with the one
/// before has no way back in, and its sessions are ended first.
pub fn open_migrator(tenant: &Identity, epoch: i64, verifier: &str, leftover: bool) -> String {
    let mut sql = format!("SELECT tenantry.fence({epoch});\n");
    if leftover {
        drop_login(&mut sql, tenant.migrator.as_str());
    }
    let (role, owner) = (Ident(tenant.migrator.as_str()), Ident(tenant.owner.as_str()));
    let (verifier, group) = (Literal(verifier), Ident(logins::MIGRATORS));
    push(&mut sql, format_args!("CREATE ROLE {role} LOGIN NOINHERIT PASSWORD {verifier}"));
    push(&mut sql, format_args!("COMMENT ON ROLE {role} IS {}", mark(tenant, false)));
    // Without the rights of a role nobody may end its sessions or drop what it owns; it has none that are of use.
    push(&mut sql, format_args!("GRANT {role} TO CURRENT_USER WITH INHERIT TRUE, SET FALSE"));
    push(&mut sql, format_args!("GRANT {group} TO {role} WITH INHERIT TRUE, SET FALSE"));
    push(&mut sql, format_args!("GRANT {owner} TO {role} WITH INHERIT FALSE, SET TRUE"));
    let until = format!(
        "pg_catalog.format('ALTER ROLE {role} VALID UNTIL %L', pg_catalog.now() + interval '{MIGRATOR_LIFE}')"
    );
    push(&mut sql, format_args!("DO {}", Literal(&format!("BEGIN EXECUTE {until}; END"))));
    sql
}

/// The end of a migrator.
pub fn close_migrator(tenant: &Identity, epoch: i64) -> String {
    let mut sql = format!("SELECT tenantry.fence({epoch});\n");
    drop_login(&mut sql, tenant.migrator.as_str());
    sql
}

fn end_sessions(sql: &mut String, name: &str) {
    push(
        sql,
        format_args!(
            "SELECT pg_catalog.pg_terminate_backend(pid, {SESSION_END_MS}) FROM pg_catalog.pg_stat_activity \
             WHERE usename = {}",
            Literal(name)
        ),
    );
}

/// Ends the sessions of a login of the tenant's, and the login with what it owns.
fn drop_login(sql: &mut String, name: &str) {
    let role = Ident(name);
    end_sessions(sql, name);
    // An app's SQL may have made something as this role, a large object at least.
    push(sql, format_args!("DROP OWNED BY {role}"));
    push(sql, format_args!("DROP ROLE {role}"));
}

/// One batch of the end of a tenant's journals, as one transaction.
pub fn purge_script(tenant: &Identity, epoch: i64) -> String {
    format!("SELECT tenantry.fence({epoch});\n{}", rows::purge(tenant))
}

/// Adds one statement.
pub(super) fn push(sql: &mut String, statement: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _infallible = sql.write_fmt(statement);
    sql.push_str(";\n");
}

fn role_change(sql: &mut String, tenant: &Identity, change: RoleChange, verifier: &str) {
    let (schema, role, owner) =
        (Ident(tenant.schema.as_str()), Ident(tenant.role.as_str()), Ident(tenant.owner.as_str()));
    let create = |sql: &mut String, role: Ident<'_>| {
        push(sql, format_args!("CREATE ROLE {role} NOLOGIN"));
        push(sql, format_args!("COMMENT ON ROLE {role} IS {}", mark(tenant, false)));
    };
    match change {
        RoleChange::CreateOwner => create(sql, owner),
        RoleChange::CreateRole => create(sql, role),
        RoleChange::AllowProvisioner => {
            push(sql, format_args!("GRANT {owner} TO CURRENT_USER WITH SET TRUE, INHERIT FALSE"));
        }
        RoleChange::OpenJournals => {
            let group = Ident(logins::TENANTS);
            push(sql, format_args!("GRANT {group} TO {role} WITH INHERIT TRUE, SET FALSE"));
        }
        RoleChange::AllowTraffic(shard) => {
            let login = shard.traffic();
            push(sql, format_args!("GRANT {role} TO {} WITH SET TRUE, INHERIT FALSE", Ident(login.as_str())));
        }
        RoleChange::CreateSchema => {
            push(sql, format_args!("CREATE SCHEMA {schema} AUTHORIZATION {owner}"));
        }
        RoleChange::RefuseTraffic(shard) => {
            push(sql, format_args!("REVOKE {role} FROM {}", Ident(shard.traffic().as_str())));
        }
        RoleChange::Dedicate { shard, exists, opens } => {
            dedicate(sql, tenant, &Dedication { shard, exists, opens, verifier });
        }
        RoleChange::CloseTraffic => {
            push(sql, format_args!("ALTER ROLE {} NOLOGIN", Ident(tenant.traffic.as_str())));
        }
        RoleChange::EndTraffic => end_sessions(sql, tenant.traffic.as_str()),
        RoleChange::DropTraffic => drop_login(sql, tenant.traffic.as_str()),
        RoleChange::DropMigrator => drop_login(sql, tenant.migrator.as_str()),
        RoleChange::MarkRetained => {
            for role in [owner, role] {
                push(sql, format_args!("COMMENT ON ROLE {role} IS {}", mark(tenant, true)));
            }
        }
        RoleChange::Adopt => {
            for role in [owner, role] {
                push(sql, format_args!("COMMENT ON ROLE {role} IS {}", mark(tenant, false)));
            }
        }
        RoleChange::DropRoles => push(sql, format_args!("DROP ROLE IF EXISTS {role}, {owner}")),
    }
}

/// Connections of a tenant's own login over all replicas, at most.
pub const TRAFFIC_CONNECTIONS: i32 = 64;

/// How a tenant gets connections of its own.
struct Dedication<'a> {
    shard: LoginShard,
    exists: bool,
    opens: bool,
    verifier: &'a str,
}

/// See [ADR 30](../../../../docs/adr/0030-dedicated-connections.md): what is taken is taken in the transaction that gives, and the
/// transaction fails when it was not all that there was to take.
fn dedicate(sql: &mut String, tenant: &Identity, to: &Dedication<'_>) {
    let (role, own) = (Ident(tenant.role.as_str()), Ident(tenant.traffic.as_str()));
    let (verb, login) =
        (if to.exists { "ALTER" } else { "CREATE" }, if to.opens { "LOGIN" } else { "NOLOGIN" });
    let verifier = Literal(to.verifier);
    push(
        sql,
        format_args!(
            "{verb} ROLE {own} {login} NOINHERIT CONNECTION LIMIT {TRAFFIC_CONNECTIONS} PASSWORD {verifier}"
        ),
    );
    push(sql, format_args!("COMMENT ON ROLE {own} IS {}", mark(tenant, false)));
    // A login may set what it likes for its next sessions; nothing of that is left.
    push(sql, format_args!("ALTER ROLE {own} RESET ALL"));
    let here = format!(
        "BEGIN EXECUTE pg_catalog.format('ALTER ROLE {own} IN DATABASE %I RESET ALL', pg_catalog.current_database()); END"
    );
    push(sql, format_args!("DO {}", Literal(&here)));
    // Without the rights of a role nobody may end its sessions or drop what it owns.
    push(sql, format_args!("GRANT {own} TO CURRENT_USER WITH INHERIT TRUE, SET FALSE"));
    push(sql, format_args!("GRANT {} TO {own} WITH INHERIT TRUE, SET FALSE", Ident(logins::MIGRATORS)));
    push(sql, format_args!("GRANT {role} TO {own} WITH SET TRUE, INHERIT FALSE"));
    push(sql, format_args!("REVOKE {role} FROM {}", Ident(to.shard.traffic().as_str())));
    push(
        sql,
        format_args!(
            "SELECT tenantry.refuse_others({}, {})",
            Literal(tenant.role.as_str()),
            Literal(tenant.traffic.as_str())
        ),
    );
}

fn object_change(sql: &mut String, tenant: &Identity, change: &ObjectChange) {
    let (schema, role) = (Ident(tenant.schema.as_str()), Ident(tenant.role.as_str()));
    let defaults = format!("ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT");
    match change {
        ObjectChange::MarkSchema { retained } => {
            push(sql, format_args!("COMMENT ON SCHEMA {schema} IS {}", mark(tenant, *retained)));
        }
        ObjectChange::GrantSchema => push(sql, format_args!("GRANT USAGE ON SCHEMA {schema} TO {role}")),
        ObjectChange::DefaultTableGrants => {
            push(sql, format_args!("{defaults} {TABLE_GRANTS} ON TABLES TO {role}"));
        }
        ObjectChange::DefaultSequenceGrants => {
            push(sql, format_args!("{defaults} {SEQUENCE_GRANTS} ON SEQUENCES TO {role}"));
        }
        ObjectChange::CreateSequence(name) => {
            push(sql, format_args!("CREATE SEQUENCE {schema}.{}", Ident(name.as_str())));
        }
        ObjectChange::ContinueSequence(table, name) => {
            let (table, name) = (Ident(table.as_str()), format!("{schema}.{}", Ident(name.as_str())));
            push(sql, format_args!("CREATE SEQUENCE {name}"));
            push(
                sql,
                format_args!(
                    "SELECT pg_catalog.setval({}, highest) FROM (SELECT max(substring(id FROM '[0-9]{{1,18}}$')::bigint) \
                     AS highest FROM {schema}.{table}) used WHERE highest > 0",
                    Literal(&name)
                ),
            );
        }
        ObjectChange::GrantSequence(name) => {
            let name = Ident(name.as_str());
            push(sql, format_args!("GRANT {SEQUENCE_GRANTS} ON SEQUENCE {schema}.{name} TO {role}"));
        }
        ObjectChange::GrantTable(table) => {
            let table = Ident(table.as_str());
            push(sql, format_args!("GRANT {TABLE_GRANTS} ON {schema}.{table} TO {role}"));
        }
        ObjectChange::CreateTable(layout) => create_table(sql, schema, layout),
        ObjectChange::CreateIndex(table, index) => create_index(sql, schema, table, index),
        ObjectChange::AddPrimaryKey(table) => {
            alter(sql, schema, table, format_args!("ADD {}", primary_key(table)))
        }
        ObjectChange::AddColumn(table, column) => {
            alter(sql, schema, table, format_args!("ADD COLUMN {}", added_column(table, column)));
        }
        ObjectChange::DropNotNull(table, column) => {
            alter(sql, schema, table, format_args!("ALTER COLUMN {} DROP NOT NULL", Ident(column)));
        }
        ObjectChange::SetDefault(table, column) => {
            let name = Ident(&column.name);
            match &column.default {
                Some(value) => alter(
                    sql,
                    schema,
                    table,
                    format_args!("ALTER COLUMN {name} SET DEFAULT {}", default_text(value)),
                ),
                None => alter(sql, schema, table, format_args!("ALTER COLUMN {name} DROP DEFAULT")),
            }
        }
        ObjectChange::AddCheck(table, column) => {
            alter(sql, schema, table, format_args!("ADD{}", column_check(table, column)));
        }
        ObjectChange::ReplaceCheck(table, column) => {
            let name = RelationName::of(table, &column.name, RelationKind::Check);
            let (constraint, check) = (Ident(name.as_str()), check(&name, column));
            alter(sql, schema, table, format_args!("DROP CONSTRAINT {constraint}, ADD{check}"));
        }
        ObjectChange::DropCheck(table, column) => {
            let name = RelationName::of(table, column, RelationKind::Check);
            alter(sql, schema, table, format_args!("DROP CONSTRAINT {}", Ident(name.as_str())));
        }
        ObjectChange::DropIndex(name) => {
            push(sql, format_args!("DROP INDEX {schema}.{}", Ident(name.as_str())));
        }
        ObjectChange::DropConstraint(table, name) => {
            alter(sql, schema, table, format_args!("DROP CONSTRAINT {}", Ident(name.as_str())));
        }
        ObjectChange::SetNotNull(table, column) => {
            alter(sql, schema, table, format_args!("ALTER COLUMN {} SET NOT NULL", Ident(column)));
        }
        ObjectChange::DropColumn(table, column) => {
            alter(sql, schema, table, format_args!("DROP COLUMN {}", Ident(column)));
        }
        ObjectChange::DropTable(table) => {
            push(sql, format_args!("DROP TABLE {schema}.{}", Ident(table.as_str())))
        }
        ObjectChange::DropSequence(name) => {
            push(sql, format_args!("DROP SEQUENCE {schema}.{}", Ident(name.as_str())));
        }
        ObjectChange::AddForeignKey(table, key) => add_foreign_key(sql, schema, table, key),
        ObjectChange::ReplaceForeignKey(table, key) => {
            let (name, constraint) = (Ident(key.name.as_str()), foreign_key(schema, key));
            alter(sql, schema, table, format_args!("DROP CONSTRAINT {name}, ADD {constraint}"));
        }
        ObjectChange::DropTables(tables) => {
            let list: Vec<String> = tables.iter().map(|table| format!("{schema}.{}", Ident(table))).collect();
            push(sql, format_args!("DROP TABLE IF EXISTS {} CASCADE", list.join(", ")));
        }
        ObjectChange::DropSchema => {
            push(sql, format_args!("DROP SCHEMA {schema} CASCADE"));
            // A large object is in no schema, and one that is left would keep the role.
            push(sql, format_args!("DROP OWNED BY CURRENT_USER"));
        }
    }
}

fn create_table(sql: &mut String, schema: Ident<'_>, layout: &TableLayout) {
    let mut lines: Vec<String> = layout
        .columns
        .iter()
        .map(|column| {
            let not_null = if column.not_null { " NOT NULL" } else { "" };
            format!("{}{not_null}{}", plain_column(column), column_check(&layout.table, column))
        })
        .collect();
    lines.push(primary_key(&layout.table));
    let table = Ident(layout.table.as_str());
    push(sql, format_args!("CREATE TABLE {schema}.{table} (\n    {}\n)", lines.join(",\n    ")));
}

fn primary_key(table: &TableName) -> String {
    let name = RelationName::of(table, "id", RelationKind::PrimaryKey);
    format!("CONSTRAINT {} PRIMARY KEY (id)", Ident(name.as_str()))
}

/// Rows that are there already have no value for a new column, so it can be NOT NULL only with a default.
fn added_column(table: &TableName, column: &Column) -> String {
    let not_null = if column.not_null && column.default.is_some() { " NOT NULL" } else { "" };
    format!("{}{not_null}{}", plain_column(column), column_check(table, column))
}

fn plain_column(column: &Column) -> String {
    let default = column.default.as_ref().map(|value| format!(" DEFAULT {}", default_text(value)));
    format!("{} {}{}", Ident(&column.name), column.sql_type, default.unwrap_or_default())
}

pub(super) fn default_text(value: &DefaultValue) -> &str {
    match value {
        DefaultValue::Literal(text) => text,
        DefaultValue::Now => "now()",
    }
}

fn column_check(table: &TableName, column: &Column) -> String {
    check(&RelationName::of(table, &column.name, RelationKind::Check), column)
}

/// The check of the texts that `column` allows, with a space before it; empty when it allows any.
pub(super) fn check(name: &RelationName, column: &Column) -> String {
    let Some(values) = &column.one_of else { return String::new() };
    let values: Vec<String> = values.iter().map(|value| Literal(value).to_string()).collect();
    let (name, column) = (Ident(name.as_str()), Ident(&column.name));
    format!(" CONSTRAINT {name} CHECK ({column} = ANY (ARRAY[{}]))", values.join(", "))
}

fn create_index(sql: &mut String, schema: Ident<'_>, table: &TableName, index: &Index) {
    let unique = if index.unique { "UNIQUE " } else { "" };
    let (name, table) = (Ident(index.name.as_str()), Ident(table.as_str()));
    push(sql, format_args!("CREATE {unique}INDEX {name} ON {schema}.{table} ({})", Ident(&index.column)));
}

fn add_foreign_key(sql: &mut String, schema: Ident<'_>, table: &TableName, key: &ForeignKey) {
    alter(sql, schema, table, format_args!("ADD {}", foreign_key(schema, key)));
}

/// A foreign key as a table constraint.
pub(super) fn foreign_key(schema: Ident<'_>, key: &ForeignKey) -> String {
    let (name, column, target) = (Ident(key.name.as_str()), Ident(&key.column), Ident(key.target.as_str()));
    let action = on_delete(key.on_delete);
    format!("CONSTRAINT {name} FOREIGN KEY ({column}) REFERENCES {schema}.{target} (id){action}")
}

/// What a foreign key says of deletions, as `pg_get_constraintdef` writes it.
///
/// Not RESTRICT, which would look at once: a statement may delete both sides.
pub const fn on_delete(on_delete: OnDelete) -> &'static str {
    match on_delete {
        OnDelete::Restrict => "",
        OnDelete::Cascade => " ON DELETE CASCADE",
        OnDelete::SetNull => " ON DELETE SET NULL",
    }
}

fn alter(sql: &mut String, schema: Ident<'_>, table: &TableName, what: std::fmt::Arguments<'_>) {
    push(sql, format_args!("ALTER TABLE {schema}.{} {what}", Ident(table.as_str())));
}

fn mark(tenant: &Identity, retained: bool) -> String {
    Literal(&OwnershipMark { uid: tenant.uid, retained }.to_string()).to_string()
}

#[cfg(test)]
#[path = "ddl_tests.rs"]
mod tests;
