//! Behind a proxy, everything goes by the same address of the client.

use reqwest::Method;
use serde_json::json;
use tenantry_e2e::world::{answer, unique};

use super::place::{PASSWORD, Place};
use super::replica::Replica;

const BEHIND_A_PROXY: &[(&str, &str)] = &[("HTTP__TRUSTED_PROXIES", r#"["127.0.0.0/8"]"#)];

#[tokio::test]
async fn keys_and_the_audit_journal_see_the_client_and_not_the_proxy() {
    let place = Place::new(json!({})).await;
    let replica = Replica::start(&place, BEHIND_A_PROXY).await;
    let body = json!({
        "name": "office", "roles": [place.role("reader"), place.role("writer")], "addresses": ["192.0.2.0/24", "2001:db8::7"]
    });
    let made = place.world.post("/api/v1/auth/keys", &place.admin, body).await;
    let key = made.body["key"].as_str().unwrap();
    let from = async |forwarded: &str| {
        let request = replica.request(Method::GET, &place.cards()).bearer_auth(key);
        answer(request.header("x-forwarded-for", forwarded)).await
    };
    for inside in ["192.0.2.7", "198.51.100.1, 192.0.2.7", "192.0.2.7, 127.0.0.9", "2001:db8::7"] {
        assert_eq!(from(inside).await.status, 200, "{inside}");
    }
    for outside in ["198.51.100.1", "192.0.2.7, 198.51.100.1", "2001:db8::8", "192.0.2.7, nonsense"] {
        from(outside).await.refused(403, "forbidden");
    }
    let title = unique("card ");
    let create =
        replica.request(Method::POST, &place.cards()).bearer_auth(key).json(&json!({"title": title}));
    let made = answer(create.header("x-forwarded-for", "198.51.100.1, 192.0.2.7")).await;
    assert_eq!(made.status, 201, "{made:?}");
    let path = format!("/api/v1/audit?doc_id={}", made.body["id"].as_str().unwrap());
    let rows = place.world.get(&path, &place.admin).await;
    assert_eq!(rows.body["items"][0]["client"], "192.0.2.7", "{rows:?}");
}

#[tokio::test]
async fn who_guesses_is_locked_out_and_others_behind_the_same_proxy_are_not() {
    let place = Place::new(json!({})).await;
    let replica = Replica::start(&place, BEHIND_A_PROXY).await;
    for (guesser, other) in [
        // What a client writes itself makes it nobody else.
        ((|n| format!("198.51.100.{n}, 192.0.2.7")) as fn(usize) -> String, "192.0.2.8"),
        // Of IPv6 a client has a whole network.
        (|n| format!("2001:db8:0:7::{n}"), "2001:db8:0:8::1"),
    ] {
        let person = place.person(&[]).await;
        for n in 0..10 {
            let wrong = replica.try_sign_in_from(&place, &person.email, "wrong", Some(&guesser(n))).await;
            wrong.refused(401, "invalid_credentials");
        }
        let right = replica.try_sign_in_from(&place, &person.email, PASSWORD, Some(&guesser(10))).await;
        right.refused(429, "too_many_attempts");
        let right = replica.try_sign_in_from(&place, &person.email, PASSWORD, Some(other)).await;
        assert_eq!(right.status, 200, "{right:?}");
    }
}
