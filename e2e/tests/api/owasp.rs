//! The OWASP API Security Top 10 (2023), as far as it is not tested elsewhere: objects (1) in `matrix`, authentication (2) in `auth`,
//! resources (4) and origins (8) in `limits`, the inventory (9) beside the code, in `describe`.

use reqwest::Method;
use serde_json::{Value, json};
use tenantry_e2e::rig::endpoints::http_client;

use super::world::{World, answer};

#[tokio::test]
async fn properties_that_are_not_the_callers_cannot_be_set_or_seen() {
    let world = World::new().await;
    let user = world.user("ann", &["reader", "writer"]).await;
    let made = world.post(&world.cards("data"), &user, json!({"title": "mine", "pin": "very-secret"})).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert!(!made.body.to_string().contains("very-secret"), "{made:?}");
    let path = format!("{}/{}", world.cards("data"), made.body["id"].as_str().unwrap());
    for (name, value) in [
        ("version", json!(99)),
        ("created_at", json!("2020-01-01T00:00:00Z")),
        ("updated_at", json!("2020-01-01T00:00:00Z")),
        ("created_by", json!("root")),
        ("updated_by", json!("root")),
        ("tenant", json!("other")),
        ("role", json!("admin")),
        ("roles", json!(["admin"])),
        ("__proto__", json!({"admin": true})),
    ] {
        let mut body = json!({"title": "x"});
        body[name] = value.clone();
        let made = world.post(&world.cards("data"), &user, body.clone()).await;
        assert_eq!((made.status, made.code()), (422, "validation_failed"), "{name}: {made:?}");
        for method in [Method::PATCH, Method::PUT] {
            let changed = world.send(method, &path, &user, Some(body.clone())).await;
            assert_eq!((changed.status, changed.code()), (422, "validation_failed"), "{name}: {changed:?}");
        }
    }
    let of_hidden = |query: &str| format!("{}?{query}", world.cards("data"));
    for query in [
        "pin=eq.very-secret",
        "pin=like.very*",
        "order=pin",
        "select=id,pin",
        "or=(pin.eq.very-secret,title.eq.x)",
    ] {
        let refused = world.get(&of_hidden(query), &user).await;
        refused.refused(400, "bad_request");
        let of_none = world.get(&of_hidden(&query.replace("pin", "nix")), &user).await;
        let text = |answer: &Value| answer.to_string().replace("pin", "nix");
        assert_eq!(text(&refused.body), text(&of_none.body), "a hidden field is as one that is not there");
    }
    let same = world.get(&path, &user).await;
    assert_eq!((same.status, &same.body["version"]), (200, &json!(1)), "{same:?}");
}

#[tokio::test]
async fn a_function_is_reached_by_its_own_method_and_path_only() {
    let world = World::new().await;
    let user = world.user("ann", &["admin"]).await;
    let made = world.post(&world.cards("data"), &user, json!({"title": "stays"})).await;
    let path = format!("{}/{}", world.cards("data"), made.body["id"].as_str().unwrap());
    let http = http_client().unwrap();
    for header in ["x-http-method-override", "x-method-override", "x-http-method"] {
        let request = http.get(world.url(&path)).bearer_auth(&user).header(header, "DELETE");
        assert_eq!(answer(request).await.status, 200);
        let request =
            http.post(world.url(&path)).bearer_auth(&user).header(header, "DELETE").json(&json!({}));
        answer(request).await.refused(405, "method_not_allowed");
    }
    assert_eq!(world.get(&path, &user).await.status, 200, "it is there still");
    for odd in [
        path.replace("/api/v1/data", "/API/V1/DATA"),
        path.replace("/data/", "//data/"),
        format!("{path}/"),
        format!("{path}%00"),
        path.replace("/cards/", "%2Fcards%2F"),
        format!("{};admin=true", path),
    ] {
        let answer = world.get(&odd, &user).await;
        assert!([400, 404].contains(&answer.status), "{odd}: {answer:?}");
    }
    for hidden in [
        "/metrics",
        "/debug",
        "/debug/pprof",
        "/actuator",
        "/.env",
        "/admin",
        "/api/v1",
        "/api/v2/data",
        "/server-status",
    ] {
        world.get(hidden, &user).await.refused(404, "not_found");
    }
    world.send(Method::OPTIONS, &path, &user, None).await.refused(405, "method_not_allowed");
}

#[tokio::test]
async fn what_goes_wrong_says_nothing_of_how_it_is_made() {
    let world = World::new().await;
    let user = world.user("ann", &["admin"]).await;
    let cards = world.cards("data");
    let mut answers = vec![
        world.post(&cards, &user, json!({"title": "x\u{0}y"})).await,
        world.post(&cards, &user, json!({"title": "x", "price": "99999999999999999999"})).await,
        world.post(&cards, &user, json!({"title": "x", "status": "'; DROP TABLE users; --"})).await,
        world.post(&cards, &user, json!([])).await,
        world.post(&cards, &user, json!("text")).await,
        world.get(&format!("{cards}/'%20OR%20'1'='1"), &user).await,
        world.get(&format!("{cards}?price=gt.1e400"), &user).await,
        world.get(&format!("{cards}?title=eq.x&order=title;drop"), &user).await,
        world.get(&format!("{cards}?after=AAAA"), &user).await,
    ];
    answers.push(world.get("/api/v1/data/core/users/1", &user).await);
    let schema = format!("tenant_{}", world.tenant.replace('-', "_"));
    for answer in answers {
        assert!((400..500).contains(&answer.status), "{answer:?}");
        let text = answer.body.to_string();
        for word in
            [schema.as_str(), "SELECT", "relation", "SQLSTATE", "panicked", "postgres", ".rs:", "stack"]
        {
            assert!(!text.contains(word), "{word}: {text}");
        }
    }
}
