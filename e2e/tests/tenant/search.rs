use serde_json::json;
use tenantry_crds::v1alpha1::SearchIndex;
use tenantry_e2e::rig::eventually;

use super::operated::{Cluster, LIMIT, condition_of, customer, search_of, shop, uses};

#[tokio::test]
async fn a_search_index_that_comes_later_changes_and_goes() {
    let cluster = Cluster::shared().await;
    cluster.app("late", shop("1.0.0", customer())).await;
    cluster.tenant("late-one", uses("late", "Delete")).await;
    let tenant = cluster.until_ready("late-one").await;
    assert_eq!(condition_of(&tenant, "SearchReady").unwrap().1, "NotRequired");

    cluster.search_index("late", search_of("late")).await;
    let live = "SELECT live::text || ' ' || (settings->'filterable')::text FROM tenantry.search_binding
         WHERE tenant = 'late-one'";
    until_texts(&cluster, live, &[r#"true ["created_by", "id", "region", "status"]"#]).await;
    assert!(cluster.index_settings("late-one_late_customer").await.is_some());
    let tenant = cluster.until("late-one", "SearchReady", "True", "Succeeded").await;
    assert_eq!(condition_of(&tenant, "SearchReady").unwrap().2, "1 index in place");

    let mut wider = search_of("late");
    wider["filterable"] = json!(["status", "email"]);
    cluster.search_index("late", wider).await;
    until_texts(&cluster, live, &[r#"true ["created_by", "email", "id", "region", "status"]"#]).await;
    let settings = cluster.index_settings("late-one_late_customer").await.unwrap();
    assert_eq!(settings["filterableAttributes"], json!(["created_by", "email", "id", "region", "status"]));

    cluster.delete::<SearchIndex>("late").await;
    until_texts(&cluster, live, &[]).await;
    assert_eq!(cluster.index_settings("late-one_late_customer").await, None);
    cluster.until("late-one", "SearchReady", "True", "NotRequired").await;
}

async fn until_texts(cluster: &Cluster, sql: &str, expected: &[&str]) {
    eventually(&format!("{expected:?}"), LIMIT, || async {
        let found = cluster.texts(sql).await;
        if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await
    .unwrap();
}
