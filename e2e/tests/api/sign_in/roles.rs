use reqwest::Method;
use serde_json::{Value, json};
use tenantry_e2e::world::{LIMIT, answer};
use tenantry_rig::endpoints::http_client;
use tenantry_rig::eventually;

use super::place::{Place, Tokens};

async fn change(place: &Place, id: &str, body: Value) {
    let path = format!("/api/v1/data/core/users/{id}");
    let changed = place.world.send(Method::PATCH, &path, &place.admin, Some(body)).await;
    assert_eq!(changed.status, 200, "{changed:?}");
}

async fn until(place: &Place, token: &str, status: u16) {
    eventually("what the token opens has changed", LIMIT, || async {
        match place.cards_status(token).await {
            now if now == status => Ok(()),
            other => Err(format!("{other}")),
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_change_of_roles_acts_on_tokens_that_are_out() {
    let place = Place::new(json!({})).await;
    let person = place.person(&[]).await;
    let tokens = place.sign_in(&person).await;
    let card = json!({"title": "one"});
    let cards = place.cards();
    let create = || place.world.post(&cards, &tokens.access, card.clone());
    create().await.refused(403, "forbidden");
    // With the next request, where the change was made through the same process.
    change(&place, &person.id, json!({"roles": [place.role("writer")]})).await;
    assert_eq!(create().await.status, 201);
    change(&place, &person.id, json!({"roles": []})).await;
    create().await.refused(403, "forbidden");
    let claims = json!({"roles": [place.role("writer")], "claims": {"team": "blue"}});
    change(&place, &person.id, claims).await;
    assert_eq!(create().await.status, 201);
    // Whatever route the change came by.
    let batch = json!({"operations": [
        {"op": "update", "type": "core/users", "id": person.id, "body": {"roles": []}}]});
    assert_eq!(place.world.post("/api/v1/batch", &place.admin, batch).await.status, 200);
    create().await.refused(403, "forbidden");
    let rest = http_client().unwrap().patch(place.world.url(&format!("/rest/v1/users?id=eq.{}", person.id)));
    let rest = rest.bearer_auth(&place.admin).header("content-profile", "core");
    let changed = answer(rest.json(&json!({"roles": [place.role("writer")]}))).await;
    assert_eq!(changed.status, 204, "{changed:?}");
    assert_eq!(create().await.status, 201);
    // A token of after the change says so itself.
    let fresh = Tokens::of(&place.try_refresh(&tokens.refresh).await);
    assert_eq!(place.world.post(&place.cards(), &fresh.access, card.clone()).await.status, 201);
}

#[tokio::test]
async fn a_user_who_is_disabled_or_deleted_is_out() {
    let place = Place::new(json!({})).await;
    let person = place.person(&["reader"]).await;
    let tokens = place.sign_in(&person).await;
    assert_eq!(place.cards_status(&tokens.access).await, 200);
    change(&place, &person.id, json!({"enabled": false})).await;
    until(&place, &tokens.access, 401).await;
    place.try_refresh(&tokens.refresh).await.refused(401, "session_revoked");
    let wrong = place.try_sign_in(&person.email, super::place::PASSWORD).await;
    wrong.refused(401, "invalid_credentials");
    change(&place, &person.id, json!({"enabled": true})).await;
    let tokens = place.sign_in(&person).await;
    until(&place, &tokens.access, 200).await;
    let path = format!("/api/v1/data/core/users/{}", person.id);
    assert_eq!(place.world.send(Method::DELETE, &path, &place.admin, None).await.status, 204);
    until(&place, &tokens.access, 401).await;
    place.try_refresh(&tokens.refresh).await.refused(401, "session_revoked");
}

#[tokio::test]
async fn a_user_made_again_with_its_id_signs_in_and_what_was_out_before_stays_out() {
    let place = Place::new(json!({})).await;
    let person = place.person(&["reader"]).await;
    // Several versions, so that the new user begins below the old one.
    for name in ["one", "two", "three"] {
        change(&place, &person.id, json!({"display_name": name})).await;
    }
    let before = place.sign_in(&person).await;
    assert_eq!(place.cards_status(&before.access).await, 200);
    let path = format!("/api/v1/data/core/users/{}", person.id);
    assert_eq!(place.world.send(Method::DELETE, &path, &place.admin, None).await.status, 204);
    until(&place, &before.access, 401).await;
    let again = json!({
        "id": person.id, "email": person.email, "roles": [place.role("reader")], "password_hash": super::place::BCRYPT
    });
    let made = http_client().unwrap().post(place.world.url("/api/v1/data/core/users?on_conflict=id"));
    let made = made.bearer_auth(&place.admin).header("prefer", "resolution=merge-duplicates");
    let made = answer(made.json(&again)).await;
    assert_eq!((made.status, &made.body["version"]), (201, &json!(1)), "{made:?}");
    let after = place.sign_in(&person).await;
    until(&place, &after.access, 200).await;
    place.world.get(&place.cards(), &before.access).await.refused(401, "unauthenticated");
    place.try_refresh(&before.refresh).await.refused(401, "session_revoked");
    // What becomes of the new one is heard of, too.
    change(&place, &person.id, json!({"enabled": false})).await;
    until(&place, &after.access, 401).await;
}

#[tokio::test]
async fn administrators_end_the_sessions_of_others() {
    let place = Place::new(json!({})).await;
    let person = place.person(&["reader"]).await;
    let tokens = place.sign_in(&person).await;
    let path = format!("/api/v1/auth/users/{}/sessions", person.id);
    place.world.send(Method::DELETE, &path, &tokens.access, None).await.refused(403, "forbidden");
    assert_eq!(place.world.send(Method::DELETE, &path, &place.admin, None).await.status, 204);
    until(&place, &tokens.access, 401).await;
    place.try_refresh(&tokens.refresh).await.refused(401, "session_revoked");
    Tokens::of(&place.try_sign_in(&person.email, super::place::PASSWORD).await);
}
