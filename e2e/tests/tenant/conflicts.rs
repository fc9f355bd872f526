use serde_json::json;
use tenantry_crds::v1alpha1::Tenant;

use super::operated::{Cluster, condition_of, customer, search_of, shop, uses};

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
