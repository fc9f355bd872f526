//! The SQL of a tenant's rows in the provisioned state.

use tenantry_crds::names::TenantName;
use tenantry_migrations::sql::Literal;
use uuid::Uuid;

use super::{
    change::{Identity, OrphanRow, RowChange, SearchKey, SearchRow, SnapshotRow, StreamRow, TenantRow},
    ddl::push,
};
use crate::snapshot::format::Factor;

/// Adds the changes of rows. The last statement makes a new revision of the tenant: a trigger tells the control plane.
pub(super) fn append(sql: &mut String, tenant: &Identity, changes: &[RowChange]) {
    for change in changes {
        row_change(sql, tenant, change);
    }
    let notified = changes.is_empty()
        || changes.iter().any(|change| matches!(change, RowChange::PutTenant(_) | RowChange::RemoveTenant));
    if !notified {
        let name = name(&tenant.name);
        push(sql, format_args!("UPDATE tenantry.tenant SET revision = revision + 1 WHERE name = {name}"));
    }
}

fn row_change(sql: &mut String, tenant: &Identity, change: &RowChange) {
    let name = name(&tenant.name);
    match change {
        RowChange::PutTenant(row) => put_tenant(sql, tenant, row),
        RowChange::PutState(suspended, message) => push(
            sql,
            format_args!(
                "UPDATE tenantry.tenant SET state = '{}', suspended_message = {} WHERE name = {name}",
                state(*suspended),
                nullable(message.as_deref())
            ),
        ),
        RowChange::PutConnections(connections) => push(
            sql,
            format_args!(
                "UPDATE tenantry.tenant SET connections = '{}', connections_since = now() WHERE name = {name}",
                connections.as_str()
            ),
        ),
        RowChange::AddHost(host) => push(
            sql,
            format_args!(
                "INSERT INTO tenantry.tenant_host (host, tenant) VALUES ({}, {name})",
                Literal(host)
            ),
        ),
        RowChange::RemoveHost(host) => push(
            sql,
            format_args!(
                "DELETE FROM tenantry.tenant_host WHERE host = {} AND tenant = {name}",
                Literal(host)
            ),
        ),
        RowChange::InstallApp(app, version) => push(
            sql,
            format_args!(
                "INSERT INTO tenantry.tenant_app (tenant, app, version, state) \
                 VALUES ({name}, {}, {}, 'Installed') \
                 ON CONFLICT (tenant, app) DO UPDATE SET version = excluded.version, state = excluded.state",
                Literal(app.as_str()),
                Literal(version)
            ),
        ),
        RowChange::TakeMigrationAsRun(app, migration, checksum) => push(
            sql,
            format_args!(
                "INSERT INTO tenantry.tenant_migration (tenant, app, name, checksum, ran_at) \
                 VALUES ({name}, {}, {}, {}, now()) ON CONFLICT DO NOTHING",
                Literal(app.as_str()),
                Literal(migration),
                Literal(checksum)
            ),
        ),
        RowChange::BeginMigration { app, name: migration, checksum, transaction } => push(
            sql,
            format_args!(
                "INSERT INTO tenantry.tenant_migration (tenant, app, name, checksum, transaction) \
                 VALUES ({name}, {}, {}, {}, {}) \
                 ON CONFLICT (tenant, app, name) DO UPDATE SET checksum = excluded.checksum, \
                 transaction = excluded.transaction, begun_at = now() WHERE tenant_migration.ran_at IS NULL",
                Literal(app.as_str()),
                Literal(migration),
                Literal(checksum),
                Literal(transaction)
            ),
        ),
        RowChange::EndMigration(app, migration) => push(
            sql,
            format_args!(
                "UPDATE tenantry.tenant_migration SET ran_at = now() \
                 WHERE tenant = {name} AND app = {} AND name = {} AND ran_at IS NULL",
                Literal(app.as_str()),
                Literal(migration)
            ),
        ),
        // Of another Tenant of that name there is no row, and NULL is refused.
        RowChange::BeginRestore { snapshot, rows, transaction } => push(
            sql,
            format_args!(
                "INSERT INTO tenantry.restored (tenant, snapshot, rows, transaction) \
                 VALUES ((SELECT name FROM tenantry.tenant WHERE name = {name} AND uid = '{}'), {}, {rows}, {}) \
                 ON CONFLICT (tenant) DO UPDATE SET snapshot = excluded.snapshot, rows = excluded.rows, \
                 transaction = excluded.transaction, restored_at = now()",
                tenant.uid,
                Literal(snapshot),
                Literal(transaction)
            ),
        ),
        RowChange::EndRestore => {
            push(sql, format_args!("UPDATE tenantry.restored SET transaction = NULL WHERE tenant = {name}"));
        }
        RowChange::PutFactors(factors) => put_factors(sql, tenant, factors),
        RowChange::TakeOrigin(origin) => push(
            sql,
            format_args!(
                "UPDATE tenantry.tenant SET origin = '{origin}' WHERE name = {name} AND uid = '{}'",
                tenant.uid
            ),
        ),
        RowChange::RemoveApp(app) => push(
            sql,
            format_args!(
                "UPDATE tenantry.tenant_app SET state = 'Removed' WHERE tenant = {name} AND app = {}",
                Literal(app)
            ),
        ),
        RowChange::PutStream(row) => put_stream(sql, &name, row),
        RowChange::PutSearch(row) => put_search(sql, &name, row, false),
        RowChange::SearchIsLive(row) => put_search(sql, &name, row, true),
        RowChange::StopSearch(key) => {
            push(
                sql,
                format_args!("UPDATE tenantry.search_binding SET live = false {}", matching(&name, key)),
            );
        }
        RowChange::RemoveSearch(key) => {
            push(sql, format_args!("DELETE FROM tenantry.search_binding {}", matching(&name, key)));
        }
        RowChange::StopServing => stop_serving(sql, &name),
        RowChange::Retain => {
            push(sql, format_args!("UPDATE tenantry.tenant SET state = 'Retained' WHERE name = {name}"));
            stop_serving(sql, &name);
            // The names are free for another tenant: only data is kept.
            push(sql, format_args!("DELETE FROM tenantry.tenant_host WHERE tenant = {name}"));
        }
        RowChange::Adopt(kept) => adopt(sql, tenant, kept),
        RowChange::SnapshotTaken(row) => snapshot_taken(sql, tenant, row),
        RowChange::ForgetSnapshot => {
            push(sql, format_args!("DELETE FROM tenantry.snapshot WHERE uid = '{}'", tenant.uid));
        }
        RowChange::Orphan(row) => orphan(sql, tenant, row),
        RowChange::RemoveTenant => push(
            sql,
            format_args!("DELETE FROM tenantry.tenant WHERE name = {name} AND uid = '{}'", tenant.uid),
        ),
    }
}

/// The data keep their origin. Sessions and one-time tokens name the uid of the Tenant that is gone: what opens nothing any more is not
/// told to be there.
fn adopt(sql: &mut String, tenant: &Identity, kept: &Uuid) {
    let (name, role) = (name(&tenant.name), Literal(tenant.role.as_str()));
    push(
        sql,
        format_args!(
            "UPDATE tenantry.tenant SET origin = coalesce(origin, uid), uid = '{}', state = 'Active', \
             suspended_message = NULL, ready = false, deleted_at = NULL \
             WHERE name = {name} AND uid = '{kept}' AND state = 'Retained'",
            tenant.uid
        ),
    );
    for journal in ["auth_session", "auth_token"] {
        push(sql, format_args!("DELETE FROM tenantry.{journal} WHERE role = {role}"));
    }
}

fn put_factors(sql: &mut String, tenant: &Identity, factors: &[Factor]) {
    let role = Literal(tenant.role.as_str());
    let rows: Vec<String> = factors
        .iter()
        .map(|factor| {
            let recovery: Vec<String> =
                factor.recovery.iter().map(|digest| Literal(digest).to_string()).collect();
            format!(
                "({role}::name, '{}'::uuid, '{}'::uuid, {}, {}::timestamptz, {}, ARRAY[{}]::text[], {}::timestamptz)",
                factor.id,
                factor.nonce,
                nullable(factor.sealed.as_deref()),
                Literal(&factor.confirmed_at),
                factor.last_step,
                recovery.join(", "),
                Literal(&factor.created_at)
            )
        })
        .collect();
    push(
        sql,
        format_args!(
            "INSERT INTO tenantry.auth_factor (role, id, nonce, sealed, confirmed_at, last_step, recovery, created_at) \
             VALUES {} ON CONFLICT (role, id) DO NOTHING",
            rows.join(", ")
        ),
    );
}

fn put_tenant(sql: &mut String, tenant: &Identity, row: &TenantRow) {
    let state = state(row.suspended);
    let message = nullable(row.suspended_message.as_deref());
    let json = |value: &serde_json::Value| Literal(&value.to_string()).to_string();
    push(
        sql,
        format_args!(
            "INSERT INTO tenantry.tenant (name, uid, state, suspended_message, schema_name, tenant_role, login_shard, \
             placement, quotas, auth, cors, generation, ready) \
             VALUES ({}, '{}', '{state}', {message}, {}, {}, {}, {}, {}, {}, {}, {}, {}) \
             ON CONFLICT (name) DO UPDATE SET state = excluded.state, suspended_message = excluded.suspended_message, \
             login_shard = excluded.login_shard, placement = excluded.placement, quotas = excluded.quotas, \
             auth = excluded.auth, cors = excluded.cors, generation = excluded.generation, ready = excluded.ready, revision = tenant.revision + 1, deleted_at = NULL \
             WHERE tenant.uid = excluded.uid",
            name(&tenant.name),
            tenant.uid,
            Literal(tenant.schema.as_str()),
            Literal(tenant.role.as_str()),
            row.shard.number(),
            json(&row.placement),
            json(&row.quotas),
            json(&row.auth),
            json(&row.cors),
            row.generation,
            row.ready,
        ),
    );
}

fn put_stream(sql: &mut String, name: &str, row: &StreamRow) {
    push(
        sql,
        format_args!(
            "INSERT INTO tenantry.stream_binding \
             (tenant, app, queue, class, stream_key, max_attempts, lease_seconds, max_length) \
             VALUES ({name}, {}, {}, {}, {}, {}, {}, {}) \
             ON CONFLICT (tenant, app, queue) DO UPDATE SET class = excluded.class, \
             max_attempts = excluded.max_attempts, lease_seconds = excluded.lease_seconds, \
             max_length = excluded.max_length",
            Literal(row.app.as_str()),
            Literal(row.queue.as_str()),
            Literal(row.class),
            Literal(row.key.as_str()),
            row.max_attempts,
            row.lease_seconds,
            row.max_length,
        ),
    );
}

fn put_search(sql: &mut String, name: &str, row: &SearchRow, live: bool) {
    // Plain structs with text keys cannot fail to serialize.
    let settings = serde_json::to_string(&row.settings).unwrap_or_default();
    push(
        sql,
        format_args!(
            "INSERT INTO tenantry.search_binding \
             (tenant, app, doc_type, engine, isolation, index_uid, settings, settings_digest, live) \
             VALUES ({name}, {}, {}, 'Meilisearch', 'Dedicated', {}, {}, {}, {live}) \
             ON CONFLICT (tenant, app, doc_type) DO UPDATE SET settings = excluded.settings, \
             settings_digest = excluded.settings_digest, live = excluded.live",
            Literal(row.app.as_str()),
            Literal(row.doc_type.as_str()),
            Literal(row.index.as_str()),
            Literal(&settings),
            Literal(&row.digest),
        ),
    );
}

fn snapshot_taken(sql: &mut String, tenant: &Identity, row: &SnapshotRow) {
    push(
        sql,
        format_args!(
            "INSERT INTO tenantry.snapshot (uid, tenant, location, manifest_sha256, rows, bytes) \
             VALUES ('{}', {}, {}, {}, {}, {}) ON CONFLICT (uid) DO NOTHING",
            tenant.uid,
            name(&tenant.name),
            Literal(&row.location),
            Literal(&row.manifest_sha256),
            row.rows,
            row.bytes
        ),
    );
}

pub(super) fn orphan(sql: &mut String, tenant: &Identity, row: &OrphanRow) {
    push(
        sql,
        format_args!(
            "INSERT INTO tenantry.orphan (tenant, uid, backend, what, by) VALUES ({}, '{}', {}, {}, {})",
            name(&tenant.name),
            tenant.uid,
            Literal(row.backend),
            Literal(&row.what.to_string()),
            Literal(&row.by)
        ),
    );
}

fn stop_serving(sql: &mut String, name: &str) {
    push(
        sql,
        format_args!("UPDATE tenantry.tenant SET ready = false, deleted_at = now() WHERE name = {name}"),
    );
}

fn matching(name: &str, key: &SearchKey) -> String {
    let (app, doc_type) = (Literal(&key.app), Literal(&key.doc_type));
    format!("WHERE tenant = {name} AND app = {app} AND doc_type = {doc_type}")
}

/// Rows of a journal that go in one transaction.
pub(super) const PURGED_AT_ONCE: u64 = 20_000;

/// Some of what the journals hold of the tenant.
pub(super) fn purge(tenant: &Identity) -> String {
    let role = Literal(tenant.role.as_str());
    let mut sql = String::new();
    for journal in ["outbox", "audit"] {
        // Without an id at the end of the batch, what is left fits into it.
        push(
            &mut sql,
            format_args!(
                "DELETE FROM tenantry.{journal} WHERE role = {role} AND id <= coalesce((SELECT id FROM \
                 tenantry.{journal} WHERE role = {role} ORDER BY id OFFSET {PURGED_AT_ONCE} LIMIT 1), {})",
                i64::MAX
            ),
        );
    }
    // The seals of rows that are gone. The head goes in each batch: whoever seals meanwhile finds no role to seal for.
    push(
        &mut sql,
        format_args!(
            "DELETE FROM tenantry.audit_seal WHERE role = {role} AND seal <= coalesce((SELECT seal FROM \
             tenantry.audit_seal WHERE role = {role} ORDER BY seal OFFSET {PURGED_AT_ONCE} LIMIT 1), {})",
            i64::MAX
        ),
    );
    push(&mut sql, format_args!("DELETE FROM tenantry.audit_head WHERE role = {role}"));
    push(
        &mut sql,
        format_args!(
            "DELETE FROM tenantry.idempotency WHERE role = {role} AND id IN \
             (SELECT id FROM tenantry.idempotency WHERE role = {role} LIMIT {PURGED_AT_ONCE})"
        ),
    );
    for journal in ["auth_session", "auth_token", "auth_attempt", "auth_factor", "auth_change"] {
        push(
            &mut sql,
            format_args!(
                "DELETE FROM tenantry.{journal} WHERE role = {role} AND id IN \
                 (SELECT id FROM tenantry.{journal} WHERE role = {role} LIMIT {PURGED_AT_ONCE})"
            ),
        );
    }
    sql
}

fn state(suspended: bool) -> &'static str {
    if suspended { "Suspended" } else { "Active" }
}

fn nullable(text: Option<&str>) -> String {
    text.map_or_else(|| "NULL".to_owned(), |text| Literal(text).to_string())
}

fn name(tenant: &TenantName) -> String {
    Literal(tenant.as_str()).to_string()
}
