use serde_json::json;
use tenantry_crds::v1alpha1::App;
use tenantry_e2e::world::{LIMIT, World, answer, app_spec};
use tenantry_rig::endpoints::http_client;
use tenantry_rig::eventually;

#[tokio::test]
async fn a_tenant_describes_what_the_caller_may_use() {
    let world = World::new().await;
    let (reader, admin) = (world.user("eve", &["reader"]).await, world.user("root", &["admin"]).await);
    let seen = world.get("/openapi.json", &reader).await;
    assert_eq!((seen.status, &seen.body["openapi"]), (200, &json!("3.1.0")), "{seen:?}");
    let cards = &seen.body["paths"][world.cards("data")];
    assert!(cards["get"].is_object() && cards["post"].is_null(), "a reader reads: {cards}");
    let all = world.get("/openapi.json", &admin).await;
    assert!(
        all.body["paths"]["/api/v1/data/core/users"]["get"].is_object(),
        "an administrator has core, too"
    );

    let http = http_client().unwrap();
    let tag = seen.headers["etag"].clone();
    let again = http.get(world.url("/openapi.json")).bearer_auth(&reader).header("if-none-match", tag);
    assert_eq!(again.send().await.unwrap().status(), 304);

    let types = world.get("/api/v1/meta", &reader).await;
    let app = types.body["apps"].as_array().unwrap().iter().find(|app| app["name"] == world.app).unwrap();
    assert_eq!(app["docTypes"][0]["plural"], "cards");
    let schema = world.get(app["docTypes"][0]["schema"].as_str().unwrap(), &reader).await;
    assert_eq!(schema.body["required"], json!(["title"]), "{schema:?}");
    assert_eq!(schema.body["properties"]["price"]["type"], json!(["string", "null"]));
    // Nobody learns of a type that is not for them.
    world.get("/api/v1/meta/core/users", &reader).await.refused(404, "not_found");
    world.get("/openapi.json", "").await.refused(401, "unauthenticated");

    let page = answer(http.get(world.url("/docs"))).await;
    assert_eq!(page.status, 200);
    let policy = page.headers["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("script-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
    let text = page.body.as_str().unwrap();
    assert!(
        !text.contains("http://") && !text.contains("https://") && !text.contains(" src="),
        "no assets of others"
    );
}

#[tokio::test]
async fn a_new_version_of_an_app_is_described_when_it_is_served() {
    let world = World::new().await;
    let admin = world.user("root", &["admin"]).await;
    assert_eq!(world.get("/openapi.json", &admin).await.status, 200);
    let mut spec = app_spec();
    spec["version"] = json!("1.1.0");
    spec["docTypes"].as_array_mut().unwrap().push(json!({
        "name": "note", "fields": [{"name": "text", "type": "Text"}]
    }));
    world.apply::<App>("App", &world.app, spec).await;
    let notes = format!("/api/v1/data/{}/notes", world.app);
    eventually("the new type is described", LIMIT, || async {
        let seen = world.get("/openapi.json", &admin).await;
        if seen.body["paths"][&notes].is_object() { Ok(()) } else { Err("not yet") }
    })
    .await
    .unwrap();
    assert_eq!(world.post(&notes, &admin, json!({"text": "here"})).await.status, 201);
}
