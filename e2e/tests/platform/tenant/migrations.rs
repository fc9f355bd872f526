//! The apps' own SQL: what it may do, and what it may not whatever it tries.

use serde_json::{Value, json};
use tenantry_e2e::cluster::{Cluster, LIMIT};
use tenantry_e2e::manifests::{customer, shop, uses};
use tenantry_rig::eventually;

use super::{
    evolution::{until_installed, with},
    schema_evolution::{schema_of, until_stalled},
};

fn migrating(version: &str, fields: Value, migrations: Value) -> Value {
    let mut spec = shop(version, fields);
    spec["migrations"] = migrations;
    spec
}

async fn standing(cluster: &Cluster, app: &str, tenant: &str) {
    cluster.app(app, shop("1.0.0", customer())).await;
    cluster.tenant(tenant, uses(app, "Delete")).await;
    cluster.until_ready(tenant).await;
    let schema = schema_of(tenant);
    cluster
        .run_sql(&format!(
            "INSERT INTO {schema}.{app}_customer (id, name, created_by, updated_by)
             SELECT gen_random_uuid(), 'Ada ' || n, 'u', 'u' FROM generate_series(1, 3) n"
        ))
        .await;
}

#[tokio::test]
async fn a_migration_fills_what_becomes_required_and_runs_once() {
    let cluster = Cluster::shared().await;
    standing(&cluster, "fill", "fill-one").await;
    let next = with(customer(), |fields| {
        fields.push(json!({"name": "initial", "type": "String", "required": true}));
        fields.push(json!({"name": "visits", "type": "Integer"}));
    });
    let migrations = json!([
        {"name": "initials", "sql": "UPDATE fill_customer SET initial = left(name, 1); UPDATE fill_customer SET visits = 0;"},
        {"name": "count", "sql": "DO $$ BEGIN UPDATE fill_customer SET visits = visits + 1; END $$"},
    ]);
    cluster.app("fill", migrating("1.1.0", next.clone(), migrations.clone())).await;
    until_installed(&cluster, "fill-one", "fill 1.1.0").await;
    assert_eq!(cluster.columns("tenant_fill_one", "fill_customer").await[12], "initial text!");
    let rows = "SELECT DISTINCT initial || visits FROM tenant_fill_one.fill_customer";
    assert_eq!(cluster.texts(rows).await, ["A1"]);
    let records = "SELECT name || (ran_at IS NOT NULL) FROM tenantry.tenant_migration
         WHERE tenant = 'fill-one' AND app = 'fill' ORDER BY begun_at";
    assert_eq!(cluster.texts(records).await, ["initialstrue", "counttrue"]);

    // The next version has them still, and another tenant runs them, too.
    cluster.app("fill", migrating("1.2.0", next.clone(), migrations)).await;
    until_installed(&cluster, "fill-one", "fill 1.2.0").await;
    assert_eq!(cluster.texts(rows).await, ["A1"]);
    cluster.tenant("fill-two", uses("fill", "Delete")).await;
    until_installed(&cluster, "fill-two", "fill 1.2.0").await;

    // One that ran cannot become another.
    let changed = json!([{"name": "initials", "sql": "DELETE FROM fill_customer"}]);
    cluster.app("fill", migrating("1.3.0", next, changed)).await;
    until_stalled(&cluster, "fill-one", "MigrationFailed", &["fill/initials ran with another text"]).await;
    assert_eq!(cluster.texts(rows).await, ["A1"]);

    cluster.delete::<tenantry_crds::v1alpha1::Tenant>("fill-one").await;
    assert!(cluster.texts(records).await.is_empty());
}

/// A committed transaction whose end nobody noted is known as such: Postgres is asked.
#[tokio::test]
async fn a_migration_that_a_crash_hid_does_not_run_again() {
    let cluster = Cluster::shared().await;
    standing(&cluster, "hidden", "hidden-one").await;
    let sql = "UPDATE hidden_customer SET credit = coalesce(credit, 0) + 1";
    let checksum = cluster.texts(&format!("SELECT encode(sha256('{sql}'), 'hex')")).await.remove(0);
    cluster
        .run_sql(&format!(
            "BEGIN; UPDATE tenant_hidden_one.hidden_customer SET credit = 1;
             INSERT INTO tenantry.tenant_migration (tenant, app, name, checksum, transaction)
             VALUES ('hidden-one', 'hidden', 'add', '{checksum}', pg_current_xact_id()); COMMIT"
        ))
        .await;
    let migrations = json!([{"name": "add", "sql": sql}]);
    cluster.app("hidden", migrating("1.1.0", customer(), migrations)).await;
    until_installed(&cluster, "hidden-one", "hidden 1.1.0").await;
    let credit = "SELECT DISTINCT credit::text FROM tenant_hidden_one.hidden_customer";
    assert_eq!(cluster.texts(credit).await, ["1.00"]);
}

#[tokio::test]
async fn a_migration_that_fails_leaves_nothing_and_can_be_mended() {
    let cluster = Cluster::shared().await;
    standing(&cluster, "mend", "mend-one").await;
    let failing = json!([{"name": "first", "sql": "UPDATE mend_customer SET credit = 5; SELECT 1 / 0"}]);
    cluster.app("mend", migrating("1.1.0", customer(), failing)).await;
    until_stalled(&cluster, "mend-one", "MigrationFailed", &["mend/first failed", "division by zero"]).await;
    let credit = "SELECT count(credit)::text FROM tenant_mend_one.mend_customer";
    assert_eq!(cluster.texts(credit).await, ["0"]);
    let version = "SELECT version FROM tenantry.tenant_app WHERE tenant = 'mend-one' AND app = 'mend'";
    assert_eq!(cluster.texts(version).await, ["1.0.0"]);
    let mended = json!([{"name": "first", "sql": "UPDATE mend_customer SET credit = 5"}]);
    cluster.app("mend", migrating("1.2.0", customer(), mended)).await;
    until_installed(&cluster, "mend-one", "mend 1.2.0").await;
    assert_eq!(cluster.texts(credit).await, ["3"]);
}

/// What an app's SQL tries, and a part of what its tenant's status says then.
const ATTACKS: &[(&str, &str)] = &[
    ("RESET ROLE; SELECT name FROM tenantry.tenant", "permission denied for schema tenantry"),
    ("SET ROLE NONE; SELECT name FROM tenant_victim_one.victim_customer", "permission denied for schema"),
    ("RESET ROLE; SET ROLE tenant_victim_one_owner", "permission denied to set role"),
    ("SET SESSION AUTHORIZATION tenantry_operator", "permission denied to set session authorization"),
    ("SELECT name FROM tenant_victim_one.victim_customer", "permission denied for schema tenant_victim_one"),
    ("COMMIT; DROP TABLE evil_customer", "transaction commands is not implemented"),
    ("ROLLBACK", "transaction commands is not implemented"),
    ("DO $$ BEGIN DELETE FROM evil_customer; COMMIT; END $$", "invalid transaction termination"),
    ("UPDATE tenantry.tenant_app SET version = '9.9.9'", "permission denied for schema tenantry"),
    (
        "INSERT INTO tenantry.tenant_migration (tenant, app, name, checksum) VALUES ('evil-one', 'evil', 'x', 'x')",
        "permission denied for schema tenantry",
    ),
    ("SELECT tenantry.fence(1)", "permission denied for schema tenantry"),
    ("CREATE ROLE tenant_evil_friend LOGIN", "permission denied to create role"),
    ("ALTER ROLE tenant_victim_one LOGIN", "permission denied to alter role"),
    ("GRANT tenant_victim_one_owner TO tenant_evil_one", "permission denied to grant role"),
    (
        "DO $$ BEGIN PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename LIKE 'tenantry%'; END $$",
        "permission denied to terminate process",
    ),
    ("CREATE SCHEMA evil", "permission denied for database"),
    ("CREATE TABLE public.evil (n int)", "permission denied for schema public"),
    ("CREATE EXTENSION hstore", "permission denied to create extension"),
    ("COPY evil_customer TO PROGRAM 'cat'", "permission denied to COPY"),
    ("SET lock_timeout = 0; SET statement_timeout = 0; LOCK TABLE pg_catalog.pg_authid", "permission denied"),
];

#[tokio::test]
async fn hostile_sql_reaches_nobody_else() {
    let cluster = Cluster::shared().await;
    standing(&cluster, "victim", "victim-one").await;
    standing(&cluster, "evil", "evil-one").await;
    let victim = "SELECT md5(string_agg(c::text, ',' ORDER BY id)) FROM tenant_victim_one.victim_customer c";
    // Without the failures that a rollout notes.
    let registry = "SELECT string_agg(concat_ws(' ', tenant, app, version, state), ',' ORDER BY tenant, app) FROM tenantry.tenant_app
         WHERE tenant IN ('victim-one', 'evil-one')";
    // Without the tenant's own login, which is there while such SQL is to run.
    let roles = "SELECT string_agg(rolname, ',' ORDER BY rolname) FROM pg_roles
         WHERE rolname LIKE '%evil%' AND rolname NOT LIKE '%-traffic'";
    let own = "SELECT count(*)::text FROM tenant_evil_one.evil_customer";
    let before = [cluster.texts(victim).await, cluster.texts(registry).await, cluster.texts(roles).await];
    for (n, (sql, refusal)) in ATTACKS.iter().enumerate() {
        let migrations = json!([{"name": format!("attack-{n}"), "sql": sql}]);
        cluster.app("evil", migrating(&format!("1.{}.0", n + 1), customer(), migrations)).await;
        let name = format!("evil/attack-{n}");
        until_stalled(&cluster, "evil-one", "MigrationFailed", &[&name, refusal]).await;
        let after = [cluster.texts(victim).await, cluster.texts(registry).await, cluster.texts(roles).await];
        assert_eq!(after, before, "{sql}");
        assert_eq!(cluster.texts(own).await, ["3"], "{sql}: half of it stayed");
    }
    cluster.until_ready("victim-one").await;

    // What it may do as the login itself is of no use, and goes with it.
    let n = ATTACKS.len() + 1;
    let harmless = json!([{"name": "harmless", "sql":
        "SET ROLE NONE; ALTER ROLE CURRENT_USER PASSWORD 'known'; SET statement_timeout = 0"}]);
    cluster.app("evil", migrating(&format!("1.{n}.0"), customer(), harmless)).await;
    until_installed(&cluster, "evil-one", &format!("evil 1.{n}.0")).await;
    eventually("the migrator is gone", LIMIT, || async {
        let found = cluster.texts(roles).await;
        if found == before[2] { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await
    .unwrap();

    // What it plants in its own tables runs in sessions that can do no more than it could, and in no other.
    let planted = json!([{"name": "planted", "sql":
        "CREATE TABLE spied (who text);
         CREATE FUNCTION spy(numeric) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO tenant_evil_one.spied VALUES (session_user || ' as ' || current_user); RETURN true; END $$;
         ALTER TABLE evil_customer ADD CONSTRAINT spy CHECK (tenant_evil_one.spy(credit))"}]);
    cluster.app("evil", migrating(&format!("1.{}.0", n + 1), customer(), planted)).await;
    until_installed(&cluster, "evil-one", &format!("evil 1.{}.0", n + 1)).await;
    cluster.run_sql("DELETE FROM tenant_evil_one.spied").await;
    let retyped = with(customer(), |fields| {
        fields[4] =
            json!({"name": "credit", "type": "Decimal", "precision": 24, "scale": 4, "required": true});
        fields[1]["required"] = json!(true);
    });
    cluster.run_sql("UPDATE tenant_evil_one.evil_customer SET credit = 1, email = id::text; DELETE FROM tenant_evil_one.spied").await;
    cluster.app("evil", migrating(&format!("1.{}.0", n + 2), retyped, json!([]))).await;
    until_installed(&cluster, "evil-one", &format!("evil 1.{}.0", n + 2)).await;
    let spied = "SELECT DISTINCT who FROM tenant_evil_one.spied";
    assert_eq!(cluster.texts(spied).await, ["tenant_evil_one-migrate as tenant_evil_one_owner"]);
    assert_eq!(cluster.texts(victim).await, before[0]);
}
