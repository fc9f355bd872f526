//! A tenant that leaves under Snapshot: who may still do what, and what comes back.

use std::{collections::BTreeSet, path::Path};

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tenantry_crds::v1alpha1::Tenant;
use tenantry_e2e::cluster::{Cluster, LIMIT};
use tenantry_e2e::manifests::{customer, search_of, shop, uses};
use tenantry_rig::eventually;
use uuid::Uuid;

use super::{
    access::{access, command, login, query, refusal, run, secret_values},
    evolution::until_installed,
    snapshot::{Archive, uid_of},
};

const TO_JSON: &str = "
    CREATE TYPE mood AS ENUM ('curious');
    CREATE FUNCTION reach(mood) RETURNS json LANGUAGE plpgsql AS $f$
    DECLARE
        said text := session_user || ' as ' || current_user;
        heard text;
        step text;
    BEGIN
        FOREACH step IN ARRAY ARRAY[
            'RESET ROLE',
            'SET ROLE tenant_prey_one_owner',
            'SET ROLE tenant_prey_one',
            'SELECT name FROM tenant_prey_one.prey_customer',
            'DELETE FROM tenant_prey_one.prey_customer',
            'INSERT INTO tenantry.tenant_app (tenant, app, version, state) VALUES ($$prey-one$$, $$x$$, $$1.0.0$$, $$Installed$$)',
            'SELECT name FROM tenantry.tenant',
            'SET ROLE NONE',
            'SET ROLE tenant_prey_one_owner',
            'SELECT name FROM tenant_prey_one.prey_customer',
            'SET SESSION AUTHORIZATION tenantry_operator',
            'RESET ROLE'
        ] LOOP
            BEGIN
                heard := NULL;
                IF step LIKE 'SELECT%' THEN EXECUTE step INTO heard; ELSE EXECUTE step; END IF;
                said := said || '; ' || coalesce(heard, 'now ' || current_user);
            EXCEPTION WHEN OTHERS THEN
                said := said || '; ' || SQLSTATE;
            END;
        END LOOP;
        RETURN to_json(said);
    END $f$;
    CREATE CAST (mood AS json) WITH FUNCTION reach(mood);
    ALTER TABLE snoop_customer ADD COLUMN mood mood DEFAULT 'curious';
    CREATE FUNCTION hide(uuid) RETURNS boolean LANGUAGE plpgsql AS $f$
        BEGIN EXECUTE 'RESET ROLE'; EXECUTE 'SET ROLE tenant_prey_one_owner'; RETURN false; END $f$;
    ALTER TABLE snoop_customer ENABLE ROW LEVEL SECURITY;
    ALTER TABLE snoop_customer FORCE ROW LEVEL SECURITY;
    CREATE POLICY hidden ON snoop_customer USING (tenant_snoop_one.hide(id))";

/// The rows of a table in a snapshot.
fn exported(archive: &Archive, snapshot: &str, table: &str) -> Vec<Value> {
    let file = archive.folder.join(snapshot).join(Path::new("tables").join(format!("{table}.ndjson")));
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn three_customers(cluster: &Cluster, app: &str, schema: &str) {
    cluster
        .run_sql(&format!(
            "INSERT INTO {schema}.{app}_customer (id, name, credit, created_by, updated_by)
             SELECT gen_random_uuid(), '{app} ' || n, 0, 'u', 'u' FROM generate_series(1, 3) n"
        ))
        .await;
}

#[tokio::test]
async fn what_an_app_planted_reaches_nobody_else_from_the_export() {
    let archive = Archive::start().await;
    let cluster = &archive.cluster;
    for (app, tenant) in [("prey", "prey-one"), ("snoop", "snoop-one")] {
        cluster.app(app, shop("1.0.0", customer())).await;
        cluster.tenant(tenant, uses(app, "Snapshot")).await;
        cluster.until_ready(tenant).await;
        three_customers(cluster, app, &tenant.replace('-', "_").replace(app, &format!("tenant_{app}"))).await;
    }
    let mut planted = shop("1.1.0", customer());
    planted["migrations"] = json!([{"name": "plant", "sql": TO_JSON}]);
    cluster.app("snoop", planted).await;
    until_installed(cluster, "snoop-one", "snoop 1.1.0").await;
    let uid = uid_of(cluster, "snoop-one").await;
    let others =
        "SELECT md5((SELECT string_agg(c::text, ',' ORDER BY id) FROM tenant_prey_one.prey_customer c) ||
        (SELECT string_agg(a::text, ',' ORDER BY app) FROM tenantry.tenant_app a WHERE tenant = 'prey-one'))";
    let before = cluster.texts(others).await;

    cluster.delete::<Tenant>("snoop-one").await;
    assert_eq!(cluster.texts(others).await, before);
    assert_eq!(cluster.traces("snoop-one").await, [""; 0]);
    let roles = "SELECT rolname::text FROM pg_roles WHERE rolname LIKE '%snoop%'";
    assert_eq!(cluster.texts(roles).await, [""; 0], "the migrator is gone, too");
    let rows = exported(&archive, &format!("snoop-one/{uid}"), "snoop_customer");
    assert_eq!(rows.len(), 3, "a policy of the tenant's hides nothing from its snapshot");
    let said = "tenant_snoop_one-migrate as tenant_snoop_one_owner; now tenant_snoop_one_owner; 42501; 42501; 42501; \
                42501; 42501; 42501; now tenant_snoop_one-migrate; 42501; 42501; 42501; now tenant_snoop_one_owner";
    for row in &rows {
        assert_eq!(row["mood"], said);
    }
    cluster.until_ready("prey-one").await;
}

/// Inserts rows until it is put out; the ids of those that were acknowledged.
async fn write_until_put_out(mut connection: PgConnection, who: &'static str) -> Vec<String> {
    let mut acknowledged = Vec::new();
    loop {
        let id = Uuid::new_v4().to_string();
        let sql = format!(
            "INSERT INTO tenant_late_one.late_customer (id, name, created_by, updated_by) VALUES ('{id}', '{who}', 'u', 'u')"
        );
        if run(&mut connection, &sql).await.is_err() {
            return acknowledged;
        }
        acknowledged.push(id);
    }
}

#[tokio::test]
async fn what_direct_access_wrote_is_exported_and_nothing_is_written_after() {
    let archive = Archive::start().await;
    let cluster = &archive.cluster;
    cluster.app("late", shop("1.0.0", customer())).await;
    cluster.search_index("late", search_of("late")).await;
    let mut writer = access("writer", "Write", "late-writer");
    writer["backends"] = json!(["Postgres", "Redis", "Search"]);
    let mut spec = uses("late", "Snapshot");
    spec["access"] = json!([writer, access("owner", "Owner", "late-owner")]);
    cluster.tenant("late-one", spec).await;
    let uid = uid_of(cluster, "late-one").await;
    three_customers(cluster, "late", "tenant_late_one").await;
    let [writer, owner, redis, search] =
        ["late-writer", "late-owner", "late-writer-redis", "late-writer-search"]
            .map(|name| secret_values(cluster, name));
    let (writer, owner) = (writer.await.unwrap(), owner.await.unwrap());
    let (redis, search) = (redis.await.unwrap(), search.await.unwrap());

    // Who is in the middle of a transaction is put out, and was told of no commit.
    let mut open = login(&writer).await.unwrap();
    let insert = "INSERT INTO late_customer (id, name, created_by, updated_by)
                  VALUES (gen_random_uuid(), 'open', 'u', 'u')";
    run(&mut open, &format!("BEGIN; {insert}")).await.unwrap();
    // One that took the tenant's role before that was revoked.
    let mut traffic = PgConnection::connect(&cluster.endpoints.database_url).await.unwrap();
    run(&mut traffic, "BEGIN; SET LOCAL ROLE tenant_late_one").await.unwrap();
    let writers = [
        tokio::spawn(write_until_put_out(login(&writer).await.unwrap(), "writer")),
        tokio::spawn(write_until_put_out(login(&owner).await.unwrap(), "owner")),
    ];
    eventually("both write", LIMIT, || async {
        let who = "SELECT DISTINCT name FROM tenant_late_one.late_customer WHERE name IN ('writer', 'owner')";
        if cluster.texts(who).await.len() == 2 { Ok(()) } else { Err("not yet") }
    })
    .await
    .unwrap();
    cluster.begin_delete("late-one").await;
    eventually("the tenant's role has no rights", LIMIT, || async {
        let may = "SELECT coalesce(has_table_privilege(
            to_regrole('tenant_late_one')::oid, to_regclass('tenant_late_one.late_customer')::oid, 'INSERT'), false)::text";
        if cluster.texts(may).await == ["false"] { Ok(()) } else { Err("not yet") }
    })
    .await
    .unwrap();
    let late = insert.replace("late_customer", "tenant_late_one.late_customer");
    run(&mut traffic, &late).await.unwrap_err();
    run(&mut traffic, "ROLLBACK").await.unwrap();
    run(&mut open, "COMMIT").await.unwrap_err();
    let mut acknowledged = BTreeSet::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    cluster.until_gone("late-one").await;

    let rows = exported(&archive, &format!("late-one/{uid}"), "late_customer");
    let ids: BTreeSet<String> = rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
    assert!(acknowledged.is_subset(&ids), "what was acknowledged is in the snapshot");
    // Beyond that, the three before, and for each writer one whose answer may have been lost.
    assert!(ids.len() <= acknowledged.len() + 3 + 2, "{} of {}", ids.len(), acknowledged.len());
    assert!(rows.iter().all(|row| row["name"] != "open"));

    for secret in ["late-writer", "late-owner", "late-writer-redis", "late-writer-search"] {
        assert_eq!(secret_values(cluster, secret).await, None, "{secret}");
    }
    assert_eq!((refusal(&writer).await, refusal(&owner).await), ("28P01".into(), "28P01".into()));
    assert_eq!(command(&redis, &["PING"]).await, Err("WRONGPASS".into()));
    assert_eq!(query(&search, "late-one_late_customer").await, 403);
    assert_eq!(cluster.traces("late-one").await, [""; 0]);
    for left in [
        "SELECT rolname::text FROM pg_roles WHERE rolname LIKE '%late%'",
        "SELECT access FROM tenantry.access WHERE tenant = 'late-one'",
    ] {
        assert_eq!(cluster.texts(left).await, [""; 0], "{left}");
    }
}

#[tokio::test]
async fn a_restored_tenant_does_not_run_its_migrations_again() {
    let archive = Archive::start().await;
    let cluster = &archive.cluster;
    let version = |version: &str, names: &[&str]| {
        let mut spec = shop(version, customer());
        let migrations = names.iter().map(|name| {
            json!({"name": name, "sql": format!("UPDATE again_customer SET credit = credit + 1, region = coalesce(region, '') || '{name} '")})
        });
        spec["migrations"] = migrations.collect();
        spec
    };
    cluster.app("again", version("1.0.0", &[])).await;
    cluster.tenant("again-one", uses("again", "Snapshot")).await;
    let uid = uid_of(cluster, "again-one").await;
    three_customers(cluster, "again", "tenant_again_one").await;
    cluster.app("again", version("1.1.0", &["first"])).await;
    until_installed(cluster, "again-one", "again 1.1.0").await;
    cluster.delete::<Tenant>("again-one").await;

    // The snapshot is at 1.1.0: what came after runs, what came before does not.
    cluster.app("again", version("1.2.0", &["first", "second"])).await;
    let mut back = uses("again", "Delete");
    back["restoreFrom"] = json!({"snapshot": format!("again-one/{uid}")});
    cluster.tenant("again-two", back).await;
    until_installed(cluster, "again-two", "again 1.2.0").await;
    let ran = "SELECT DISTINCT region || credit FROM tenant_again_two.again_customer";
    assert_eq!(cluster.texts(ran).await, ["first second 2.00"]);
    let ledger = "SELECT name || ' ' || (ran_at IS NOT NULL) || ' ' || (transaction IS NULL)
        FROM tenantry.tenant_migration WHERE tenant = 'again-two' AND app = 'again' ORDER BY name";
    assert_eq!(cluster.texts(ledger).await, ["first true true", "second true false"]);

    // A crash right after the tables were committed: Postgres tells that they are complete, and the rest is written down.
    cluster
        .run_sql(
            "BEGIN; UPDATE tenantry.restored SET transaction = pg_current_xact_id() WHERE tenant = 'again-two';
             DELETE FROM tenantry.tenant_migration WHERE tenant = 'again-two' AND name = 'first'; COMMIT",
        )
        .await;
    cluster.nudge("again-two").await;
    eventually("the restore is written down", LIMIT, || async {
        let found = cluster
            .texts("SELECT (transaction IS NULL)::text FROM tenantry.restored WHERE tenant = 'again-two'")
            .await;
        if found == ["true"] { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await
    .unwrap();
    until_installed(cluster, "again-two", "again 1.2.0").await;
    assert_eq!(cluster.texts(ledger).await, ["first true true", "second true false"]);
    assert_eq!(cluster.texts(ran).await, ["first second 2.00"], "no row was loaded and nothing ran again");
}
