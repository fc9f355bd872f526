use reqwest::Method;
use serde_json::{Value, json};
use tenantry_e2e::world::{World, unique};
use tenantry_rig::Endpoints;

const TENANTS: &str = "/api/v1/admin/tenants";

/// A ServiceAccount that may do `verbs` with tenants; its token.
async fn account(endpoints: &Endpoints, verbs: &[&str]) -> String {
    let name = unique("admin-");
    endpoints.kubectl(&["create", "serviceaccount", &name, "-n", "default"]).await.unwrap();
    if !verbs.is_empty() {
        let verbs = format!("--verb={}", verbs.join(","));
        let role = ["create", "clusterrole", &name, &verbs, "--resource=tenants.tenantry.dev"];
        endpoints.kubectl(&role).await.unwrap();
        let subject = format!("--serviceaccount=default:{name}");
        let binding = ["create", "clusterrolebinding", &name, &format!("--clusterrole={name}"), &subject];
        endpoints.kubectl(&binding).await.unwrap();
    }
    let token = endpoints.kubectl(&["create", "token", &name, "-n", "default"]).await.unwrap();
    token.trim().to_owned()
}

fn manifest(name: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name, "labels": {"made-by": "rest"}}, "spec": spec})
}

#[tokio::test]
async fn a_tenant_is_made_read_listed_and_deleted_by_an_account_that_may() {
    let world = World::new().await;
    let admin = account(world.platform.endpoints(), &["create", "get", "list", "delete"]).await;
    let name = unique("t-");
    let made = world.post(TENANTS, &admin, manifest(&name, json!({"deletionPolicy": "Delete"}))).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert!(made.body["metadata"]["managedFields"].is_null());
    world.until_ready(&name).await;
    let again = world.post(TENANTS, &admin, manifest(&name, json!({}))).await;
    again.refused(409, "conflict");

    let one = format!("{TENANTS}/{name}");
    let read = world.get(&one, &admin).await;
    assert_eq!((read.status, &read.body["spec"]["deletionPolicy"]), (200, &json!("Delete")), "{read:?}");
    let listed = world.get(&format!("{TENANTS}?labelSelector=made-by%3Drest&limit=500"), &admin).await;
    let names: Vec<_> =
        listed.body["items"].as_array().unwrap().iter().map(|t| t["metadata"]["name"].clone()).collect();
    assert!(names.contains(&json!(name)), "{listed:?}");
    let page = world.get(&format!("{TENANTS}?limit=1"), &admin).await;
    let next = page.body["next"].as_str().unwrap();
    let second = world.get(&format!("{TENANTS}?limit=1&continue={next}"), &admin).await;
    assert_eq!(second.body["items"].as_array().unwrap().len(), 1);
    assert_ne!(second.body["items"][0]["metadata"]["name"], page.body["items"][0]["metadata"]["name"]);

    assert_eq!(world.send(Method::DELETE, &one, &admin, None).await.status, 202);
    tenantry_rig::eventually("the tenant is gone", tenantry_e2e::world::LIMIT, || async {
        let answer = world.get(&one, &admin).await;
        if answer.status == 404 { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn the_rights_are_those_of_the_cluster() {
    let world = World::new().await;
    let reader = account(world.platform.endpoints(), &["get"]).await;
    let nobody = account(world.platform.endpoints(), &[]).await;
    let one = format!("{TENANTS}/{}", world.tenant);
    assert_eq!(world.get(&one, &reader).await.status, 200);
    world.get(TENANTS, &reader).await.refused(403, "forbidden");
    world.post(TENANTS, &reader, manifest(&unique("t-"), json!({}))).await.refused(403, "forbidden");
    world.send(Method::DELETE, &one, &reader, None).await.refused(403, "forbidden");
    world.get(&one, &nobody).await.refused(403, "forbidden");
    // A tenant's own administrator is nobody to the cluster.
    let tenant_admin = world.user("root", &["admin"]).await;
    world.get(TENANTS, &tenant_admin).await.refused(401, "unauthenticated");
    world.get(TENANTS, "nonsense").await.refused(401, "unauthenticated");
    // And an account of the cluster is nobody to a tenant.
    world.get(&world.cards("data"), &reader).await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn what_the_cluster_refuses_is_passed_on_in_its_words() {
    let world = World::new().await;
    let admin = account(world.platform.endpoints(), &["create", "get", "list"]).await;
    let unknown =
        world.post(TENANTS, &admin, manifest(&unique("t-"), json!({"deletionPolicy": "Keep"}))).await;
    unknown.refused(422, "validation_failed");
    assert_eq!(unknown.body["errors"][0]["pointer"], "/spec/deletionPolicy", "{unknown:?}");
    let reserved = world.post(TENANTS, &admin, manifest("default", json!({}))).await;
    reserved.refused(422, "validation_failed");
    assert!(reserved.body["detail"].as_str().unwrap().contains("reserved"), "{reserved:?}");
    let misspelt = world.post(TENANTS, &admin, manifest(&unique("t-"), json!({"appps": []}))).await;
    misspelt.refused(400, "bad_request");
    let mut app = manifest("x", json!({}));
    app["kind"] = json!("App");
    world.post(TENANTS, &admin, app).await.refused(422, "validation_failed");
    world.get(&format!("{TENANTS}/no-such-tenant"), &admin).await.refused(404, "not_found");
    world.get(&format!("{TENANTS}/a%2Fstatus"), &admin).await.refused(404, "not_found");
    world.get(&format!("{TENANTS}?limit=100000"), &admin).await.refused(400, "bad_request");
    world.get(&format!("{TENANTS}?continue=nonsense"), &admin).await.refused(400, "bad_request");
}
