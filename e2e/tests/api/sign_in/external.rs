//! Tokens of an issuer that the tenant trusts.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Json, Router, routing::get};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use p256::ecdsa::{Signature, SigningKey, signature::Signer};
use serde_json::{Value, json};
use tenantry_e2e::world::{Answer, LIMIT, answer};
use tenantry_rig::endpoints::http_client;
use tenantry_rig::eventually;

use super::place::Place;

/// An issuer of OpenID Connect with one key.
struct Issuer {
    url: String,
    key: SigningKey,
    fetched: Arc<AtomicUsize>,
}

impl Issuer {
    #[allow(clippy::disallowed_methods, reason = "only the test asks here")]
    async fn open() -> Self {
        let key = SigningKey::from_slice(&[7; 32]).unwrap();
        let point = key.verifying_key().to_encoded_point(false);
        let encode = |bytes: Option<&p256::FieldBytes>| URL_SAFE_NO_PAD.encode(bytes.unwrap());
        let jwks = json!({"keys": [
            {"kty": "oct", "kid": "secret", "k": "c2VjcmV0"},
            {"kty": "unheard-of", "kid": "new"},
            {"kty": "EC", "crv": "P-256", "kid": "one", "alg": "ES256", "use": "sig",
             "x": encode(point.x()), "y": encode(point.y())}]});
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let configuration = json!({"issuer": url, "jwks_uri": format!("{url}/keys")});
        let fetched = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&fetched);
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(move || async move { Json(configuration) }))
            .route(
                "/keys",
                get(move || async move {
                    counter.fetch_add(1, Ordering::SeqCst);
                    Json(jwks)
                }),
            );
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, key, fetched }
    }

    fn claims(&self) -> Value {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        json!({"iss": self.url, "aud": "crm", "sub": "ann", "groups": ["sales"], "iat": now, "exp": now + 600})
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature: Signature = self.key.sign(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }
}

/// The token with another signature.
fn tampered(token: &str) -> String {
    let (head, signature) = token.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    format!("{head}.{first}{}", &signature[1..])
}

async fn ask(place: &Place, token: &str) -> Answer {
    let request = http_client().unwrap().get(place.world.url(&place.cards())).bearer_auth(token);
    answer(request.header("x-tenant", &place.world.tenant)).await
}

#[tokio::test]
async fn an_issuer_that_the_tenant_trusts_is_believed_about_its_users_only() {
    let issuer = Issuer::open().await;
    let place = Place::new(json!({})).await;
    let header = json!({"alg": "ES256", "typ": "JWT", "kid": "one"});
    let good = issuer.token(&header, &issuer.claims());
    ask(&place, &good).await.refused(401, "unauthenticated");
    assert_eq!(issuer.fetched.load(Ordering::SeqCst), 0, "an issuer that is not trusted is not asked");
    let reader = place.role("reader");
    place
        .set_auth(json!({"oidcIssuers": [{
            "name": "corp", "issuer": issuer.url, "audience": "crm", "rolesClaim": "groups",
            "roles": {"sales": [reader]}}]}))
        .await;
    eventually("the issuer is trusted", LIMIT, || async {
        let answer = ask(&place, &good).await;
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await
    .unwrap();
    let me = http_client().unwrap().get(place.world.url("/api/v1/auth/user")).bearer_auth(&good);
    let me = answer(me.header("x-tenant", &place.world.tenant)).await;
    assert_eq!(me.body["id"], "corp:ann", "{me:?}");
    // It names no tenant, so something else has to.
    place.world.get(&place.cards(), &good).await.refused(401, "unauthenticated");

    let with = |name: &str, value: Value| {
        let mut claims = issuer.claims();
        claims[name] = value;
        issuer.token(&header, &claims)
    };
    let now = issuer.claims()["iat"].as_u64().unwrap();
    let mut wrong = vec![
        with("aud", json!("other")),
        with("aud", Value::Null),
        with("exp", json!(now - 600)),
        with("exp", json!(now + 10_000_000)),
        with("exp", json!((now + 600).to_string())),
        with("nbf", json!(now + 600)),
        with("sub", json!("")),
        with("sub", json!("a\nb")),
        with("iss", json!("tenantry")),
        tampered(&good),
    ];
    for other in [
        json!({"alg": "HS256", "kid": "secret"}),
        json!({"alg": "none", "kid": "one"}),
        json!({"alg": "RS256", "kid": "one"}),
        json!({"alg": "EdDSA", "kid": "one"}),
        json!({"alg": "ES256", "kid": "secret"}),
        json!({"alg": "ES256"}),
        json!({"alg": "ES256", "kid": "one", "crit": ["x"]}),
    ] {
        wrong.push(issuer.token(&other, &issuer.claims()));
    }
    for token in wrong {
        ask(&place, &token).await.refused(401, "unauthenticated");
    }
    // Keys that nobody knows cause no flood of fetches.
    for n in 0..30 {
        let unknown = issuer.token(&json!({"alg": "ES256", "kid": format!("k{n}")}), &issuer.claims());
        ask(&place, &unknown).await.refused(401, "unauthenticated");
    }
    assert!(issuer.fetched.load(Ordering::SeqCst) <= 2, "{}", issuer.fetched.load(Ordering::SeqCst));
}
