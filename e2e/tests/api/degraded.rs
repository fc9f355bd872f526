//! What goes on while a backend is away. Each test breaks a platform of its own.

use reqwest::Method;
use serde_json::json;
use tenantry_e2e::Platform;
use tenantry_e2e::world::{LIMIT, World};
use tenantry_rig::{Stack, eventually};

async fn broken_world() -> World {
    let stack = Stack::private("its servers are stopped").await.unwrap();
    let platform = Platform::start(stack).await.unwrap();
    // Leaked on purpose: the world borrows it, and the sandbox ends the servers with this process.
    let world = World::builder().on(Box::leak(Box::new(platform))).build().await;
    world.make_searchable().await;
    let reader = world.user("eve", &["reader"]).await;
    eventually("the index is there", LIMIT, || async {
        let answer = world.get(&world.cards("search"), &reader).await;
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await
    .unwrap();
    world
}

#[tokio::test]
async fn documents_are_served_without_redis_meilisearch_and_kubernetes_and_all_comes_back() {
    let world = broken_world().await;
    let stack = world.platform.stack();
    let user = world.user("ann", &["reader", "writer", "worker"]).await;
    let queue = format!("/api/v1/jobs/{}/default", world.app);
    let job = json!({"type": "test"});
    assert_eq!(world.post(&queue, &user, job.clone()).await.status, 201);

    stack.redis().unwrap().kill().await.unwrap();
    stack.meilisearch().unwrap().kill().await.unwrap();
    stack.kube_apiserver().unwrap().kill().await.unwrap();

    let made = world.post(&world.cards("data"), &user, json!({"title": "survivor"})).await;
    assert_eq!(made.status, 201, "{made:?}");
    let path = format!("{}/{}", world.cards("data"), made.body["id"].as_str().unwrap());
    assert_eq!(world.get(&path, &user).await.status, 200);
    world.post(&queue, &user, job.clone()).await.refused(503, "unavailable");
    world.get(&world.cards("search"), &user).await.refused(503, "unavailable");
    world.get("/api/v1/admin/tenants", "some-token").await.refused(503, "unavailable");
    assert_eq!(world.get("/readyz", "").await.status, 200, "documents are served, so it is ready");

    stack.redis().unwrap().start().await.unwrap();
    stack.meilisearch().unwrap().start().await.unwrap();
    stack.kube_apiserver().unwrap().start().await.unwrap();
    eventually("jobs are taken again", LIMIT, || async {
        let answer = world.post(&queue, &user, job.clone()).await;
        if answer.status == 201 { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await
    .unwrap();
    let leased = world.post(&format!("{queue}/lease"), &user, json!({"max": 10})).await;
    assert!(leased.body["jobs"].as_array().unwrap().len() >= 2, "the job from before is there: {leased:?}");
    eventually("what was written meanwhile is found", LIMIT, || async {
        let answer = world.get(&format!("{}?q=survivor", world.cards("search")), &user).await;
        if answer.body["estimatedTotal"] == 1 { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_restart_of_postgres_is_an_interruption_and_changes_are_heard_of_afterwards() {
    let world = broken_world().await;
    let user = world.user("ann", &["reader", "writer"]).await;
    let postgres = world.platform.stack().postgres().unwrap();
    postgres.kill().await.unwrap();
    let refused = world.get(&world.cards("data"), &user).await;
    refused.refused(503, "unavailable");
    eventually("it says that it is not ready", LIMIT, || async {
        let answer = world.get("/readyz", "").await;
        if answer.status == 503 { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await
    .unwrap();
    postgres.start().await.unwrap();
    eventually("documents are served again", LIMIT, || async {
        let answer =
            world.send(Method::POST, &world.cards("data"), &user, Some(json!({"title": "back"}))).await;
        if answer.status == 201 { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await
    .unwrap();
    eventually("the worker is back as well", LIMIT, || async {
        let answer = world.get(&format!("{}?q=back", world.cards("search")), &user).await;
        if answer.body["estimatedTotal"].as_u64() >= Some(1) { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await
    .unwrap();
    // A tenant that is made after the restart is heard of without a restart of ours.
    let other = tenantry_e2e::world::unique("t-");
    world.install(&other).await;
    let token = world.token_of(&other, "ann", &["admin"]).await;
    eventually("the new tenant is served", LIMIT, || async {
        let answer = world.get(&world.cards("data"), &token).await;
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await
    .unwrap();
}
