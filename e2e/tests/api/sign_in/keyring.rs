//! Secrets of authenticators are sealed under a keyring, whose keys come and go.

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::Method;
use serde_json::{Value, json};
use tenantry_e2e::cluster::Cluster;
use tenantry_e2e::world::{Answer, answer};
use tenantry_rig::process::Sandbox;

use super::factors::code;
use super::place::{PASSWORD, Person, Place, Tokens};
use super::replica::Replica;

/// A folder of keys, as a mounted Secret is one.
struct Keys(Sandbox);

impl Keys {
    fn new(names: &[&str]) -> Self {
        let keys = Self(Sandbox::create("keyring", None).unwrap());
        std::fs::create_dir(keys.folder()).unwrap();
        for name in names {
            let seed = name.as_bytes()[0];
            let key: [u8; 32] = std::array::from_fn(|n| seed.wrapping_add(u8::try_from(n).unwrap()));
            std::fs::write(keys.folder().join(name), STANDARD.encode(key)).unwrap();
        }
        keys
    }

    /// The sandbox has a folder for logs as well.
    fn folder(&self) -> std::path::PathBuf {
        self.0.folder().join("keys")
    }

    async fn replica(&self, place: &Place, primary: &str) -> Replica {
        let folder = self.folder().display().to_string();
        Replica::start(place, &[("KEYRING__FOLDER", folder.as_str()), ("KEYRING__PRIMARY", primary)]).await
    }
}

async fn sign_in(replica: &Replica, place: &Place, person: &Person, totp: Option<&str>) -> Answer {
    let mut body = json!({"grant_type": "password", "email": person.email, "password": PASSWORD});
    if let Some(totp) = totp {
        body["totp"] = json!(totp);
    }
    let request = replica.request(Method::POST, "/api/v1/auth/token").json(&body);
    answer(request.header("x-tenant", &place.world.tenant)).await
}

async fn stored(place: &Place, person: &Person) -> Vec<String> {
    let cluster = Cluster::of(place.world.platform.endpoints()).await;
    cluster.texts(&format!("SELECT sealed FROM tenantry.auth_factor WHERE id = '{}'", person.id)).await
}

#[tokio::test]
async fn an_authenticator_goes_on_under_a_new_key_and_is_refused_without_its_own() {
    let place = Place::new(json!({})).await;
    let person = place.person(&["reader"]).await;
    let (old, both, new) = (Keys::new(&["old"]), Keys::new(&["new", "old"]), Keys::new(&["new"]));
    let first = old.replica(&place, "old").await;
    let tokens = first.sign_in(&place, &person).await;
    let post = async |path: &str, body: Value| {
        answer(first.request(Method::POST, path).bearer_auth(&tokens.access).json(&body)).await
    };
    let enrolled = post("/api/v1/auth/totp", json!({"current_password": PASSWORD})).await;
    let secret = enrolled.body["secret"].as_str().unwrap().to_owned();
    Tokens::of(&post("/api/v1/auth/totp/confirm", json!({"totp": code(&secret, -1)})).await);
    let sealed = stored(&place, &person).await;
    assert!(sealed[0].starts_with("tnc1:old:") && !sealed[0].contains(&secret), "{sealed:?}");

    // A ring that does not hold the key: no code is right, none is wrong, and the password alone is not enough.
    let without = new.replica(&place, "new").await;
    sign_in(&without, &place, &person, None).await.refused(401, "second_factor_required");
    let refused = sign_in(&without, &place, &person, Some(&code(&secret, 0))).await;
    refused.refused(503, "unavailable");
    assert!(refused.body["detail"].as_str().unwrap().contains("key old"), "{refused:?}");
    assert_eq!(stored(&place, &person).await, sealed);

    // One that holds both opens it, and seals it under the new key when it is used.
    let second = both.replica(&place, "new").await;
    Tokens::of(&sign_in(&second, &place, &person, Some(&code(&secret, 0))).await);
    assert!(stored(&place, &person).await[0].starts_with("tnc1:new:"));
    Tokens::of(&sign_in(&without, &place, &person, Some(&code(&secret, 1))).await);
}
