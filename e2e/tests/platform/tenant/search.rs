use serde_json::json;
use tenantry_crds::v1alpha1::SearchIndex;
use tenantry_e2e::cluster::{Cluster, LIMIT, condition_of};
use tenantry_e2e::manifests::{customer, search_of, shop, uses};
use tenantry_rig::eventually;

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

#[tokio::test]
async fn an_index_that_someone_changed_or_removed_is_made_right() {
    let cluster = Cluster::shared().await;
    cluster.app("lost", shop("1.0.0", customer())).await;
    cluster.search_index("lost", search_of("lost")).await;
    cluster.tenant("lost-one", uses("lost", "Delete")).await;
    cluster.until_ready("lost-one").await;
    cluster
        .run_sql(
            "INSERT INTO tenantry.search_progress (tenant, app, doc_type, index_uid)
                 VALUES ('lost-one', 'lost', 'customer', 'lost-one_lost_customer') ON CONFLICT DO NOTHING",
        )
        .await;
    cluster.change_index("lost-one_lost_customer", json!({"filterableAttributes": []})).await;
    cluster.nudge("lost-one").await;
    eventually("the settings are back", LIMIT, || async {
        let settings = cluster.index_settings("lost-one_lost_customer").await.ok_or("gone")?;
        let filterable = settings["filterableAttributes"].as_array().map(Vec::len);
        if filterable == Some(4) { Ok(()) } else { Err("changed") }
    })
    .await
    .unwrap();
    cluster.until_ready("lost-one").await;

    cluster.delete_index("lost-one_lost_customer").await;
    cluster.nudge("lost-one").await;
    let live = "SELECT live::text FROM tenantry.search_binding WHERE tenant = 'lost-one'";
    eventually("the index is back", LIMIT, || async {
        let there = cluster.index_settings("lost-one_lost_customer").await.is_some();
        if there && cluster.texts(live).await == ["true"] { Ok(()) } else { Err("not yet") }
    })
    .await
    .unwrap();
    let filled =
        "SELECT index_uid FROM tenantry.search_progress WHERE tenant = 'lost-one' AND backfilled_at < now()";
    assert_eq!(cluster.texts(filled).await, [""; 0], "an empty index counts as filled");
}

async fn until_texts(cluster: &Cluster, sql: &str, expected: &[&str]) {
    eventually(&format!("{expected:?}"), LIMIT, || async {
        let found = cluster.texts(sql).await;
        if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await
    .unwrap();
}
