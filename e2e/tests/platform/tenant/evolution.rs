use serde_json::{Value, json};
use tenantry_e2e::cluster::{Cluster, condition_of};
use tenantry_e2e::manifests::{customer, shop, uses};

pub fn with(mut fields: Value, change: impl FnOnce(&mut Vec<Value>)) -> Value {
    change(fields.as_array_mut().unwrap());
    fields
}

#[tokio::test]
async fn a_new_version_adds_columns_and_relaxes_checks() {
    let cluster = Cluster::shared().await;
    cluster.app("grow", shop("1.0.0", customer())).await;
    cluster.tenant("grow-one", uses("grow", "Delete")).await;
    cluster.until_ready("grow-one").await;
    let insert = |status: &str| {
        format!(
            "INSERT INTO tenant_grow_one.grow_customer (id, name, status, created_by, updated_by)
                 VALUES (gen_random_uuid(), 'Ada', '{status}', 'u', 'u')"
        )
    };
    cluster.run_sql(&insert("lead")).await;

    let wider = with(customer(), |fields| {
        fields[3]["values"] = json!(["lead", "active", "lost"]);
        fields.retain(|field| field["name"] != "credit");
        fields.push(json!({"name": "phone", "type": "String", "index": true}));
        fields.push(json!({"name": "level", "type": "Integer", "required": true, "default": 3}));
    });
    cluster.app("grow", shop("1.1.0", wider)).await;
    let tenant = until_installed(&cluster, "grow-one", "grow 1.1.0").await;
    assert_eq!(condition_of(&tenant, "Ready").unwrap().0, "True");
    let columns = cluster.columns("tenant_grow_one", "grow_customer").await;
    assert_eq!(columns[11..], ["credit numeric(18,2)", "phone text", "level integer!"]);
    assert_eq!(cluster.texts("SELECT level::text FROM tenant_grow_one.grow_customer").await, ["3"]);
    cluster.run_sql(&insert("lost")).await;

    // What would lose data is refused, and names what it is about.
    let narrower = with(customer(), |fields| fields[3]["values"] = json!(["lead", "active"]));
    cluster.app("grow", shop("1.2.0", narrower)).await;
    until_message(&cluster, "grow-one", "add 'narrow customer.status' to spec.allowDestructive of App grow")
        .await;

    let other_type = with(customer(), |fields| fields[4] = json!({"name": "credit", "type": "Boolean"}));
    cluster.app("grow", shop("1.3.0", other_type)).await;
    until_message(&cluster, "grow-one", "grow_customer.credit is numeric(18,2)").await;
}

#[tokio::test]
async fn an_app_that_is_taken_out_keeps_its_data() {
    let cluster = Cluster::shared().await;
    cluster.app("left", shop("1.0.0", customer())).await;
    cluster.tenant("left-one", uses("left", "Delete")).await;
    cluster.until_ready("left-one").await;
    let state = "SELECT state FROM tenantry.tenant_app WHERE tenant = 'left-one' AND app = 'left'";
    cluster.tenant("left-one", json!({"apps": [], "deletionPolicy": "Delete"})).await;
    cluster.until_ready("left-one").await;
    assert_eq!(cluster.texts(state).await, ["Removed"]);
    assert_eq!(cluster.columns("tenant_left_one", "left_customer").await.len(), 12);
    assert_eq!(cluster.keys("left-one").await.len(), 1);
    cluster.tenant("left-one", uses("left", "Delete")).await;
    cluster.until_ready("left-one").await;
    assert_eq!(cluster.texts(state).await, ["Installed"]);
}

#[tokio::test]
async fn what_someone_took_away_is_made_again() {
    let cluster = Cluster::shared().await;
    cluster.app("drift", shop("1.0.0", customer())).await;
    cluster.tenant("drift-one", uses("drift", "Delete")).await;
    cluster.until_ready("drift-one").await;
    let stream = cluster.keys("drift-one").await.remove(0);
    let shard = cluster.shard_of("drift-one").await;
    cluster
        .run_sql(&format!(
            "DROP TABLE tenant_drift_one.drift_order;
             DROP INDEX tenant_drift_one.\"drift_customer-region-idx\";
             ALTER TABLE tenant_drift_one.drift_customer DROP CONSTRAINT \"drift_customer-status-check\", DROP credit;
             REVOKE ALL ON tenant_drift_one.drift_customer FROM tenant_drift_one;
             REVOKE tenant_drift_one FROM tenantry_shard_{shard} GRANTED BY tenantry_provisioner_{shard}",
        ))
        .await;
    cluster.redis_command(&["DEL", &stream]).await;
    cluster.nudge("drift-one").await;
    let repaired = format!(
        "SELECT concat_ws(' ', to_regclass('tenant_drift_one.drift_order') IS NOT NULL,
             to_regclass('tenant_drift_one.\"drift_customer-region-idx\"') IS NOT NULL,
             (SELECT count(*) FROM pg_constraint WHERE conrelid = 'tenant_drift_one.drift_customer'::regclass AND contype = 'c'),
             has_table_privilege('tenant_drift_one', 'tenant_drift_one.drift_customer', 'INSERT'),
             pg_has_role('tenantry_shard_{shard}', 'tenant_drift_one', 'SET'))"
    );
    tenantry_rig::eventually("all is made again", tenantry_e2e::cluster::LIMIT, || async {
        let found = cluster.texts(&repaired).await;
        if found == ["t t 1 t t"] { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await
    .unwrap();
    assert_eq!(
        cluster.columns("tenant_drift_one", "drift_customer").await.last().unwrap(),
        "credit numeric(18,2)"
    );
    assert_eq!(cluster.keys("drift-one").await, [stream]);
}

pub async fn until_installed(cluster: &Cluster, tenant: &str, apps: &str) -> tenantry_crds::v1alpha1::Tenant {
    tenantry_rig::eventually(&format!("{tenant} has {apps}"), tenantry_e2e::cluster::LIMIT, || async {
        let found = cluster.until_ready(tenant).await;
        let installed = found.status.as_ref().and_then(|status| status.apps_installed.clone());
        if installed.as_deref() == Some(apps) { Ok(found) } else { Err(format!("{installed:?}")) }
    })
    .await
    .unwrap()
}

async fn until_message(cluster: &Cluster, tenant: &str, text: &str) {
    tenantry_rig::eventually(text, tenantry_e2e::cluster::LIMIT, || async {
        let found = cluster.until(tenant, "Stalled", "True", "DestructiveChangeBlocked").await;
        let (_, _, message) = condition_of(&found, "Ready").unwrap();
        if message.contains(text) { Ok(()) } else { Err(message) }
    })
    .await
    .unwrap();
}
