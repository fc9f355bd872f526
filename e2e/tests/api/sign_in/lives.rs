//! What of accounts outlives the Tenant object that they were made under: second factors, recovery codes and API keys do; sessions do not.

use reqwest::Method;
use serde_json::{Value, json};
use tenantry_e2e::Platform;
use tenantry_e2e::program::ProgramOptions;
use tenantry_e2e::world::{LIMIT, World, answer};
use tenantry_rig::endpoints::http_client;
use tenantry_rig::{Stack, eventually};

use super::factors::{code, enrolled, sign_in_with};
use super::place::{PASSWORD, Person, Place, Tokens};

/// What somebody has who signed in before.
struct Held {
    person: Person,
    secret: String,
    recovery: String,
    refresh: String,
    key: String,
}

async fn held(place: &Place) -> Held {
    let person = place.person(&["reader"]).await;
    let (secret, recovery, tokens) = enrolled(place, &place.sign_in(&person).await.access).await;
    let key = json!({"name": "robot", "roles": [place.role("reader")]});
    let key = place.world.post("/api/v1/auth/keys", &place.admin, key).await;
    let key = key.body["key"].as_str().unwrap().to_owned();
    assert_eq!(place.cards_status(&key).await, 200);
    Held { person, secret, recovery: recovery[0].clone(), refresh: tokens.refresh, key }
}

/// The tenant again, with these members of its spec, once it is served.
async fn again(place: &Place, members: Value) {
    place.apply(members).await;
    place.world.until_ready(&place.world.tenant).await;
    eventually("the tenant is served", LIMIT, || async {
        let settings = place.world.request(Method::GET, "/auth/v1/settings");
        match answer(settings.header("x-tenant", &place.world.tenant)).await.status {
            200 => Ok(()),
            status => Err(format!("{status}")),
        }
    })
    .await
    .unwrap();
}

async fn is_as_it_was(place: &Place, held: &Held) {
    let email = &held.person.email;
    sign_in_with(place, email, None).await.refused(401, "second_factor_required");
    sign_in_with(place, email, Some("000000")).await.refused(401, "invalid_second_factor");
    Tokens::of(&sign_in_with(place, email, Some(&code(&held.secret, 0))).await);
    let tokens = Tokens::of(&sign_in_with(place, email, Some(&held.recovery)).await);
    sign_in_with(place, email, Some(&held.recovery)).await.refused(401, "invalid_second_factor");

    // The key opens what it opened, whether the request names the tenant or not.
    assert_eq!(place.cards_status(&held.key).await, 200);
    let named = http_client().unwrap().get(place.world.url(&place.cards())).header("apikey", &held.key);
    assert_eq!(answer(named.header("x-tenant", &place.world.tenant)).await.status, 200);

    // Sessions name the Tenant that is gone, and none is told to be there.
    place.try_refresh(&held.refresh).await.refused(401, "session_revoked");
    let sessions = place.world.get("/api/v1/auth/sessions", &tokens.access).await;
    assert_eq!(sessions.body["items"].as_array().unwrap().len(), 2, "{sessions:?}");
}

#[tokio::test]
async fn factors_and_keys_survive_that_another_tenant_takes_the_data_over() {
    let place = Place::new(json!({})).await;
    place.apply(json!({"deletionPolicy": "Retain"})).await;
    let held = held(&place).await;
    for _ in 0..2 {
        place.world.delete_tenant(&place.world.tenant).await;
        again(&place, json!({"deletionPolicy": "Retain", "adoptRetained": true})).await;
    }
    is_as_it_was(&place, &held).await;
    again(&place, json!({"adoptRetained": true})).await;
}

#[tokio::test]
async fn factors_and_keys_survive_a_snapshot_and_a_restore() {
    let folder = std::env::temp_dir().join(format!("tenantry-lives-{}", uuid::Uuid::new_v4()));
    let stack = Stack::private("its operator has a folder for snapshots").await.unwrap();
    let url = format!("file://{}", folder.display());
    let settings = vec![("TENANTRY__SNAPSHOTS__URL".to_owned(), url)];
    let options = ProgramOptions { settings, ..ProgramOptions::default() };
    let platform = Platform::start_with(stack, &options).await.unwrap();
    // Leaked on purpose: the world borrows it, and the sandbox ends the servers with this process.
    let world = World::builder().on(Box::leak(Box::new(platform))).build().await;
    let place = Place::of(world, json!({})).await;
    place.apply(json!({"deletionPolicy": "Snapshot"})).await;
    let held = held(&place).await;
    // One that nobody confirmed is none.
    let other = place.person(&["reader"]).await;
    let tokens = place.sign_in(&other).await;
    assert_eq!(
        place
            .world
            .post("/api/v1/auth/totp", &tokens.access, json!({"current_password": PASSWORD}))
            .await
            .status,
        201
    );
    let snapshot = format!("{}/{}", place.world.tenant, place.uid().await);

    place.world.delete_tenant(&place.world.tenant).await;
    let file = std::fs::read_to_string(folder.join(&snapshot).join("factors.ndjson")).unwrap();
    assert_eq!(file.lines().count(), 1);
    assert!(!file.contains(&held.secret) && !file.contains(&held.recovery), "nothing in it opens anything");
    again(&place, json!({"restoreFrom": {"snapshot": snapshot}})).await;
    is_as_it_was(&place, &held).await;
    place.sign_in(&other).await;
    std::fs::remove_dir_all(folder).unwrap();
}
