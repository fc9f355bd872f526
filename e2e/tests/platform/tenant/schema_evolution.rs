//! New versions over tables that hold rows.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::Connection;
use tenantry_e2e::cluster::{Cluster, LIMIT, condition_of};
use tenantry_e2e::manifests::{customer, shop, uses};
use tenantry_rig::eventually;

use super::evolution::{until_installed, with};

/// A tenant at version 1.0.0 with one customer for each of `names`, all of them leads.
async fn standing(cluster: &Cluster, app: &str, tenant: &str, names: &[&str]) {
    cluster.app(app, shop("1.0.0", customer())).await;
    cluster.tenant(tenant, uses(app, "Delete")).await;
    cluster.until_ready(tenant).await;
    for name in names {
        insert(cluster, app, tenant, name).await;
    }
}

fn acknowledging(mut spec: Value, entries: &[&str]) -> Value {
    spec["allowDestructive"] = json!(entries);
    spec
}

async fn insert(cluster: &Cluster, app: &str, tenant: &str, name: &str) {
    let schema = schema_of(tenant);
    cluster
        .run_sql(&format!(
            "INSERT INTO {schema}.{app}_customer (id, name, region, credit, created_by, updated_by)
         VALUES (gen_random_uuid(), '{name}', '{name}', 1.5, 'u', 'u')"
        ))
        .await;
}

/// Waits until the tenant is Stalled for this reason, with a message that holds all of `parts`.
pub async fn until_stalled(cluster: &Cluster, tenant: &str, reason: &str, parts: &[&str]) {
    eventually(&format!("{tenant} says {parts:?}"), LIMIT, || async {
        let found = cluster.until(tenant, "Stalled", "True", reason).await;
        let (_, _, message) = condition_of(&found, "Ready").unwrap();
        if parts.iter().all(|part| message.contains(part)) { Ok(()) } else { Err(message) }
    })
    .await
    .unwrap();
}

pub fn schema_of(tenant: &str) -> String {
    format!("tenant_{}", tenant.replace('-', "_"))
}

#[tokio::test]
async fn what_the_rows_allow_is_made_and_the_login_for_it_is_gone() {
    let cluster = Cluster::shared().await;
    standing(&cluster, "evolve", "evolve-one", &["Ada", "Bob"]).await;
    let next = with(customer(), |fields| {
        fields[2] = json!({"name": "region", "type": "String", "required": true, "unique": true});
        fields[3]["values"] = json!(["lead", "active", "lost"]);
        fields[4] =
            json!({"name": "credit", "type": "Decimal", "precision": 20, "scale": 4, "required": true});
        fields.push(json!({"name": "level", "type": "Integer", "index": true}));
    });
    cluster.app("evolve", shop("1.1.0", next)).await;
    until_installed(&cluster, "evolve-one", "evolve 1.1.0").await;
    let columns = cluster.columns("tenant_evolve_one", "evolve_customer").await;
    assert_eq!(columns[9], "region text!", "{columns:?}");
    assert_eq!(columns[11..], ["credit numeric(20,4)!", "level integer"], "{columns:?}");
    let indexes = "SELECT c.relname || CASE WHEN i.indisunique THEN '!' ELSE '' END FROM pg_index i
         JOIN pg_class c ON c.oid = i.indexrelid
         WHERE i.indrelid = 'tenant_evolve_one.evolve_customer'::regclass AND i.indisvalid ORDER BY 1";
    let found = cluster.texts(indexes).await;
    assert!(found.contains(&"evolve_customer-region-key!".to_owned()), "{found:?}");
    assert!(found.contains(&"evolve_customer-level-idx".to_owned()), "{found:?}");
    let constraints = "SELECT conname || convalidated FROM pg_constraint
         WHERE conrelid = 'tenant_evolve_one.evolve_customer'::regclass AND contype = 'c'";
    assert_eq!(cluster.texts(constraints).await, ["evolve_customer-status-checktrue"]);
    let migrator = "SELECT rolname::text FROM pg_roles WHERE rolname = 'tenant_evolve_one-migrate'";
    assert!(cluster.texts(migrator).await.is_empty());
}

#[tokio::test]
async fn rows_that_do_not_fit_are_counted_and_the_tenant_stays_at_its_version() {
    let cluster = Cluster::shared().await;
    standing(&cluster, "stuck", "stuck-one", &["Ada", "Ada", "Bob"]).await;
    let next = with(customer(), |fields| {
        fields[2] = json!({"name": "region", "type": "String", "unique": true});
        fields.push(json!({"name": "phone", "type": "String", "required": true}));
    });
    cluster.app("stuck", shop("1.1.0", next)).await;
    let unique = "stuck_customer.region: 2 rows share their value";
    let required = "stuck_customer.phone: 3 rows have no value";
    until_stalled(&cluster, "stuck-one", "DataConflict", &[unique, required]).await;
    let version = "SELECT version FROM tenantry.tenant_app WHERE tenant = 'stuck-one' AND app = 'stuck'";
    assert_eq!(cluster.texts(version).await, ["1.0.0"]);
    // The version before is served still: what it writes is taken.
    insert(&cluster, "stuck", "stuck-one", "Cleo").await;

    cluster.run_sql("UPDATE tenant_stuck_one.stuck_customer SET region = id::text, phone = '1'").await;
    cluster.nudge("stuck-one").await;
    until_installed(&cluster, "stuck-one", "stuck 1.1.0").await;
    let columns = cluster.columns("tenant_stuck_one", "stuck_customer").await;
    assert_eq!(columns.last().unwrap(), "phone text!");
}

#[tokio::test]
async fn an_index_that_a_crash_left_invalid_is_built_again() {
    let cluster = Cluster::shared().await;
    standing(&cluster, "broken", "broken-one", &["Ada", "Ada"]).await;
    // What a build that was killed leaves: the unique index fails on the equal values and stays, invalid.
    let index = "CREATE UNIQUE INDEX CONCURRENTLY \"broken_customer-name-idx\" ON tenant_broken_one.broken_customer (name)";
    let failed = sqlx::raw_sql(index).execute(&mut cluster.database().await).await;
    assert!(failed.is_err());
    let valid = "SELECT indisvalid::text FROM pg_index
         WHERE indexrelid = 'tenant_broken_one.\"broken_customer-name-idx\"'::regclass";
    assert_eq!(cluster.texts(valid).await, ["false"]);
    let next = with(customer(), |fields| fields[0]["index"] = json!(true));
    cluster.app("broken", shop("1.1.0", next)).await;
    until_installed(&cluster, "broken-one", "broken 1.1.0").await;
    assert_eq!(cluster.texts(valid).await, ["true"]);
}

#[tokio::test]
async fn less_is_asked_for_by_name_and_only_if_the_rows_allow_it() {
    let cluster = Cluster::shared().await;
    standing(&cluster, "narrow", "narrow-one", &["Ada", "Bob"]).await;
    cluster.run_sql("UPDATE tenant_narrow_one.narrow_customer SET credit = 123456, status = 'active' WHERE name = 'Ada'").await;
    let next = with(customer(), |fields| {
        fields[3]["values"] = json!(["lead"]);
        fields[4]["precision"] = json!(6);
    });
    cluster.app("narrow", shop("1.1.0", next.clone())).await;
    let entries = ["narrow customer.status", "narrow customer.credit"];
    until_stalled(&cluster, "narrow-one", "DestructiveChangeBlocked", &entries).await;

    // The entries are no part of the version.
    cluster.app("narrow", acknowledging(shop("1.1.0", next), &entries)).await;
    let parts = ["narrow_customer.credit: 1 row hold", "narrow_customer.status: 1 row hold"];
    until_stalled(&cluster, "narrow-one", "DataConflict", &parts).await;
    assert_eq!(cluster.columns("tenant_narrow_one", "narrow_customer").await[11], "credit numeric(18,2)");

    cluster.run_sql("UPDATE tenant_narrow_one.narrow_customer SET credit = 1, status = 'lead'").await;
    cluster.nudge("narrow-one").await;
    until_installed(&cluster, "narrow-one", "narrow 1.1.0").await;
    assert_eq!(cluster.columns("tenant_narrow_one", "narrow_customer").await[11], "credit numeric(6,2)");
}

#[tokio::test]
async fn what_the_definition_lost_goes_only_when_somebody_says_so() {
    let cluster = Cluster::shared().await;
    standing(&cluster, "shed", "shed-one", &["Ada"]).await;
    let next = with(customer(), |fields| fields.retain(|field| field["name"] != "credit"));
    let mut spec = shop("1.1.0", next);
    spec["docTypes"].as_array_mut().unwrap().remove(1);
    cluster.app("shed", spec.clone()).await;
    until_installed(&cluster, "shed-one", "shed 1.1.0").await;
    let has_credit = || async {
        cluster.columns("tenant_shed_one", "shed_customer").await.contains(&"credit numeric(18,2)".to_owned())
    };
    let order = "SELECT to_regclass('tenant_shed_one.shed_order')::text IS NOT NULL";
    assert!(has_credit().await);
    assert_eq!(cluster.texts(&format!("SELECT ({order})::text")).await, ["true"]);

    cluster.app("shed", acknowledging(spec, &["drop-field customer.credit", "drop-doc-type order"])).await;
    eventually("the column and the table are gone", LIMIT, || async {
        let order = cluster.texts(&format!("SELECT ({order})::text")).await;
        if !has_credit().await && order == ["false"] { Ok(()) } else { Err(format!("order: {order:?}")) }
    })
    .await
    .unwrap();
    cluster.until_ready("shed-one").await;
}

#[tokio::test]
async fn a_long_reader_delays_the_change_and_not_the_traffic() {
    let cluster = Cluster::shared().await;
    standing(&cluster, "reader", "reader-one", &["Ada"]).await;
    let mut reader = cluster.database().await;
    let mut report = reader.begin().await.unwrap();
    sqlx::raw_sql("SELECT count(*) FROM tenant_reader_one.reader_customer")
        .execute(&mut *report)
        .await
        .unwrap();

    let next = with(customer(), |fields| fields.push(json!({"name": "phone", "type": "String"})));
    cluster.app("reader", shop("1.1.0", next)).await;
    // Other reads go on while the change is tried: none waits for longer than the change stands in the queue.
    let mut slowest = Duration::ZERO;
    eventually("the status says who holds the table", LIMIT, || async {
        let waiting = cluster.until("reader-one", "Ready", "False", "LockTimeout").await;
        let (_, _, message) = condition_of(&waiting, "Ready").unwrap();
        if message.contains("reader_customer, which postgres") { Ok(()) } else { Err(message) }
    })
    .await
    .unwrap();
    let mut traffic = cluster.database().await;
    sqlx::raw_sql("SET ROLE tenant_reader_one").execute(&mut traffic).await.unwrap();
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        let asked = Instant::now();
        sqlx::raw_sql("SELECT name FROM tenant_reader_one.reader_customer")
            .execute(&mut traffic)
            .await
            .unwrap();
        slowest = slowest.max(asked.elapsed());
    }
    assert!(slowest < Duration::from_secs(3), "a read waited for {slowest:?}");
    assert_eq!(cluster.columns("tenant_reader_one", "reader_customer").await.len(), 12);

    report.commit().await.unwrap();
    until_installed(&cluster, "reader-one", "reader 1.1.0").await;
}
