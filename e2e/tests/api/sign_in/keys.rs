use reqwest::Method;
use serde_json::{Value, json};
use tenantry_e2e::world::{Answer, LIMIT, answer};
use tenantry_rig::endpoints::http_client;
use tenantry_rig::eventually;

use super::place::Place;

const KEYS: &str = "/api/v1/auth/keys";

async fn make(place: &Place, token: &str, body: Value) -> (String, String) {
    let made = place.world.post(KEYS, token, body).await;
    assert_eq!(made.status, 201, "{made:?}");
    (made.body["key"].as_str().unwrap().to_owned(), made.body["id"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_key_opens_what_its_roles_open_until_it_is_taken_away() {
    let place = Place::new(json!({})).await;
    let (key, id) =
        make(&place, &place.admin, json!({"name": "robot", "roles": [place.role("reader")]})).await;
    assert!(key.starts_with("tnk_"));
    assert_eq!(place.cards_status(&key).await, 200);
    place.world.post(&place.cards(), &key, json!({"title": "x"})).await.refused(403, "forbidden");
    let by_header = http_client().unwrap().get(place.world.url(&place.cards())).header("apikey", &key);
    assert_eq!(answer(by_header).await.status, 200);
    let listed = place.world.get(KEYS, &place.admin).await;
    let item = &listed.body["items"][0];
    assert!(item["last_used_at"].is_string() && !listed.body.to_string().contains(&key[20..]), "{listed:?}");
    // A key makes no keys.
    place.world.post(KEYS, &key, json!({"name": "more", "roles": []})).await.refused(403, "forbidden");
    let path = format!("{KEYS}/{id}");
    assert_eq!(place.world.send(Method::DELETE, &path, &place.admin, None).await.status, 204);
    eventually("the key is gone", LIMIT, || async {
        match place.cards_status(&key).await {
            401 => Ok(()),
            other => Err(format!("{other}")),
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_users_key_never_opens_more_than_its_user() {
    let place = Place::new(json!({})).await;
    let person = place.person(&["reader"]).await;
    let tokens = place.sign_in(&person).await;
    for roles in [json!(["admin"]), json!([place.role("writer")]), json!(["reader"])] {
        let refused = place.world.post(KEYS, &tokens.access, json!({"name": "more", "roles": roles})).await;
        assert!(matches!(refused.status, 403 | 422), "{refused:?}");
    }
    let (key, _) = make(&place, &tokens.access, json!({"name": "mine"})).await;
    assert_eq!(place.cards_status(&key).await, 200);
    let path = format!("/api/v1/data/core/users/{}", person.id);
    place.world.send(Method::PATCH, &path, &place.admin, Some(json!({"enabled": false}))).await;
    eventually("the key has gone with its user", LIMIT, || async {
        match place.cards_status(&key).await {
            401 => Ok(()),
            other => Err(format!("{other}")),
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn keys_end_and_have_addresses_and_may_only_read() {
    let place = Place::new(json!({})).await;
    let role = |name: &str| place.role(name);
    let (elsewhere, _) = make(
        &place,
        &place.admin,
        json!({"name": "elsewhere", "roles": [role("reader")], "addresses": ["192.0.2.0/24"]}),
    )
    .await;
    place.world.get(&place.cards(), &elsewhere).await.refused(403, "forbidden");
    let spoofed = http_client().unwrap().get(place.world.url(&place.cards())).bearer_auth(&elsewhere);
    let spoofed = spoofed.header("x-forwarded-for", "192.0.2.1").header("forwarded", "for=192.0.2.1");
    answer(spoofed).await.refused(403, "forbidden");
    let (reads, _) =
        make(&place, &place.admin, json!({"name": "reads", "roles": ["admin"], "read_only": true})).await;
    assert_eq!(place.cards_status(&reads).await, 200);
    place.world.post(&place.cards(), &reads, json!({"title": "x"})).await.refused(403, "forbidden");
    let soon = place.world.post(
        KEYS,
        &place.admin,
        json!({"name": "past", "roles": [], "expires_at": "2020-01-01T00:00:00Z"}),
    );
    soon.await.refused(422, "validation_failed");
    let (brief, id) = make(
        &place,
        &place.admin,
        json!({"name": "brief", "roles": [role("reader")], "expires_at": "2999-01-01T00:00:00Z"}),
    )
    .await;
    assert_eq!(place.cards_status(&brief).await, 200);
    let path = format!("/api/v1/data/core/api_keys/{id}");
    let past = json!({"expires_at": "2020-01-01T00:00:00Z"});
    assert_eq!(place.world.send(Method::PATCH, &path, &place.admin, Some(past)).await.status, 200);
    eventually("the key has expired", LIMIT, || async {
        match place.cards_status(&brief).await {
            401 => Ok(()),
            other => Err(format!("{other}")),
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_key_of_another_tenant_and_a_made_up_one_open_nothing() {
    let place = Place::new(json!({})).await;
    let (key, _) =
        make(&place, &place.admin, json!({"name": "robot", "roles": [place.role("reader")]})).await;
    let other = place.neighbour().await;
    let there = http_client().unwrap().get(place.world.url(&place.cards())).bearer_auth(&key);
    answer(there.header("x-tenant", &other)).await.refused(403, "tenant_mismatch");
    let mut forged = key.clone().into_bytes();
    let last = forged.len() - 12;
    forged[last] = if forged[last] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    for wrong in [forged.as_str(), "tnk_", "tnk_x_y", &key[..50]] {
        place.world.get(&place.cards(), wrong).await.refused(401, "unauthenticated");
    }
    // A token of one tenant beside the key of another.
    let token = place.world.token_of(&other, "alice", &["admin"]).await;
    let both = http_client().unwrap().get(place.world.url(&place.cards())).bearer_auth(token);
    let both: Answer = answer(both.header("apikey", &key)).await;
    both.refused(403, "tenant_mismatch");
}

#[tokio::test]
async fn anon_is_nobody_in_particular() {
    let place = Place::new(json!({})).await;
    let (anon, _) = make(&place, &place.admin, json!({"name": "web", "roles": ["anon"]})).await;
    // The app gives `anon` nothing, and what every user has is not had by nobody.
    place.world.get(&place.cards(), &anon).await.refused(403, "forbidden");
    place.world.get("/api/v1/auth/sessions", &anon).await.refused(403, "forbidden");
    let mixed = json!({"name": "web", "roles": ["anon", "admin"]});
    place.world.post(KEYS, &place.admin, mixed).await.refused(422, "validation_failed");
}

#[tokio::test]
async fn a_key_is_not_exchanged_used_or_unused_limited_or_deleted() {
    let place = Place::new(json!({"audiences": ["chat"]})).await;
    let exchange = |key: &str| {
        let body = json!({
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": key, "audience": "chat"
        });
        place.call("/api/v1/auth/token", body)
    };
    let roles = json!([place.role("reader")]);
    let (key, id) =
        make(&place, &place.admin, json!({"name": "robot", "roles": roles, "read_only": true})).await;
    exchange(&key).await.refused(401, "unauthenticated");
    assert_eq!(place.cards_status(&key).await, 200);
    exchange(&key).await.refused(401, "unauthenticated");
    let path = format!("{KEYS}/{id}");
    assert_eq!(place.world.send(Method::DELETE, &path, &place.admin, None).await.status, 204);
    exchange(&key).await.refused(401, "unauthenticated");
}
