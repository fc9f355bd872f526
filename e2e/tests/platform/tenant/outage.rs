//! On stacks of their own, since they break them.

use serde_json::json;
use tenantry_e2e::cluster::{Cluster, LIMIT, condition_of, operate};
use tenantry_e2e::manifests::{customer, search_of, shop, uses};
use tenantry_rig::endpoints::http_client;
use tenantry_rig::{Stack, eventually};

#[tokio::test]
async fn a_backend_that_is_down_is_named_and_holds_up_no_other() {
    let stack = Stack::private("backends are stopped").await.unwrap();
    let _operator = operate(&stack).await;
    let cluster = Cluster::of(stack.endpoints()).await;
    cluster.app("dark", shop("1.0.0", customer())).await;
    cluster.search_index("dark", search_of("dark")).await;
    stack.redis().unwrap().kill().await.unwrap();
    stack.meilisearch().unwrap().kill().await.unwrap();

    cluster.tenant("dark-one", uses("dark", "Delete")).await;
    let tenant = cluster.until("dark-one", "StreamsReady", "False", "BackendUnavailable").await;
    assert_eq!(condition_of(&tenant, "DatabaseReady").unwrap().0, "True");
    assert_eq!(condition_of(&tenant, "Ready").unwrap().0, "False");
    let (status, reason, _) = condition_of(&tenant, "SearchReady").unwrap();
    assert_eq!((status.as_str(), reason.as_str()), ("False", "BackendUnavailable"));
    let ready = "SELECT ready::text FROM tenantry.tenant WHERE name = 'dark-one'";
    assert_eq!(cluster.texts(ready).await, ["false"]);

    stack.redis().unwrap().start().await.unwrap();
    stack.meilisearch().unwrap().start().await.unwrap();
    cluster.until_ready("dark-one").await;
    assert_eq!(cluster.texts(ready).await, ["true"]);
    assert!(cluster.index_settings("dark-one_dark_customer").await.is_some());
}

#[tokio::test]
async fn a_redis_that_may_drop_jobs_is_refused_and_an_old_leader_changes_nothing() {
    let stack = Stack::private("Redis is set to drop keys, and two operators take turns").await.unwrap();
    let cluster = Cluster::of(stack.endpoints()).await;
    let policy = |policy| ["CONFIG", "SET", "maxmemory-policy", policy];
    cluster.redis_command(&policy("allkeys-lru")).await;
    let operator = operate(&stack).await;
    cluster.app("lru", shop("1.0.0", customer())).await;
    cluster.tenant("lru-one", uses("lru", "Delete")).await;
    let stalled = cluster.until("lru-one", "Stalled", "True", "BackendUnavailable").await;
    let (_, _, message) = condition_of(&stalled, "StreamsReady").unwrap();
    assert!(message.contains("allkeys-lru") && message.contains("noeviction"), "{message}");
    assert_eq!(cluster.keys("lru-one").await, [""; 0]);
    cluster.redis_command(&policy("noeviction")).await;
    cluster.nudge("lru-one").await;
    cluster.until_ready("lru-one").await;

    // Somebody else has taken over, and this operator does not know.
    cluster.run_sql("UPDATE tenantry.leader_epoch SET epoch = epoch + 1").await;
    cluster.tenant("late-one", json!({"deletionPolicy": "Delete"})).await;
    let metrics = format!("{}/metrics", operator.metrics_url());
    let refused = r#"tenantry_backend_calls_total{backend="postgres",op="provision",result="error"}"#;
    eventually("the provisioning is refused", LIMIT, || async {
        let text = http_client().unwrap().get(&metrics).send().await.unwrap().text().await.unwrap();
        if text.contains(refused) { Ok(()) } else { Err("not yet") }
    })
    .await
    .unwrap();
    assert_eq!(cluster.traces("late-one").await, [""; 0]);
}
