use serde_json::json;
use tenantry_crds::v1alpha1::Tenant;
use tenantry_e2e::cluster::{Cluster, condition_of};
use tenantry_e2e::manifests::{customer, search_of, shop, uses};

#[tokio::test]
async fn a_foreign_schema_is_never_touched_and_its_end_heals() {
    let cluster = Cluster::shared().await;
    cluster.run_sql("CREATE SCHEMA tenant_alien_one; CREATE TABLE tenant_alien_one.report (n int)").await;
    cluster.tenant("alien-one", json!({"deletionPolicy": "Delete"})).await;
    let stalled = cluster.until("alien-one", "Stalled", "True", "NameConflict").await;
    let (_, reason, message) = condition_of(&stalled, "DatabaseReady").unwrap();
    assert_eq!(reason, "NameConflict");
    assert!(message.contains("schema tenant_alien_one exists and is not Tenantry's"), "{message}");
    assert_eq!(cluster.traces("alien-one").await, ["schema"]);

    cluster.delete::<Tenant>("alien-one").await;
    assert_eq!(cluster.columns("tenant_alien_one", "report").await, ["n integer"]);

    cluster.tenant("alien-one", json!({"deletionPolicy": "Delete"})).await;
    cluster.until("alien-one", "Stalled", "True", "NameConflict").await;
    cluster.run_sql("DROP SCHEMA tenant_alien_one CASCADE").await;
    cluster.nudge("alien-one").await;
    cluster.until_ready("alien-one").await;
}

#[tokio::test]
async fn a_foreign_role_is_never_touched() {
    let cluster = Cluster::shared().await;
    cluster.run_sql("CREATE ROLE tenant_guest_one LOGIN").await;
    cluster.tenant("guest-one", json!({"deletionPolicy": "Delete"})).await;
    let stalled = cluster.until("guest-one", "Stalled", "True", "NameConflict").await;
    let (_, _, message) = condition_of(&stalled, "Ready").unwrap();
    assert!(message.contains("role tenant_guest_one exists"), "{message}");
    cluster.delete::<Tenant>("guest-one").await;
    let login = "SELECT rolcanlogin::text FROM pg_roles WHERE rolname = 'tenant_guest_one'";
    assert_eq!(cluster.texts(login).await, ["true"]);
    cluster.run_sql("DROP ROLE tenant_guest_one").await;
}

#[tokio::test]
async fn a_foreign_search_index_is_never_touched_and_the_database_converges() {
    let cluster = Cluster::shared().await;
    cluster.create_index("index-one_finder_customer").await;
    let before = cluster.index_settings("index-one_finder_customer").await;
    cluster.app("finder", shop("1.0.0", customer())).await;
    cluster.search_index("finder", search_of("finder")).await;
    cluster.tenant("index-one", uses("finder", "Delete")).await;
    let stalled = cluster.until("index-one", "Stalled", "True", "NameConflict").await;
    assert_eq!(condition_of(&stalled, "DatabaseReady").unwrap().0, "True");
    assert_eq!(condition_of(&stalled, "SearchReady").unwrap().1, "NameConflict");
    cluster.delete::<Tenant>("index-one").await;
    assert_eq!(cluster.index_settings("index-one_finder_customer").await, before);
    assert!(before.is_some());
}

#[tokio::test]
async fn a_host_belongs_to_one_tenant() {
    let cluster = Cluster::shared().await;
    let with_host = json!({"hosts": ["shared.example.com"], "deletionPolicy": "Delete"});
    cluster.tenant("host-one", with_host.clone()).await;
    cluster.until_ready("host-one").await;
    cluster.tenant("host-two", with_host).await;
    let stalled = cluster.until("host-two", "Stalled", "True", "HostConflict").await;
    let (_, _, message) = condition_of(&stalled, "Ready").unwrap();
    assert!(message.contains("shared.example.com") && message.contains("host-one"), "{message}");

    cluster.delete::<Tenant>("host-one").await;
    cluster.nudge("host-two").await;
    cluster.until_ready("host-two").await;
    let owner = "SELECT tenant FROM tenantry.tenant_host WHERE host = 'shared.example.com'";
    assert_eq!(cluster.texts(owner).await, ["host-two"]);
}

/// Everything of a tenant, and whose it is.
async fn belongings(cluster: &Cluster, tenant: &str) -> Vec<String> {
    let schema = format!("tenant_{}", tenant.replace('-', "_"));
    let marks = format!(
        "SELECT 'schema ' || obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = '{schema}'
         UNION ALL SELECT rolname || ' ' || rolcanlogin || ' ' || coalesce(shobj_description(oid, 'pg_authid'), '')
         FROM pg_roles WHERE rolname IN ('{schema}', '{schema}_owner')
         UNION ALL SELECT 'row ' || uid || state FROM tenantry.tenant WHERE name = '{tenant}'
         UNION ALL SELECT 'host ' || host FROM tenantry.tenant_host WHERE tenant = '{tenant}'
         UNION ALL SELECT concat_ws(' ', c.relname, c.relacl) FROM pg_class c
                   WHERE relnamespace = to_regnamespace('{schema}') ORDER BY 1"
    );
    let mut all = cluster.texts(&marks).await;
    if all.iter().any(|line| line.contains("_customer ")) {
        all.extend(cluster.texts(&format!("SELECT name FROM {schema}.twin_customer")).await);
    }
    let mut keys = cluster.keys(tenant).await;
    keys.sort();
    all.extend(keys);
    let ours = format!("{tenant}_");
    all.extend(cluster.indexes().await.into_iter().filter(|index| index.starts_with(&ours)));
    all
}

async fn twin(cluster: &Cluster, tenant: &str, more: serde_json::Value) {
    let mut spec = uses("twin", "Delete");
    spec["hosts"] = json!([format!("{tenant}.example.com")]);
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    cluster.tenant(tenant, spec).await;
    cluster.until_ready(tenant).await;
    cluster
        .run_sql(&format!(
            "INSERT INTO tenant_{}.twin_customer (id, name, created_by, updated_by)
         VALUES (gen_random_uuid(), 'of {tenant}', 'u', 'u')",
            tenant.replace('-', "_")
        ))
        .await;
}

async fn twin_app(cluster: &Cluster) {
    cluster.app("twin", shop("1.0.0", customer())).await;
    cluster.search_index("twin", search_of("twin")).await;
}

#[tokio::test]
async fn tenants_with_similar_names_have_nothing_in_common() {
    let cluster = Cluster::shared().await;
    twin_app(&cluster).await;
    let all = ["tw-a-b", "tw-ab", "tw-a-b-c", "tw-a", "tw"];
    for tenant in all {
        twin(&cluster, tenant, json!({})).await;
    }
    let mut seen = std::collections::BTreeMap::new();
    for tenant in all {
        let belongings = belongings(&cluster, tenant).await;
        for kind in ["schema ", "row ", "host ", "of ", "q:"] {
            assert!(belongings.iter().any(|line| line.starts_with(kind)), "{kind} of {belongings:?}");
        }
        seen.insert(tenant, belongings);
    }
    // From the middle to the ends, so that each end is a prefix or an extension of one that goes.
    for (at, gone) in all.into_iter().enumerate() {
        cluster.delete::<Tenant>(gone).await;
        assert_eq!(belongings(&cluster, gone).await, [""; 0]);
        for left in &all[at + 1..] {
            assert_eq!(belongings(&cluster, left).await, seen[left], "{left} after {gone}");
            cluster.nudge(left).await;
            cluster.until_ready(left).await;
        }
    }
}

#[tokio::test]
async fn a_tenant_that_is_made_again_touches_nothing_that_was_retained() {
    let cluster = Cluster::shared().await;
    twin_app(&cluster).await;
    twin(&cluster, "tw-kept", json!({"deletionPolicy": "Retain"})).await;
    cluster.delete::<Tenant>("tw-kept").await;
    let before = belongings(&cluster, "tw-kept").await;
    assert!(before.iter().any(|line| line.ends_with("Retained")), "{before:?}");

    for policy in ["Delete", "Retain"] {
        cluster.tenant("tw-kept", uses("twin", policy)).await;
        cluster.until("tw-kept", "Stalled", "True", "NameConflict").await;
        assert_eq!(belongings(&cluster, "tw-kept").await, before);
        cluster.delete::<Tenant>("tw-kept").await;
        assert_eq!(belongings(&cluster, "tw-kept").await, before, "{policy}");
    }
    let mut heir = uses("twin", "Delete");
    heir["adoptRetained"] = json!(true);
    cluster.tenant("tw-kept", heir).await;
    cluster.until_ready("tw-kept").await;
    cluster.delete::<Tenant>("tw-kept").await;
    assert_eq!(belongings(&cluster, "tw-kept").await, [""; 0]);
}

/// Somebody takes the finalizer away in the middle of a deletion, and makes the Tenant anew.
#[tokio::test]
async fn a_tenant_that_is_made_again_during_its_deletion_touches_nothing_of_the_one_before() {
    let cluster = Cluster::shared().await;
    twin_app(&cluster).await;
    twin(&cluster, "tw-torn", json!({"deletionProtection": true})).await;
    let before = belongings(&cluster, "tw-torn").await;
    cluster.begin_delete("tw-torn").await;
    cluster.until("tw-torn", "Ready", "False", "DeletionProtected").await;
    let none = r#"{"metadata":{"finalizers":null}}"#;
    let args = ["patch", "tenants.tenantry.dev", "tw-torn", "--type=merge", "--patch", none];
    cluster.endpoints.kubectl(&args).await.unwrap();
    cluster.until_gone("tw-torn").await;

    let mut newcomer = uses("twin", "Delete");
    newcomer["adoptRetained"] = json!(true);
    cluster.tenant("tw-torn", newcomer).await;
    cluster.until("tw-torn", "Stalled", "True", "NameConflict").await;
    assert_eq!(belongings(&cluster, "tw-torn").await, before);
    cluster.delete::<Tenant>("tw-torn").await;
    assert_eq!(belongings(&cluster, "tw-torn").await, before);
}
