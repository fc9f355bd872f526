//! Signing keys come and go; several replicas are as one.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use p256::SecretKey;
use p256::pkcs8::{EncodePrivateKey, LineEnding};
use reqwest::Method;
use serde_json::{Value, json};
use tenantry_e2e::world::{LIMIT, answer};
use tenantry_rig::eventually;
use tenantry_rig::process::Sandbox;

use super::place::{Place, Tokens};
use super::replica::Replica;

/// A folder of signing keys, as a mounted Secret is one.
struct Keys(Sandbox);

impl Keys {
    fn new() -> Self {
        Self(Sandbox::create("keys", None).unwrap())
    }

    fn folder(&self) -> &str {
        self.0.folder().to_str().unwrap()
    }

    /// Renamed into place: nobody reads a half of it.
    fn put(&self, name: &str, text: &str) {
        let (scratch, file) = (self.0.folder().join("scratch"), self.0.folder().join(name));
        std::fs::write(&scratch, text).unwrap();
        std::fs::rename(scratch, file).unwrap();
    }

    fn add(&self, name: &str, seed: u8) {
        let key = SecretKey::from_slice(&[seed; 32]).unwrap();
        self.put(&format!("{name}.pem"), &key.to_pkcs8_pem(LineEnding::LF).unwrap());
    }

    /// A key of the kind that was made before.
    fn add_ed25519(&self, name: &str, seed: u8) {
        const HEAD: [u8; 16] =
            [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
        let der = STANDARD.encode([HEAD.as_slice(), &[seed; 32]].concat());
        self.put(
            &format!("{name}.pem"),
            &format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n"),
        );
    }

    fn sign_with(&self, name: &str) {
        self.put("active", name);
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.0.folder().join(format!("{name}.pem"))).unwrap();
    }
}

fn header(tokens: &Tokens) -> Value {
    let header = URL_SAFE_NO_PAD.decode(tokens.access.split('.').next().unwrap()).unwrap();
    serde_json::from_slice(&header).unwrap()
}

/// The key that signed.
fn kid(tokens: &Tokens) -> String {
    let header = header(tokens);
    assert_eq!(header["alg"], "ES256");
    header["kid"].as_str().unwrap().to_owned()
}

/// Waits until all replicas publish so many keys.
async fn until_published(replicas: &[Replica], count: usize) -> Vec<String> {
    eventually("the replicas publish the keys", LIMIT, || async {
        let mut published = Vec::new();
        for replica in replicas {
            published = replica.published().await;
            if published.len() != count {
                return Err(format!("{published:?}"));
            }
        }
        Ok(published)
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_new_key_is_published_first_and_the_old_one_s_tokens_are_good_until_it_goes() {
    let place = Place::new(json!({})).await;
    let person = place.person(&["reader"]).await;
    let keys = Keys::new();
    keys.add("old", 1);
    keys.sign_with("old");
    let settings = [("AUTH__KEYS_FOLDER", keys.folder())];
    let replicas = [Replica::start(&place, &settings).await, Replica::start(&place, &settings).await];
    let [first, second] = &replicas;
    let of_old = first.sign_in(&place, &person).await;
    assert_eq!(until_published(&replicas, 1).await, [kid(&of_old)]);

    // Published, and not yet what signs: whoever checks tokens elsewhere has time to read it.
    keys.add("new", 2);
    let published = until_published(&replicas, 2).await;
    let still = second.sign_in(&place, &person).await;
    assert_eq!(kid(&still), kid(&of_old));

    keys.sign_with("new");
    let of_new = eventually("the new key signs", LIMIT, || async {
        let tokens = first.sign_in(&place, &person).await;
        if kid(&tokens) == kid(&of_old) { Err("the old one does".to_owned()) } else { Ok(tokens) }
    })
    .await
    .unwrap();
    assert!(published.contains(&kid(&of_new)), "{published:?}");
    for replica in &replicas {
        for tokens in [&of_old, &still, &of_new] {
            assert_eq!(replica.cards_status(&place, &tokens.access).await, 200, "{}", kid(tokens));
        }
    }

    keys.remove("old");
    assert_eq!(until_published(&replicas, 1).await, [kid(&of_new)]);
    for replica in &replicas {
        assert_eq!(replica.cards_status(&place, &of_new.access).await, 200);
        for tokens in [&of_old, &still] {
            assert_eq!(replica.cards_status(&place, &tokens.access).await, 401);
        }
    }
    // A session outlives the key that its first token was signed with.
    let body = json!({"grant_type": "refresh_token", "refresh_token": of_old.refresh});
    let refresh = second.request(Method::POST, "/api/v1/auth/token").header("x-tenant", &place.world.tenant);
    let refreshed = Tokens::of(&answer(refresh.json(&body)).await);
    assert_eq!(kid(&refreshed), kid(&of_new));
    assert_eq!(first.cards_status(&place, &refreshed.access).await, 200);
}

#[tokio::test]
async fn tokens_of_an_ed25519_key_stay_good_when_a_p256_key_signs_the_new_ones() {
    let place = Place::new(json!({})).await;
    let person = place.person(&["reader"]).await;
    let keys = Keys::new();
    keys.add_ed25519("old", 5);
    keys.sign_with("old");
    let replicas = [Replica::start(&place, &[("AUTH__KEYS_FOLDER", keys.folder())]).await];
    let [replica] = &replicas;
    let of_old = replica.sign_in(&place, &person).await;
    assert_eq!(header(&of_old)["alg"], "EdDSA");
    keys.add("new", 6);
    until_published(&replicas, 2).await;
    keys.sign_with("new");
    let of_new = eventually("the new key signs", LIMIT, || async {
        let tokens = replica.sign_in(&place, &person).await;
        if header(&tokens)["alg"] == "ES256" { Ok(tokens) } else { Err("the old one does".to_owned()) }
    })
    .await
    .unwrap();
    let keys = answer(replica.request(Method::GET, "/.well-known/jwks.json")).await;
    let algorithms: Vec<_> = keys.body["keys"].as_array().unwrap().iter().map(|key| &key["alg"]).collect();
    assert!(algorithms.contains(&&json!("EdDSA")) && algorithms.contains(&&json!("ES256")), "{keys:?}");
    for tokens in [&of_old, &of_new] {
        assert_eq!(replica.cards_status(&place, &tokens.access).await, 200, "{}", header(tokens));
    }
}

#[tokio::test]
async fn a_key_that_cannot_be_used_changes_nothing() {
    let place = Place::new(json!({})).await;
    let person = place.person(&["reader"]).await;
    let keys = Keys::new();
    keys.add("only", 3);
    keys.sign_with("only");
    let replica = Replica::start(&place, &[("AUTH__KEYS_FOLDER", keys.folder())]).await;
    let before = replica.sign_in(&place, &person).await;
    keys.sign_with("nobody");
    keys.add("more", 4);
    eventually("the replica has looked and says what is wrong", LIMIT, || async {
        let log = replica.log();
        if log.contains("the new keys of tokens cannot be used") { Ok(()) } else { Err(log) }
    })
    .await
    .unwrap();
    let after = replica.sign_in(&place, &person).await;
    assert_eq!((kid(&after), replica.published().await), (kid(&before), vec![kid(&before)]));
    assert_eq!(replica.cards_status(&place, &before.access).await, 200);
}

#[tokio::test]
async fn what_happens_at_one_replica_holds_at_the_others() {
    let place = Place::new(json!({})).await;
    let person = place.person(&[]).await;
    let other = Replica::start(&place, &[]).await;
    let tokens = place.sign_in(&person).await;
    let create = || {
        let request = other.request(Method::POST, &place.cards()).bearer_auth(&tokens.access);
        answer(request.json(&json!({"title": "one"})))
    };
    create().await.refused(403, "forbidden");

    // A role that is given and taken away here acts there, on the token that is out.
    let path = format!("/api/v1/data/core/users/{}", person.id);
    for (roles, status) in [(json!([place.role("writer")]), 201), (json!([]), 403)] {
        let body = json!({"roles": roles});
        let changed = place.world.send(Method::PATCH, &path, &place.admin, Some(body)).await;
        assert_eq!(changed.status, 200, "{changed:?}");
        eventually("the roles have changed at the other replica", LIMIT, || async {
            match create().await.status {
                now if now == status => Ok(()),
                now => Err(format!("{now}")),
            }
        })
        .await
        .unwrap();
    }

    // So does a logout, for both of the session's tokens; other sessions go on.
    let there = other.sign_in(&place, &person).await;
    let out = place.world.post("/api/v1/auth/logout", &tokens.access, json!({})).await;
    assert_eq!(out.status, 204, "{out:?}");
    other.until(&place, &tokens.access, 401).await;
    let body = json!({"grant_type": "refresh_token", "refresh_token": tokens.refresh});
    let refresh = other.request(Method::POST, "/api/v1/auth/token").header("x-tenant", &place.world.tenant);
    answer(refresh.json(&body)).await.refused(401, "session_revoked");
    for status in [place.cards_status(&there.access).await, other.cards_status(&place, &there.access).await] {
        assert_eq!(status, 200);
    }
}
