use tenantry_e2e::rig::{Stack, StackOptions};

use super::operated::{Cluster, condition_of, customer, operate, search_of, shop, uses};

/// On a stack of its own, since it breaks it.
#[tokio::test]
async fn a_backend_that_is_down_is_named_and_holds_up_no_other() {
    let stack = Stack::start(StackOptions::default()).await.unwrap();
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
