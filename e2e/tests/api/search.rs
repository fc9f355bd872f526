use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use tenantry_e2e::world::{Answer, LIMIT, World, unique};
use tenantry_rig::eventually;

async fn card(world: &World, token: &str, card: Value) -> String {
    let made = world.post(&world.cards("data"), token, card).await;
    assert_eq!(made.status, 201, "{made:?}");
    made.body["id"].as_str().unwrap().to_owned()
}

async fn search(world: &World, token: &str, query: &str) -> Answer {
    world.get(&format!("{}?{query}", world.cards("search")), token).await
}

/// Waits until a search finds exactly the cards with these titles.
async fn until_found(world: &World, token: &str, query: &str, titles: &[&str]) -> Answer {
    let expected: BTreeSet<&str> = titles.iter().copied().collect();
    eventually(&format!("{query} finds {titles:?}"), LIMIT, || async {
        let answer = search(world, token, query).await;
        let items = answer.body["items"].as_array().cloned().unwrap_or_default();
        let found: BTreeSet<&str> = items.iter().filter_map(|item| item["title"].as_str()).collect();
        if answer.status == 200 && found == expected { Ok(answer) } else { Err(format!("{answer:?}")) }
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn documents_are_found_with_typos_changed_and_gone_with_their_events() {
    let world = World::new().await;
    world.make_searchable().await;
    world.until_ready(&world.tenant).await;
    let writer = world.user("ann", &["reader", "writer"]).await;
    let price = "90000000000000.10";
    let id = card(&world, &writer, json!({"title": "Lovelace", "price": price, "pin": "hunter2"})).await;
    let found = until_found(&world, &writer, "q=lovelcae", &["Lovelace"]).await;
    let hit = &found.body["items"][0];
    let stored = world.get(&format!("{}/{id}", world.cards("data")), &writer).await;
    assert_eq!(*hit, stored.body, "a hit is the document itself, decimals and all");
    assert!(!found.body.to_string().contains("hunter2"), "{found:?}");
    assert_eq!(found.body["estimatedTotal"], 1);

    let path = format!("{}/{id}", world.cards("data"));
    let changed =
        world.send(Method::PATCH, &path, &writer, Some(json!({"title": "Hopper", "status": "done"}))).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    until_found(&world, &writer, "q=hopper&status=eq.done&facets=status", &["Hopper"]).await;
    until_found(&world, &writer, "q=lovelace", &[]).await;
    until_found(&world, &writer, "q=hopper&status=eq.open", &[]).await;
    until_found(&world, &writer, "q=hopper&price=gte.90000000000000", &["Hopper"]).await;
    until_found(&world, &writer, "q=hopper&price=lt.90000000000000", &[]).await;

    assert_eq!(world.send(Method::DELETE, &path, &writer, None).await.status, 204);
    until_found(&world, &writer, "q=hopper", &[]).await;
}

#[tokio::test]
async fn documents_from_before_the_index_are_found_and_deleted_ones_are_not() {
    let world = World::new().await;
    let writer = world.user("ann", &["reader", "writer"]).await;
    for title in ["first", "second", "third"] {
        card(&world, &writer, json!({"title": title})).await;
    }
    let gone = card(&world, &writer, json!({"title": "fourth"})).await;
    let before = search(&world, &writer, "q=first").await;
    before.refused(404, "not_found");
    assert!(before.body["hint"].as_str().unwrap().contains("SearchIndex"), "{before:?}");

    world.make_searchable().await;
    let path = format!("{}/{gone}", world.cards("data"));
    assert_eq!(world.send(Method::DELETE, &path, &writer, None).await.status, 204);
    until_found(&world, &writer, "q=", &["first", "second", "third"]).await;
}

#[tokio::test]
async fn a_search_shows_what_the_caller_may_read_and_nothing_of_another_tenant() {
    let world = World::new().await;
    world.make_searchable().await;
    world.until_ready(&world.tenant).await;
    let other = unique("t-");
    world.install(&other).await;
    let (ann, bob) = (world.user("ann", &["writer"]).await, world.user("bob", &["writer"]).await);
    let reader = world.user("eve", &["reader"]).await;
    card(&world, &ann, json!({"title": "shared word ann"})).await;
    card(&world, &bob, json!({"title": "shared word bob"})).await;
    until_found(&world, &reader, "q=shared", &["shared word ann", "shared word bob"]).await;
    until_found(&world, &ann, "q=shared", &["shared word ann"]).await;
    // The engine compares without regard to case; permissions do not.
    let capital = world.user("ANN", &["writer"]).await;
    until_found(&world, &capital, "q=shared", &[]).await;

    let stranger = world.token_of(&other, "ann", &[&format!("{}:reader", world.app)]).await;
    until_found(&world, &stranger, "q=shared", &[]).await;
    let forced = "q=shared&status=eq.open%22%20OR%20created_by%20!%3D%20%22x";
    until_found(&world, &ann, forced, &[]).await;
}

#[tokio::test]
async fn a_search_that_cannot_be_is_refused_with_what_can_be() {
    let world = World::new().await;
    world.make_searchable().await;
    world.until_ready(&world.tenant).await;
    let reader = world.user("eve", &["reader"]).await;
    for query in ["pin=eq.1", "title=eq.x", "limit=0", "limit=5000", "offset=1000", "order=pin", "facets=pin"]
    {
        search(&world, &reader, query).await.refused(400, "bad_request");
    }
    let unknown = format!("/api/v1/search/{}/nothing", world.app);
    world.get(&unknown, &reader).await.refused(404, "not_found");
    world.get("/api/v1/search/core/users", &reader).await.refused(403, "forbidden");
}
