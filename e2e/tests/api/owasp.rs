//! The OWASP API Security Top 10 (2023), as far as it is not tested elsewhere: objects (1) in `matrix`, authentication (2) in `auth`,
//! resources (4) and origins (8) in `limits`, the inventory (9) beside the code, in `describe`.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tenantry_e2e::world::{Answer, LIMIT, World, answer, unique};
use tenantry_rig::endpoints::http_client;
use tenantry_rig::eventually;

use super::stranger::{Says, Stranger};

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

/// A request of somebody without a token.
async fn knock(world: &World, tenant: &str, path: &str, body: Value) -> Answer {
    answer(http_client().unwrap().post(world.url(path)).header("x-tenant", tenant).json(&body)).await
}

/// How many people may sign up at once, until one is refused; and how.
async fn sign_ups(world: &World) -> (usize, Answer) {
    for n in 0..60 {
        let body =
            json!({"email": format!("{n}.{}@acme.example", unique("p")), "password": "Another fine day"});
        let made = knock(world, &world.tenant, "/api/v1/auth/signup", body).await;
        if made.status != 201 {
            return (n, made);
        }
    }
    panic!("nobody was refused");
}

/// Waits until `spec.auth` of the tenant is in effect, which lets people sign up.
async fn until_open(world: &World) {
    eventually("the tenant is open", LIMIT, || async {
        let settings = http_client().unwrap().get(world.url("/auth/v1/settings"));
        let settings = answer(settings.header("x-tenant", &world.tenant)).await;
        if settings.body["disable_signup"] == false { Ok(()) } else { Err(format!("{settings:?}")) }
    })
    .await
    .unwrap();
}

/// A request with a token of this issuer, which nobody has signed.
async fn with_token_of(world: &World, issuer: &str) -> Answer {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let (header, claims) = (json!({"alg": "ES256", "kid": "one"}), json!({"iss": issuer}));
    let token = format!("{}.{}.{}", part(header), part(claims), "A".repeat(86));
    let request = http_client().unwrap().get(world.url(&world.cards("data"))).bearer_auth(token);
    answer(request.header("x-tenant", &world.tenant)).await
}

/// The one-time tokens of the world's tenant: how often each was tried, and whether it waits for another time.
async fn mails(world: &World) -> Vec<(i32, bool)> {
    let url = &world.platform.endpoints().database_url;
    let mut admin = PgConnection::connect(url).await.unwrap();
    let mails = "SELECT attempts, due_at IS NOT NULL FROM tenantry.auth_token WHERE role = $1::text::name";
    let role = format!("tenant_{}", world.tenant.replace('-', "_"));
    sqlx::query_as(mails).bind(role).fetch_all(&mut admin).await.unwrap()
}

/// Waits until the tenant's only e-mail was tried in vain: the second attempt comes when the first one is over.
async fn until_tried_in_vain(world: &World) {
    eventually("the webhook was tried", LIMIT, || async {
        match mails(world).await.as_slice() {
            [(2.., true)] => Ok(()),
            mails => Err(format!("{mails:?}")),
        }
    })
    .await
    .unwrap();
}

fn trusts(name: &str, issuer: &str, keys: Option<String>) -> Value {
    let mut trusted = json!({"name": name, "issuer": issuer, "audience": "crm"});
    if let Some(keys) = keys {
        trusted["jwksUri"] = json!(keys);
    }
    trusted
}

/// 6: unrestricted access to sensitive business flows.
#[tokio::test]
async fn accounts_are_not_made_and_e_mails_not_sent_by_the_thousand() {
    let stranger = Stranger::open(|_, _| Says::Status("204 No Content")).await;
    let world = World::new().await;
    world
        .with("auth", json!({"signUp": "Open", "webhook": {"url": stranger.url("127.0.0.1", "/mail")}}))
        .await;
    until_open(&world).await;
    // One e-mail a minute to the same person, whoever asks for it.
    let email = format!("{}@acme.example", unique("ann."));
    let admin = world.user("root", &["admin"]).await;
    let made = world.post("/api/v1/data/core/users", &admin, json!({"email": email})).await;
    assert_eq!(made.status, 201, "{made:?}");
    for _ in 0..3 {
        let asked = knock(&world, &world.tenant, "/api/v1/auth/recover", json!({"email": email})).await;
        assert_eq!(asked.status, 202, "{asked:?}");
    }
    assert_eq!(mails(&world).await.len(), 1);

    let (made, refused) = sign_ups(&world).await;
    assert!((1..40).contains(&made), "{made}");
    refused.refused(429, "rate_limited");
    assert_eq!(refused.headers["ratelimit-policy"], "\"sign-up\";q=30;w=60");
    // Not by the other route either, nor for addresses that nobody has: the answer tells nothing of them.
    for (path, email) in [
        ("/auth/v1/signup", "new@acme.example"),
        ("/auth/v1/recover", "nobody@acme.example"),
        ("/auth/v1/resend", "nobody@acme.example"),
        ("/api/v1/auth/recover", &email),
        ("/api/v1/auth/recover", "nobody@acme.example"),
    ] {
        eventually("it is refused", LIMIT, || async {
            let body = json!({"email": email, "password": "Another fine day", "type": "signup"});
            let body = if path.ends_with("/v1/auth/recover") { json!({"email": email}) } else { body };
            let answer = knock(&world, &world.tenant, path, body).await;
            if answer.status == 429 { Ok(()) } else { Err(format!("{path}: {answer:?}")) }
        })
        .await
        .unwrap();
    }
    // Whoever has an account is not concerned, nor is another tenant.
    let sign_in = json!({"grant_type": "password", "email": email, "password": "wrong"});
    knock(&world, &world.tenant, "/api/v1/auth/token", sign_in).await.refused(401, "invalid_credentials");
    let other = unique("t-");
    world.install(&other).await;
    eventually("the neighbour is served", LIMIT, || async {
        let asked = knock(&world, &other, "/api/v1/auth/recover", json!({"email": "x@acme.example"})).await;
        if asked.status == 202 { Ok(()) } else { Err(format!("{asked:?}")) }
    })
    .await
    .unwrap();
}

/// 7: server-side request forgery. The rig's settings allow 127.0.0.0/8, and nothing else that is not public.
#[tokio::test]
async fn addresses_that_a_tenant_chose_lead_nowhere_inside() {
    let inside = Stranger::open(|_, _| Says::Json(json!({"keys": []}))).await;
    let (hidden, port) = (inside.url("0.0.0.0", "/keys"), inside.port);
    let outside = Stranger::open(move |path, own| match path {
        "/led/.well-known/openid-configuration" => {
            Says::Json(json!({"issuer": format!("http://127.0.0.1:{own}/led"), "jwks_uri": hidden}))
        }
        // To where it could go by itself, so that only following it is seen.
        _ => Says::Redirect(format!("http://127.0.0.1:{port}/redirected")),
    })
    .await;
    let world = World::new().await;
    let of = |path: &str| outside.url("127.0.0.1", path);
    let inner = [inside.url("0.0.0.0", ""), inside.url("[::1]", ""), inside.url("[::]", "")];
    world
        .with(
            "auth",
            json!({"signUp": "Open", "webhook": {"url": of("/mail")}, "oidcIssuers": [
                trusts("plain", &inner[0], None), trusts("six", &inner[1], None), trusts("any", &inner[2], None),
                trusts("keys", &of("/keys"), Some(inside.url("[::ffff:0.0.0.0]", "/keys"))),
                trusts("meta", &of("/meta"), Some("http://169.254.169.254/latest/meta-data".to_owned())),
                trusts("led", &of("/led"), None), trusts("moved", &of("/moved"), None),
            ]}),
        )
        .await;
    until_open(&world).await;
    for issuer in inner.iter().cloned().chain([of("/keys"), of("/meta"), of("/led"), of("/moved")]) {
        with_token_of(&world, &issuer).await.refused(401, "unauthenticated");
    }
    let config = "/.well-known/openid-configuration";
    assert_eq!(outside.asked(), [format!("/led{config}"), format!("/moved{config}")]);
    let account = json!({"email": "ann@acme.example", "password": "Another fine day"});
    assert_eq!(knock(&world, &world.tenant, "/api/v1/auth/signup", account.clone()).await.status, 201);
    // A redirect is no success.
    until_tried_in_vain(&world).await;
    assert!(outside.asked().contains(&"/mail".to_owned()));

    let webhooks = inner.iter().map(async |address| {
        let world = World::new().await;
        world.with("auth", json!({"signUp": "Open", "webhook": {"url": address}})).await;
        until_open(&world).await;
        assert_eq!(knock(&world, &world.tenant, "/api/v1/auth/signup", account.clone()).await.status, 201);
        until_tried_in_vain(&world).await;
    });
    futures::future::join_all(webhooks).await;
    assert_eq!(inside.connections(), 0, "{:?}", inside.asked());
}

/// 10: unsafe consumption of APIs.
#[tokio::test]
async fn servers_of_others_may_answer_what_they_like() {
    let deep = "[".repeat(100_000);
    let stranger = Stranger::open(move |path, own| {
        let (issuer, what) = path.split_once("/.well-known").unwrap_or((path, ""));
        match issuer {
            "/endless" | "/mail" => Says::Endless,
            "/silent" => Says::Nothing,
            "/deep" => Says::Text(deep.clone()),
            "/status" => Says::Status("500 Oh No"),
            "/liar" => Says::Json(json!({"issuer": "https://id.example.com", "jwks_uri": "https://id.example.com/keys"})),
            _ if !what.is_empty() => {
                let issuer = format!("http://127.0.0.1:{own}{issuer}");
                Says::Json(json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")}))
            }
            "/odd/keys" => Says::Json(json!({"keys": {"kid": "one"}})),
            _ => Says::Json(json!({"keys": vec![json!({"kty": "EC", "kid": "one", "crv": "P-256", "x": "", "y": 7}); 2000]})),
        }
    })
    .await;
    let world = World::new().await;
    let of = |path: &str| stranger.url("127.0.0.1", path);
    let issuers = ["/endless", "/silent", "/deep", "/status", "/liar", "/odd", "/many"];
    let trusted: Vec<Value> = issuers.iter().map(|path| trusts(&path[1..], &of(path), None)).collect();
    world
        .with("auth", json!({"signUp": "Open", "webhook": {"url": of("/mail")}, "oidcIssuers": trusted}))
        .await;
    until_open(&world).await;
    let user = world.user("ann", &["reader"]).await;
    let asked = issuers.map(|path| {
        let (world, issuer) = (&world, of(path));
        // Not the 504 of a request that takes too long.
        async move { with_token_of(world, &issuer).await.refused(401, "unauthenticated") }
    });
    futures::future::join_all(asked).await;
    assert_eq!(world.get(&world.cards("data"), &user).await.status, 200);

    // Its answer is not read, so the e-mail is on its way.
    let account = json!({"email": "ann@acme.example", "password": "Another fine day"});
    assert_eq!(knock(&world, &world.tenant, "/api/v1/auth/signup", account).await.status, 201);
    eventually("the webhook has it", LIMIT, || async {
        match mails(&world).await.as_slice() {
            [(1, false)] => Ok(()),
            mails => Err(format!("{mails:?}")),
        }
    })
    .await
    .unwrap();
    eventually("nobody listens to it any more", LIMIT, || async {
        if stranger.talking() == 0 { Ok(()) } else { Err(stranger.talking()) }
    })
    .await
    .unwrap();
    // What the kernel takes in before anybody reads is not ours to say; the server would have sent that in an instant.
    assert!(stranger.sent() < 64 << 20, "{} bytes", stranger.sent());
}

#[tokio::test]
async fn a_webhook_that_does_not_answer_holds_up_nobody_elses_mail() {
    let silent = Stranger::open(|_, _| Says::Nothing).await;
    let good = Stranger::open(|_, _| Says::Status("204 No Content")).await;
    let worlds = [World::new().await, World::new().await];
    for (world, stranger) in worlds.iter().zip([&silent, &good]) {
        let url = stranger.url("127.0.0.1", "/mail");
        world.with("auth", json!({"signUp": "Open", "webhook": {"url": url}})).await;
        until_open(world).await;
    }
    let (made, _) = sign_ups(&worlds[0]).await;
    assert!(made > 4, "more than are sent at once");
    eventually("the silent one is asked", LIMIT, || async {
        if silent.talking() > 0 { Ok(()) } else { Err("not yet") }
    })
    .await
    .unwrap();
    let account = json!({"email": "ann@acme.example", "password": "Another fine day"});
    assert_eq!(knock(&worlds[1], &worlds[1].tenant, "/api/v1/auth/signup", account).await.status, 201);
    eventually("the mail of the other one has come", LIMIT, || async {
        if good.asked().is_empty() { Err("not yet") } else { Ok(()) }
    })
    .await
    .unwrap();
    assert!(silent.most() <= 4, "{} at once", silent.most());
}
