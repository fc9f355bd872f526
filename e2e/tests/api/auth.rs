use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::Sha256;
use tenantry_crds::v1alpha1::Tenant;
use tenantry_e2e::world::{LIMIT, World, answer, unique};
use tenantry_rig::endpoints::http_client;
use tenantry_rig::eventually;

pub fn secret(world: &World) -> &[u8] {
    world.platform.endpoints().programs["TENANTRY__AUTH__HS256_SECRET"].as_bytes()
}

pub async fn claims(world: &World) -> Value {
    let tenant = world.api::<Tenant>().await.get(&world.tenant).await.unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    json!({
        "iss": "tenantry", "aud": "tenantry", "sub": "alice", "tid": tenant.metadata.uid,
        "roles": [format!("{}:reader", world.app)], "iat": now, "exp": now + 600
    })
}

pub fn signed(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let mac = Hmac::<Sha256>::new_from_slice(secret).unwrap().chain_update(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

#[tokio::test]
async fn only_a_token_that_holds_in_every_part_is_accepted() {
    let world = World::new().await;
    let path = world.cards("data");
    let header = json!({"alg": "HS256", "typ": "at+jwt"});
    let good = claims(&world).await;
    let fine = world.get(&path, &signed(&header, &good, secret(&world))).await;
    assert_eq!(fine.status, 200, "the forger of this test knows how: {fine:?}");

    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let now = good["iat"].as_u64().unwrap();
    let forged_claims = [
        ("past exp", with("exp", json!(now - 3600))),
        ("no exp", with("exp", Value::Null)),
        ("exp as text", with("exp", json!((now + 600).to_string()))),
        ("exp in a hundred years", with("exp", json!(now + 3_000_000_000_u64))),
        ("nbf in the future", with("nbf", json!(now + 600))),
        ("nbf as text", with("nbf", json!("0"))),
        ("iat in the future", with("iat", json!(now + 600))),
        ("another aud", with("aud", json!("other"))),
        ("no aud", with("aud", Value::Null)),
        ("another iss", with("iss", json!("other"))),
        ("no sub", with("sub", Value::Null)),
        ("no tid", with("tid", Value::Null)),
    ];
    for (what, claims) in forged_claims {
        let refused = world.get(&path, &signed(&header, &claims, secret(&world))).await;
        refused.refused(401, "unauthenticated");
        assert!(refused.headers.contains_key("www-authenticate"), "{what}");
    }
    let headers = [
        json!({"alg": "none", "typ": "at+jwt"}),
        json!({"alg": "None", "typ": "at+jwt"}),
        json!({"alg": "HS384", "typ": "at+jwt"}),
        json!({"alg": "EdDSA", "typ": "at+jwt"}),
        json!({"typ": "at+jwt"}),
        json!({"alg": "HS256"}),
        json!({"alg": "HS256", "typ": "JWT"}),
        json!({"alg": "HS256", "typ": "at+jwt", "crit": ["x"]}),
        json!({"alg": "HS256", "typ": "at+jwt", "zip": "DEF"}),
    ];
    for header in headers {
        world.get(&path, &signed(&header, &good, secret(&world))).await.refused(401, "unauthenticated");
    }
    let whole = signed(&header, &good, secret(&world));
    let unsigned = whole.rsplit_once('.').unwrap().0;
    let strange = [
        String::new(),
        unsigned.to_owned(),
        format!("{unsigned}."),
        format!("{whole}.{whole}"),
        signed(&header, &good, b"another-secret-of-more-than-32-bytes"),
        "x".repeat(9000),
    ];
    for token in strange {
        world.get(&path, &token).await.refused(401, "unauthenticated");
    }
}

#[tokio::test]
async fn a_token_stands_in_one_header_and_nowhere_else() {
    let world = World::new().await;
    let token = world.user("alice", &["reader"]).await;
    let path = world.cards("data");
    world.get(&format!("{path}?access_token={token}"), "").await.refused(401, "unauthenticated");
    world.get(&format!("{path}?access_token={token}"), &token).await.refused(401, "unauthenticated");
    let http = http_client().unwrap();
    let twice = http.get(world.url(&path)).bearer_auth(&token).header("authorization", "Bearer x");
    answer(twice).await.refused(401, "unauthenticated");
    let basic = http.get(world.url(&path)).basic_auth("alice", Some(&token));
    answer(basic).await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn every_route_of_a_tenant_wants_a_token() {
    let world = World::new().await;
    let queue = format!("/api/v1/jobs/{}/default", world.app);
    for (method, path) in [
        (Method::GET, world.cards("data")),
        (Method::POST, world.cards("data")),
        (Method::GET, format!("{}/1", world.cards("data"))),
        (Method::PATCH, format!("{}/1", world.cards("data"))),
        (Method::PUT, format!("{}/1", world.cards("data"))),
        (Method::DELETE, format!("{}/1", world.cards("data"))),
        (Method::GET, world.cards("search")),
        (Method::GET, queue.clone()),
        (Method::POST, queue.clone()),
        (Method::POST, format!("{queue}/lease")),
        (Method::POST, format!("{queue}/ack")),
        (Method::POST, format!("{queue}/nack")),
        (Method::POST, format!("{queue}/extend")),
        (Method::GET, "/api/v1/admin/tenants".to_owned()),
    ] {
        world.send(method.clone(), &path, "", None).await.refused(401, "unauthenticated");
    }
    world.get("/api/v1/nothing", "").await.refused(404, "not_found");
    let token = world.user("alice", &[]).await;
    world.send(Method::TRACE, &world.cards("search"), &token, None).await.refused(405, "method_not_allowed");
}

#[tokio::test]
async fn a_token_opens_its_own_tenant_only() {
    let world = World::new().await;
    let other = unique("t-");
    world.install(&other).await;
    let mine = world.user("alice", &["admin"]).await;
    let path = world.cards("data");
    let http = http_client().unwrap();
    let at = |name: &'static str, value: &str| {
        let request = http.get(world.url(&path)).bearer_auth(&mine).header(name, value);
        async move { answer(request).await }
    };
    assert_eq!(at("x-tenant", &world.tenant).await.status, 200);
    assert_eq!(at("host", &format!("{}.example.com", world.tenant)).await.status, 200);
    at("x-tenant", &other).await.refused(403, "tenant_mismatch");
    at("host", &format!("{other}.example.com")).await.refused(403, "tenant_mismatch");
    at("x-tenant", "nobody-has-this-name").await.refused(404, "not_found");
    at("x-tenant", "../etc").await.refused(404, "not_found");
    let both = http
        .get(world.url(&path))
        .bearer_auth(&mine)
        .header("host", format!("{}.example.com", world.tenant))
        .header("x-tenant", &other);
    answer(both).await.refused(400, "bad_request");
}

#[tokio::test]
async fn a_suspended_tenant_is_refused_and_a_deleted_one_is_unknown_at_once() {
    let world = World::new().await;
    let token = world.user("alice", &["admin"]).await;
    let path = world.cards("data");
    assert_eq!(world.get(&path, &token).await.status, 200);
    let spec = |state: &str| {
        json!({"apps": [{"name": world.app}], "state": state, "suspendedMessage": "unpaid",
               "hosts": [format!("{}.example.com", world.tenant)], "deletionPolicy": "Delete"})
    };
    let world = &world;
    let (path, token) = (&path, &token);
    let until = |status: u16| async move {
        eventually("the control plane has heard of it", LIMIT, || async {
            let answer = world.get(path, token).await;
            if answer.status == status { Ok(answer) } else { Err(format!("{answer:?}")) }
        })
        .await
        .unwrap()
    };
    world.apply::<Tenant>("Tenant", &world.tenant, spec("Suspended")).await;
    let suspended = until(503).await;
    suspended.refused(503, "tenant_suspended");
    assert_eq!(suspended.body["detail"], "unpaid");
    world.apply::<Tenant>("Tenant", &world.tenant, spec("Active")).await;
    until(200).await;

    world.delete_tenant(&world.tenant).await;
    until(404).await;
    world.install(&world.tenant).await;
    // The token was issued for the tenant that had this name before.
    world.get(path, token).await.refused(404, "not_found");
    let http = http_client().unwrap();
    let named = http.get(world.url(path)).bearer_auth(token).header("x-tenant", &world.tenant);
    eventually("the new tenant is served", LIMIT, || async {
        let answer = answer(named.try_clone().unwrap()).await;
        if answer.status == 403 { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn answers_carry_the_request_id_and_security_headers() {
    let world = World::new().await;
    let http = http_client().unwrap();
    let given = answer(http.get(world.url("/nothing")).header("x-request-id", "my-id-1")).await;
    assert_eq!(given.headers["x-request-id"], "my-id-1");
    let made = answer(http.get(world.url("/nothing")).header("x-request-id", "no good")).await;
    assert!(uuid::Uuid::parse_str(made.headers["x-request-id"].to_str().unwrap()).is_ok());
    assert_eq!(made.headers["x-content-type-options"], "nosniff");
    assert_eq!(made.headers["cache-control"], "no-store");
}

#[tokio::test]
async fn bodies_that_cannot_be_read_are_refused() {
    let world = World::new().await;
    let token = world.user("alice", &["admin"]).await;
    let url = world.url(&format!("/api/v1/jobs/{}/default", world.app));
    let http = http_client().unwrap();
    let json_of = |body: String| {
        let request = http.post(&url).bearer_auth(&token).header("content-type", "application/json");
        answer(request.body(body))
    };
    json_of("{".into()).await.refused(400, "bad_request");
    json_of("{\"type\": 7}".into()).await.refused(422, "validation_failed");
    json_of("{\"type\": \"x\", \"unknown\": 1}".into()).await.refused(422, "validation_failed");
    json_of(format!("{{\"type\": \"{}\"}}", "x".repeat(2 * 1024 * 1024)))
        .await
        .refused(413, "payload_too_large");
    answer(http.post(&url).bearer_auth(&token).body("type=x")).await.refused(415, "unsupported_media_type");
}
