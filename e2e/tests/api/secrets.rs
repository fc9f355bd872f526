//! Fields of type `Secret`: what is stored of them, and where nothing is.

use reqwest::Method;
use serde_json::{Value, json};
use tenantry_crds::v1alpha1::App;
use tenantry_e2e::cluster::Cluster;
use tenantry_e2e::world::{LIMIT, World, answer, unique};
use tenantry_rig::eventually;

fn spec(version: &str, pin: &Value) -> Value {
    json!({
        "version": version,
        "roles": [{"name": "keeper"}],
        "docTypes": [{
            "name": "card", "trackChanges": true,
            "naming": {"strategy": "Series", "pattern": "C-.####"},
            "fields": [{"name": "title", "type": "String", "unique": true}, pin],
            "permissions": [{"role": "keeper", "allow": ["Read", "Create", "Update", "Delete"]}]
        }]
    })
}

fn secret() -> Value {
    json!({"name": "pin", "type": "Secret"})
}

/// Every table of ours and of the tenant in which `text` stands.
async fn tables_with(cluster: &Cluster, tenant: &str, text: &str) -> Vec<String> {
    let schema = format!("tenant_{}", tenant.replace('-', "_"));
    let tables = cluster
        .texts(&format!(
            "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relkind = 'r' \
             AND c.relnamespace IN ('tenantry'::regnamespace, '{schema}'::regnamespace) ORDER BY 1"
        ))
        .await;
    assert!(tables.len() > 60, "{tables:?}");
    let mut found = Vec::new();
    for table in tables {
        let rows = format!("SELECT 1::text FROM {table} t WHERE t::text LIKE '%{text}%' LIMIT 1");
        if !cluster.texts(&rows).await.is_empty() {
            found.push(table);
        }
    }
    found
}

async fn pins(cluster: &Cluster, world: &World) -> Vec<String> {
    let schema = format!("tenant_{}", world.tenant.replace('-', "_"));
    cluster
        .texts(&format!("SELECT pin FROM {schema}.{}_card WHERE pin IS NOT NULL ORDER BY id", world.app))
        .await
}

#[tokio::test]
async fn a_secret_is_stored_sealed_however_it_was_written() {
    let world = World::builder().app(spec("1.0.0", &secret())).build().await;
    let cluster = Cluster::of(world.platform.endpoints()).await;
    let token = world.user("ann", &["keeper"]).await;
    let (cards, canary) = (world.cards("data"), unique("canary"));
    let pin = |n: u8| format!("{canary}-{n}");
    let sent = async |method: Method, path: &str, headers: &[(&str, &str)], body: String| {
        let request = world.request(method, path).bearer_auth(&token).body(body);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let answer = answer(request).await;
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
        assert!(!answer.body.to_string().contains(&canary), "a secret is never shown: {answer:?}");
        answer.body
    };
    const JSON: (&str, &str) = ("content-type", "application/json");
    let key = unique("key");
    let kept = [JSON, ("idempotency-key", key.as_str())];
    let one = json!({"title": "one", "pin": pin(1)}).to_string();
    let made = sent(Method::POST, &cards, &kept, one.clone()).await;
    assert_eq!(sent(Method::POST, &cards, &kept, one).await, made, "the answer that was kept");
    let path = format!("{cards}/{}", made["id"].as_str().unwrap());
    let many = json!([{"title": "two", "pin": pin(2)}, {"title": "three", "pin": pin(3)}]).to_string();
    sent(Method::POST, &cards, &[JSON], many).await;
    sent(Method::PATCH, &path, &[JSON], json!({"pin": pin(4)}).to_string()).await;
    sent(Method::PUT, &path, &[JSON], json!({"title": "one", "pin": pin(5)}).to_string()).await;
    let batch = json!({"operations": [
        {"op": "create", "type": format!("{}/cards", world.app), "body": {"title": "four", "pin": pin(6)}},
        {"op": "update", "type": format!("{}/cards", world.app), "id": made["id"], "body": {"pin": pin(7)}}
    ]});
    sent(Method::POST, "/api/v1/batch", &[JSON], batch.to_string()).await;
    let csv = format!("title,pin\nfive,{}\n", pin(8));
    sent(Method::POST, &cards, &[("content-type", "text/csv")], csv).await;
    let profile = ("content-profile", world.app.as_str());
    let merge = ("prefer", "resolution=merge-duplicates,return=representation");
    let upsert = json!([{"title": "five", "pin": pin(9)}]).to_string();
    sent(Method::POST, "/rest/v1/cards?on_conflict=title", &[JSON, profile, merge], upsert).await;
    let by_filter = ("prefer", "return=representation");
    let pin_10 = json!({"pin": pin(10)}).to_string();
    sent(Method::PATCH, "/rest/v1/cards?title=eq.two", &[JSON, profile, by_filter], pin_10).await;

    let stored = pins(&cluster, &world).await;
    assert_eq!(stored.len(), 5);
    for value in &stored {
        assert!(value.starts_with("tnc1:") && value.len() > 150, "{value}");
    }
    assert_eq!(
        tables_with(&cluster, &world.tenant, &canary).await,
        [""; 0],
        "in no table is it in the clear"
    );
    // Where it is stored it is, and nowhere else: no event, no audit row, no version and no kept answer has the sealed value.
    let own = tables_with(&cluster, &world.tenant, &stored[0][..60]).await;
    assert!(own.len() == 1 && own[0].ends_with("_card"), "{own:?}");
    for query in ["pin=eq.1", "pin=like.*1*", "pin=is.null", "order=pin", "select=id,pin"] {
        let refused = world.get(&format!("{cards}?{query}"), &token).await;
        assert!(refused.status == 400, "{query}: {refused:?}");
    }
}

#[tokio::test]
async fn values_of_a_field_that_becomes_a_secret_are_sealed_by_the_worker() {
    let clear = json!({"name": "pin", "type": "String", "writeOnly": true});
    let world = World::builder().app(spec("1.0.0", &clear)).build().await;
    let cluster = Cluster::of(world.platform.endpoints()).await;
    let token = world.user("ann", &["keeper"]).await;
    let cards: Vec<Value> =
        (0..3).map(|n| json!({"title": format!("{n}"), "pin": format!("47{n}")})).collect();
    assert_eq!(world.post(&world.cards("data"), &token, json!(cards)).await.status, 201);
    assert_eq!(pins(&cluster, &world).await, ["470", "471", "472"]);
    let before = world.get(&world.cards("data"), &token).await.body;

    world.apply::<App>("App", &world.app, spec("1.1.0", &secret())).await;
    let sealed = eventually("the values are sealed", LIMIT, || async {
        let pins = pins(&cluster, &world).await;
        if pins.iter().all(|pin| pin.starts_with("tnc1:")) { Ok(pins) } else { Err(format!("{pins:?}")) }
    })
    .await
    .unwrap();
    assert_eq!(sealed.len(), 3);
    // What a document holds has not changed: nobody hears of it.
    assert_eq!(world.get(&world.cards("data"), &token).await.body, before);
}
