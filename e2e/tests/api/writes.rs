//! Writes that happen together, once, or with consequences; what documents were before; permissions by field and by rule.

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tenantry_crds::v1alpha1::App;
use tenantry_e2e::world::{Answer, LIMIT, World, answer};
use tenantry_rig::endpoints::http_client;
use tenantry_rig::eventually;

fn spec() -> Value {
    json!({
        "version": "1.0.0",
        "roles": [{"name": "seller"}, {"name": "intern"}],
        "docTypes": [
            {
                "name": "buyer", "trackChanges": true, "softDelete": true, "allowExtra": true,
                "fields": [
                    {"name": "name", "type": "String", "required": true},
                    {"name": "email", "type": "Email", "unique": true},
                    {"name": "credit", "type": "Decimal", "precision": 12, "scale": 2},
                    {"name": "agent", "type": "String"}
                ],
                "permissions": [
                    {"role": "seller", "allow": ["Read", "Create", "Update", "Delete"]},
                    {"role": "intern", "allow": ["Read"], "readable": ["name"]},
                    {"role": "intern", "allow": ["Read", "Update"], "writable": ["credit"], "where": [
                        {"field": "agent", "value": "@user"},
                        {"any": [{"field": "credit", "op": "IsNull"}, {"field": "credit", "op": "Lte", "value": 100}]}
                    ]}
                ]
            },
            {
                "name": "sale",
                "naming": {"strategy": "Series", "pattern": "S-.####", "gapless": true},
                "fields": [
                    {"name": "buyer", "type": "Reference", "to": "buyer", "required": true, "onDelete": "Cascade"},
                    {"name": "lines", "type": "List", "fields": [{"name": "sku", "type": "String", "required": true}]}
                ],
                "permissions": [{"role": "seller", "allow": ["Read", "Create", "Update", "Delete"]}]
            },
            {
                "name": "flash", "plural": "flashes", "ttl": {"field": "until", "seconds": 0},
                "fields": [{"name": "until", "type": "DateTime"}],
                "permissions": [{"role": "seller", "allow": ["Read", "Create"]}]
            }
        ]
    })
}

async fn world() -> World {
    World::builder().app(spec()).build().await
}

fn data(world: &World, plural: &str) -> String {
    format!("/api/v1/data/{}/{plural}", world.app)
}

async fn once(world: &World, path: &str, token: &str, key: &str, body: &Value) -> Answer {
    let request = http_client().unwrap().request(Method::POST, world.url(path));
    answer(request.bearer_auth(token).header("idempotency-key", key).json(body)).await
}

#[tokio::test]
async fn a_batch_happens_as_a_whole_and_points_back() {
    let world = world().await;
    let ann = world.user("ann", &["seller"]).await;
    let (buyers, sales) = (format!("{}/buyers", world.app), format!("{}/sales", world.app));
    let batch = json!({"operations": [
        {"op": "create", "type": buyers, "body": {"name": "Bo", "email": "bo@example.com"}},
        {"op": "create", "type": sales, "body": {"buyer": {"$ref": "0.id"}, "lines": [{"sku": "a"}]}},
        {"op": "update", "type": buyers, "id": {"$ref": "0.id"}, "ifMatch": 1, "body": {"credit": "5"}},
        {"op": "update", "type": sales, "id": {"$ref": "1.id"}, "body": {"lines": []}},
        {"op": "delete", "type": sales, "id": {"$ref": "1.id"}}
    ]});
    let done = once(&world, "/api/v1/batch", &ann, "b-1", &batch).await;
    assert_eq!(done.status, 200, "{done:?}");
    let results = done.body["results"].as_array().unwrap();
    let statuses: Vec<_> = results.iter().map(|result| result["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [201, 201, 200, 200, 204]);
    assert_eq!(results[1]["body"]["buyer"], results[0]["body"]["id"]);
    assert_eq!(
        (&results[1]["body"]["id"], &results[2]["body"]["credit"]),
        (&json!("S-0001"), &json!("5.00"))
    );
    let again = once(&world, "/api/v1/batch", &ann, "b-1", &batch).await;
    assert_eq!((&again.body, &again.headers["idempotency-replayed"]), (&done.body, &"true".parse().unwrap()));

    for (wrong, status, code, pointer) in [
        (
            json!({"op": "create", "type": buyers, "body": {"name": "Cy", "email": "bo@example.com"}}),
            409,
            "duplicate",
            "/operations/1/body/email",
        ),
        (
            json!({"op": "create", "type": sales, "body": {"buyer": {"$ref": "1.id"}}}),
            422,
            "validation_failed",
            "/operations/1/body/buyer",
        ),
        (
            json!({"op": "create", "type": sales, "body": {"lines": {"$ref": "0.id"}, "buyer": {"$ref": "0.id"}}}),
            422,
            "validation_failed",
            "/operations/1/body/lines",
        ),
        (
            json!({"op": "update", "type": buyers, "id": results[0]["body"]["id"], "ifMatch": 1, "body": {"name": "x"}}),
            412,
            "precondition_failed",
            "/operations/1",
        ),
        (json!({"op": "delete", "type": sales, "id": "S-9999"}), 404, "not_found", "/operations/1"),
        (
            json!({"op": "create", "type": format!("{}/nothing", world.app), "body": {}}),
            404,
            "not_found",
            "/operations/1",
        ),
    ] {
        let first = json!({"op": "create", "type": buyers, "body": {"name": "lost"}});
        let refused = world.post("/api/v1/batch", &ann, json!({"operations": [first, wrong]})).await;
        refused.refused(status, code);
        assert_eq!(refused.body["errors"][0]["pointer"], pointer, "{refused:?}");
    }
    for referring in [
        json!({"op": "create", "type": sales, "body": {"buyer": {"$ref": "1.id"}}}),
        json!({"op": "update", "type": buyers, "id": {"$ref": "1.id"}, "body": {"name": "x"}}),
        json!({"op": "delete", "type": buyers, "id": {"$ref": "1.id"}}),
    ] {
        let first = json!({"op": "create", "type": buyers, "body": {"name": "lost"}});
        let deletion = json!({"op": "delete", "type": buyers, "id": {"$ref": "0.id"}});
        let operations = json!({"operations": [first, deletion, referring]});
        let refused = world.post("/api/v1/batch", &ann, operations).await;
        refused.refused(422, "validation_failed");
        let why = refused.body["errors"][0]["message"].as_str().unwrap();
        assert!(why.contains("operation 1 deletes"), "a deletion leaves nothing to refer to: {refused:?}");
    }
    let kept = world.get(&format!("{}?name=eq.lost", data(&world, "buyers")), &ann).await;
    assert_eq!(kept.body["items"], json!([]), "nothing of what was refused is there");
    let next = json!({"buyer": results[0]["body"]["id"]});
    assert_eq!(
        world.post(&data(&world, "sales"), &ann, next).await.body["id"],
        "S-0002",
        "and no number is lost"
    );
}

#[tokio::test]
async fn a_request_that_is_sent_many_times_at_once_happens_once() {
    let world = world().await;
    let ann = world.user("ann", &["seller"]).await;
    let (path, body) = (data(&world, "buyers"), json!({"name": "once"}));
    let answers = join_all((0..12).map(|_| once(&world, &path, &ann, "k", &body))).await;
    let made: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert!(answers.iter().all(|answer| matches!(answer.status, 201 | 409)), "{answers:?}");
    assert!(!made.is_empty() && made.iter().all(|answer| answer.body == made[0].body));
    let list = world.get(&path, &ann).await;
    assert_eq!(list.body["items"].as_array().unwrap().len(), 1);
    once(&world, &path, &ann, "k", &json!({"name": "other"})).await.refused(422, "idempotency_mismatch");
    once(&world, &path, &ann, &"k".repeat(256), &body).await.refused(400, "bad_request");
}

#[tokio::test]
async fn versions_are_read_and_compared_and_a_deleted_document_comes_back() {
    let world = world().await;
    let ann = world.user("ann", &["seller"]).await;
    let made = world.post(&data(&world, "buyers"), &ann, json!({"name": "a", "credit": 1})).await;
    let path = format!("{}/{}", data(&world, "buyers"), made.body["id"].as_str().unwrap());
    let changed = json!({"name": "b", "extra": {"k": 1}});
    assert_eq!(world.send(Method::PATCH, &path, &ann, Some(changed)).await.status, 200);
    assert_eq!(world.send(Method::DELETE, &path, &ann, None).await.status, 204);
    world.get(&path, &ann).await.refused(404, "not_found");
    let versions = world.get(&format!("{path}/versions"), &ann).await;
    let told: Vec<_> = versions.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| (v["version"].clone(), v["action"].clone()))
        .collect();
    assert_eq!(told, [(json!(3), json!("Delete")), (json!(2), json!("Update")), (json!(1), json!("Create"))]);
    let compared = world.get(&format!("{path}/versions/2?compare=1"), &ann).await;
    assert_eq!(
        compared.body["changes"],
        json!([
            {"field": "extra", "from": {}, "to": {"k": 1}}, {"field": "name", "from": "a", "to": "b"}
        ])
    );
    assert_eq!(world.get(&format!("{path}/versions/1"), &ann).await.body["document"]["name"], "a");
    world.get(&format!("{path}/versions/9"), &ann).await.refused(404, "not_found");
    let back = world.post(&format!("{path}/restore"), &ann, json!({})).await;
    assert_eq!((back.status, &back.body["name"]), (200, &json!("b")), "{back:?}");

    let sale = world.post(&data(&world, "sales"), &ann, json!({"buyer": made.body["id"]})).await;
    let sale = format!("{}/{}", data(&world, "sales"), sale.body["id"].as_str().unwrap());
    assert_eq!(world.send(Method::DELETE, &format!("{path}?purge=true"), &ann, None).await.status, 204);
    world.get(&sale, &ann).await.refused(404, "not_found");
    world.post(&format!("{path}/restore"), &ann, json!({})).await.refused(404, "not_found");
}

#[tokio::test]
async fn fields_and_documents_are_open_as_far_as_permissions_say_and_explain_says_why() {
    let world = world().await;
    let (ann, ivy) = (world.user("ann", &["seller"]).await, world.user("ivy", &["intern"]).await);
    let body = |agent: &str, credit: u32| json!({"name": agent, "agent": agent, "credit": credit});
    let own = world.post(&data(&world, "buyers"), &ann, body("ivy", 50)).await;
    let rich = world.post(&data(&world, "buyers"), &ann, body("ivy", 500)).await;
    let path = |made: &Answer| format!("{}/{}", data(&world, "buyers"), made.body["id"].as_str().unwrap());

    assert_eq!(world.get(&path(&own), &ivy).await.body["credit"], "50.00");
    let seen = world.get(&path(&rich), &ivy).await;
    assert_eq!((&seen.body["name"], &seen.body["credit"]), (&json!("ivy"), &Value::Null), "{seen:?}");
    for query in ["credit=gt.1", "order=credit", "or=(credit.gt.1,name.eq.x)"] {
        world.get(&format!("{}?{query}", data(&world, "buyers")), &ivy).await.refused(400, "bad_request");
    }
    let set =
        async |made: &Answer, value: Value| world.send(Method::PATCH, &path(made), &ivy, Some(value)).await;
    assert_eq!(set(&own, json!({"credit": 60})).await.status, 200);
    set(&own, json!({"credit": 101})).await.refused(403, "forbidden");
    set(&rich, json!({"credit": 1})).await.refused(403, "forbidden");
    let refused = set(&own, json!({"name": "mine", "credit": 1})).await;
    refused.refused(403, "forbidden");
    assert_eq!(refused.body["errors"][0]["pointer"], "/name");

    let explain = format!("/api/v1/explain/{}/buyers", world.app);
    let told = world.get(&explain, &ivy).await;
    assert_eq!(
        (&told.body["actions"]["read"]["allowed"], &told.body["actions"]["update"]["allowed"]),
        (&json!("all"), &json!("some"))
    );
    assert!(told.body["actions"]["delete"]["why"].as_str().unwrap().contains("seller would"), "{told:?}");
    assert_eq!(told.body["fields"]["credit"], json!({"read": "some", "create": false, "update": true}));
    let one = format!("{explain}/{}", rich.body["id"].as_str().unwrap());
    assert_eq!(world.get(&one, &ivy).await.body["actions"]["update"]["allowed"], "none");
    let about = format!("{one}?user=ann&roles={}:seller", world.app);
    world.get(&about, &ivy).await.refused(403, "forbidden");
    let admin = world.user("root", &["admin"]).await;
    assert_eq!(world.get(&about, &admin).await.body["actions"]["update"]["allowed"], "all");
    let nobody = world.user("nobody", &[]).await;
    // As in /api/v1/meta: whoever may do nothing with a type does not learn that it is there.
    for hidden in [&one, &explain] {
        world.get(hidden, &nobody).await.refused(404, "not_found");
    }
    world.get("/api/v1/explain/core/users", &ivy).await.refused(404, "not_found");
}

#[tokio::test]
async fn documents_whose_time_has_come_are_swept() {
    let world = world().await;
    let (ann, admin) = (world.user("ann", &["seller"]).await, world.user("root", &["admin"]).await);
    let made = world.post(&data(&world, "flashes"), &ann, json!({"until": "2020-01-01T00:00:00Z"})).await;
    assert_eq!(made.status, 201, "{made:?}");
    let id = made.body["id"].as_str().unwrap().to_owned();
    world.get(&format!("{}/{id}", data(&world, "flashes")), &ann).await.refused(404, "not_found");
    eventually("the document is swept", LIMIT, || async {
        let audit = world.get("/api/v1/audit", &admin).await;
        let text = audit.body.to_string();
        if text.contains("tenantry-worker") && text.contains(&id) { Ok(()) } else { Err(text) }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_new_version_changes_what_becomes_of_documents_that_are_there() {
    let world = world().await;
    let ann = world.user("ann", &["seller"]).await;
    let buyer = world.post(&data(&world, "buyers"), &ann, json!({"name": "a"})).await;
    let sale = world.post(&data(&world, "sales"), &ann, json!({"buyer": buyer.body["id"]})).await;
    let mut next = spec();
    next["version"] = json!("1.1.0");
    next["docTypes"][1]["fields"][0]["onDelete"] = json!("Restrict");
    next["docTypes"][1]["trackChanges"] = json!(true);
    world.apply::<App>("App", &world.app, next).await;
    let path = format!("{}/{}", data(&world, "sales"), sale.body["id"].as_str().unwrap());
    eventually("versions of sales are kept", LIMIT, || async {
        let changed = world.send(Method::PATCH, &path, &ann, Some(json!({"lines": []}))).await;
        let versions = world.get(&format!("{path}/versions"), &ann).await;
        if versions.status == 200 { Ok(()) } else { Err(format!("{changed:?} {versions:?}")) }
    })
    .await
    .unwrap();
    let path = format!("{}/{}?purge=true", data(&world, "buyers"), buyer.body["id"].as_str().unwrap());
    let refused = world.send(Method::DELETE, &path, &ann, None).await;
    refused.refused(409, "reference_conflict");
    let named = format!("documents of {}.sale refer to this one by buyer", world.app);
    assert_eq!(refused.body["detail"], named);
}
