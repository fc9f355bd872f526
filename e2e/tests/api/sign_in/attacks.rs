//! Tokens that somebody made: every one of them has to be refused.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tenantry_e2e::world::answer;
use tenantry_rig::endpoints::http_client;

use super::place::{Place, Tokens};

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn hmac(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    let mac = Hmac::<Sha256>::new_from_slice(secret).unwrap().chain_update(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

fn decoded(token: &str, n: usize) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(n).unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn keys_are_published_and_name_the_one_that_signed() {
    let place = Place::new(json!({})).await;
    let person = place.person(&[]).await;
    let tokens = place.sign_in(&person).await;
    let header = decoded(&tokens.access, 0);
    assert_eq!((&header["alg"], &header["typ"]), (&json!("ES256"), &json!("at+jwt")));
    for path in ["/.well-known/jwks.json", "/auth/v1/.well-known/jwks.json"] {
        let keys = answer(http_client().unwrap().get(place.world.url(path))).await;
        assert_eq!(keys.status, 200);
        assert_eq!(keys.headers["cache-control"], "public, max-age=300");
        let keys = keys.body["keys"].as_array().unwrap().clone();
        let key = keys.iter().find(|key| key["kid"] == header["kid"]).unwrap();
        assert_eq!((&key["kty"], &key["crv"], &key["use"]), (&json!("EC"), &json!("P-256"), &json!("sig")));
        assert!(key.get("d").is_none() && keys.iter().all(|key| key["kty"] != "oct"), "{keys:?}");
    }
}

#[tokio::test]
async fn no_token_that_somebody_made_is_accepted() {
    let place = Place::new(json!({})).await;
    let person = place.person(&["reader"]).await;
    let good = place.sign_in(&person).await.access;
    assert_eq!(place.cards_status(&good).await, 200);
    let (header, claims) = (decoded(&good, 0), decoded(&good, 1));
    let signature = good.rsplit_once('.').unwrap().1.to_owned();
    let jwks = answer(http_client().unwrap().get(place.world.url("/.well-known/jwks.json"))).await;
    let public = jwks.body["keys"][0]["x"].as_str().unwrap().to_owned();
    let with = |name: &str, value: Value| {
        let mut header = header.clone();
        header[name] = value;
        header
    };
    let mut admin = claims.clone();
    admin["roles"] = json!(["admin"]);
    let hs = json!({"alg": "HS256", "typ": "at+jwt", "kid": header["kid"]});
    let mut tokens = vec![
        ("tampered claims", format!("{}.{}.{signature}", part(&header), part(&admin))),
        ("no signature", format!("{}.{}.", part(&header), part(&claims))),
        ("public key as secret", hmac(&hs, &admin, public.as_bytes())),
        ("public key bytes as secret", hmac(&hs, &admin, &URL_SAFE_NO_PAD.decode(&public).unwrap())),
        ("published keys as secret", hmac(&hs, &admin, jwks.body.to_string().as_bytes())),
        ("empty secret", hmac(&hs, &admin, b"")),
        ("a common secret", hmac(&hs, &admin, b"secret")),
        ("another audience", hmac(&hs, &json!({"aud": "x"}), b"secret")),
        ("nested", hmac(&json!({"alg": "HS256", "typ": "at+jwt", "cty": "JWT"}), &json!(good), b"secret")),
        ("all zero", format!("{}.{}.{}", part(&header), part(&claims), "A".repeat(86))),
        ("five parts", format!("{good}.a.b")),
        ("white space", format!("{} {}", &good[..20], &good[20..])),
        ("padding", format!("{good}==")),
    ];
    for alg in ["none", "None", "NONE", "nOnE", "HS256", "HS512", "RS256", "EdDSA", "PS256", "", "ES256 "] {
        tokens.push((
            "another alg",
            format!("{}.{}.{signature}", part(&with("alg", json!(alg))), part(&claims)),
        ));
        tokens.push(("another alg", format!("{}.{}.", part(&with("alg", json!(alg))), part(&claims))));
    }
    for kid in ["../../etc/passwd", "' OR 1=1 --", "; ls", "\0", "http://127.0.0.1/keys", &"k".repeat(6000)] {
        tokens.push(("kid", format!("{}.{}.{signature}", part(&with("kid", json!(kid))), part(&claims))));
    }
    let own = json!({"kty": "EC", "crv": "P-256", "x": public, "y": jwks.body["keys"][0]["y"]});
    for (name, value) in [
        ("jku", json!("http://127.0.0.1:1/keys")),
        ("x5u", json!("http://127.0.0.1:1/keys")),
        ("jwk", own),
        ("x5c", json!(["MIIB"])),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("typ", json!("JWT")),
        ("typ", json!("webhook+jwt")),
        ("typ", Value::Null),
        ("p2c", json!(2_000_000_000_u32)),
    ] {
        tokens.push(("header", format!("{}.{}.{signature}", part(&with(name, value)), part(&claims))));
    }
    for (what, token) in tokens {
        let refused = place.world.get(&place.cards(), &token).await;
        assert_eq!(refused.status, 401, "{what}: {refused:?}");
    }
}

#[tokio::test]
async fn one_kind_of_token_is_not_another() {
    let place = Place::new(json!({"audiences": ["chat"]})).await;
    let person = place.person(&["reader"]).await;
    let tokens = place.sign_in(&person).await;
    place.world.get(&place.cards(), &tokens.refresh).await.refused(401, "unauthenticated");
    place.try_refresh(&tokens.access).await.refused(401, "session_revoked");
    for wrong in ["", "tnr_", "x", &tokens.refresh[..30], &format!("{}A", tokens.refresh)] {
        place.try_refresh(wrong).await.refused(401, "session_revoked");
    }
    let exchange = |audience: &str, seconds: u64| {
        place.call(
            "/api/v1/auth/token",
            json!({
                "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": tokens.access,
                "audience": audience, "expires_in": seconds
            }),
        )
    };
    exchange("elsewhere", 60).await.refused(403, "forbidden");
    let chat = exchange("chat", 100_000).await;
    assert_eq!((chat.status, &chat.body["expires_in"]), (200, &json!(300)));
    let chat = chat.body["access_token"].as_str().unwrap().to_owned();
    let claims = decoded(&chat, 1);
    assert_eq!((&claims["aud"], &claims["sub"]), (&json!("chat"), &json!(person.id)));
    place.world.get(&place.cards(), &chat).await.refused(401, "unauthenticated");
    let again = json!({
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": chat, "audience": "chat"
    });
    place.call("/api/v1/auth/token", again).await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn nothing_of_one_tenant_opens_another() {
    let place = Place::new(json!({})).await;
    let person = place.person(&["admin"]).await;
    let tokens = place.sign_in(&person).await;
    let other = place.neighbour().await;
    let http = http_client().unwrap();
    let there = |body: Value| {
        let request = http.post(place.world.url("/api/v1/auth/token")).header("x-tenant", &other).json(&body);
        async move { answer(request).await }
    };
    let refresh = json!({"grant_type": "refresh_token", "refresh_token": tokens.refresh});
    there(refresh).await.refused(401, "session_revoked");
    let password =
        json!({"grant_type": "password", "email": person.email, "password": super::place::PASSWORD});
    there(password).await.refused(401, "invalid_credentials");
    let me =
        http.get(place.world.url("/api/v1/auth/user")).bearer_auth(&tokens.access).header("x-tenant", &other);
    answer(me).await.refused(403, "tenant_mismatch");
    let nowhere = http.post(place.world.url("/api/v1/auth/token")).json(&json!({"grant_type": "password"}));
    answer(nowhere).await.refused(404, "not_found");
    Tokens::of(&place.try_refresh(&tokens.refresh).await);
}

#[tokio::test]
async fn a_gateway_learns_who_calls_and_what_the_caller_claims_is_not_believed() {
    let place = Place::new(json!({})).await;
    let person = place.person(&["reader"]).await;
    let tokens = place.sign_in(&person).await;
    let http = http_client().unwrap();
    let ask = || {
        http.get(place.world.url("/api/v1/auth/forward"))
            .header("x-user-id", "root")
            .header("x-roles", "admin")
    };
    answer(ask()).await.refused(401, "unauthenticated");
    let passed = answer(ask().bearer_auth(&tokens.access)).await;
    assert_eq!(passed.status, 200);
    assert_eq!(passed.headers["x-user-id"], person.id.as_str());
    assert_eq!(passed.headers["x-tenant"], place.world.tenant.as_str());
    assert_eq!(passed.headers["x-roles"], place.role("reader").as_str());
    let other = place.neighbour().await;
    let elsewhere =
        ask().bearer_auth(&tokens.access).header("x-forwarded-host", format!("{other}.example.com"));
    answer(elsewhere).await.refused(403, "tenant_mismatch");
}
