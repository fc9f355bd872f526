use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tenantry_e2e::program::{Program, ProgramOptions};
use tenantry_e2e::world::{LIMIT, World, answer, unique};
use tenantry_rig::endpoints::http_client;
use tenantry_rig::eventually;

#[tokio::test]
async fn a_tenant_has_as_many_requests_as_its_quota_says_and_others_have_theirs() {
    let world = World::new().await;
    let other = unique("t-");
    world.install(&other).await;
    world.with("quotas", json!({"requestsPerMinute": 30})).await;
    let (ours, theirs) =
        (world.user("ann", &["reader"]).await, world.token_of(&other, "bob", &["admin"]).await);
    let refused = eventually("the quota is met", LIMIT, || async {
        let answer = world.get(&world.cards("data"), &ours).await;
        if answer.status == 429 { Ok(answer) } else { Err(answer.status) }
    })
    .await
    .unwrap();
    refused.refused(429, "rate_limited");
    let header = |name: &str| refused.headers[name].to_str().unwrap().to_owned();
    let seconds: u64 = header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert_eq!(header("ratelimit-policy"), "\"tenant\";q=30;w=60");
    assert_eq!(header("ratelimit"), format!("\"tenant\";r=0;t={seconds}"));
    for _ in 0..60 {
        assert_eq!(
            world.get(&world.cards("data"), &theirs).await.status,
            200,
            "each tenant has a limit of its own"
        );
    }
    eventually("one more after a while", LIMIT, || async {
        let answer = world.get(&world.cards("data"), &ours).await;
        if answer.status == 200 { Ok(()) } else { Err(answer.status) }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn addresses_users_and_routes_are_limited_over_all_replicas() {
    let world = World::new().await;
    let user = world.user("ann", &["reader", "writer"]).await;
    let setting = |name: &str, value: &str| (format!("TENANTRY__{name}"), value.to_owned());
    let options = ProgramOptions {
        settings: vec![
            setting("HTTP__TRUSTED_PROXIES", r#"["127.0.0.1"]"#),
            setting("LIMITS__ADDRESS_PER_MINUTE", "240"),
            setting("LIMITS__USER_PER_MINUTE", "24"),
            setting("LIMITS__ROUTES", r#"{"/api/v1/data/{app}/{plural}/{id}"=12}"#),
        ],
        ..ProgramOptions::default()
    };
    let endpoints = world.platform.endpoints();
    let replicas = [
        Program::serve(endpoints, &options).await.unwrap(),
        Program::serve(endpoints, &options).await.unwrap(),
    ];
    let http = http_client().unwrap();
    // How many of `count` requests, one to each replica by turns, go through; and the name of the limit that the others met.
    let served = async |count: usize, path: &str, token: &str, address: &str| {
        let (mut served, mut limit) = (0, String::new());
        for n in 0..count {
            let url = format!("{}{path}", replicas[n % 2].http_url().unwrap());
            let mut request = http.get(url).header("x-forwarded-for", format!("1.2.3.4, {address}"));
            if !token.is_empty() {
                request = request.bearer_auth(token);
            }
            let answer = answer(request).await;
            if answer.status == 429 {
                limit = answer.headers["ratelimit-policy"].to_str().unwrap().to_owned();
            } else {
                served += 1;
            }
        }
        (served, limit)
    };
    // Each has its burst at once, and a few more that come back while the test runs.
    let cards = world.cards("data");
    let (without_token, limit) = served(150, &cards, "", "203.0.113.1").await;
    assert!((40..150).contains(&without_token), "{without_token}");
    assert_eq!(limit, "\"address\";q=240;w=60");
    let (one, limit) = served(30, &format!("{cards}/{}", uuid::Uuid::nil()), &user, "203.0.113.2").await;
    assert!((10..25).contains(&one), "{one}");
    assert_eq!(limit, "\"route\";q=12;w=60");
    let bob = world.user("bob", &["reader"]).await;
    let mut all = 0;
    for last in 3..7 {
        all += served(30, &cards, &bob, &format!("203.0.113.{last}")).await.0;
    }
    assert!((10..60).contains(&all), "of one user, from wherever: {all}");
}

#[tokio::test]
async fn a_statement_runs_as_long_as_the_tenant_may() {
    let world = World::new().await;
    let user = world.user("ann", &["reader", "writer"]).await;
    world.with("quotas", json!({"statementTimeoutMilliseconds": 300})).await;
    let made = world.post(&world.cards("data"), &user, json!({"title": "busy"})).await;
    let id = made.body["id"].as_str().unwrap();
    let path = format!("{}/{id}", world.cards("data"));
    let mut admin = PgConnection::connect(&world.platform.endpoints().database_url).await.unwrap();
    let mut holder = admin.begin().await.unwrap();
    let schema = format!("tenant_{}", world.tenant.replace('-', "_"));
    let lock = format!("SELECT FROM {schema}.{}_card WHERE id = '{id}' FOR UPDATE", world.app);
    sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut *holder).await.unwrap();
    eventually("the limit has arrived", LIMIT, || async {
        let start = Instant::now();
        let answer = world.send(Method::PATCH, &path, &user, Some(json!({"title": "later"}))).await;
        // Until then it waits for as long as for any lock, which is less than a statement may take.
        if start.elapsed() > Duration::from_millis(1500) {
            answer.refused(503, "unavailable");
            return Err(format!("{:?}", start.elapsed()));
        }
        answer.refused(504, "timeout");
        Ok(())
    })
    .await
    .unwrap();
    holder.rollback().await.unwrap();
    let changed = world.send(Method::PATCH, &path, &user, Some(json!({"title": "now"}))).await;
    assert_eq!(changed.status, 200, "the connection is as good as before: {changed:?}");
}

#[tokio::test]
async fn pages_of_listed_origins_may_call_and_no_others() {
    let world = World::new().await;
    world.with("cors", json!({"allowedOrigins": ["https://app.example.com"]})).await;
    let user = world.user("ann", &["reader"]).await;
    let http = http_client().unwrap();
    let host = format!("{}.example.com", world.tenant);
    let ask = |origin: &'static str| {
        let request = http
            .request(Method::OPTIONS, world.url(&world.cards("data")))
            .header("host", &host)
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization, content-type");
        answer(request)
    };
    let allowed = eventually("the origin is known", LIMIT, || async {
        let answer = ask("https://app.example.com").await;
        if answer.status == 204 { Ok(answer) } else { Err(format!("{answer:?}")) }
    })
    .await
    .unwrap();
    assert_eq!(allowed.headers["access-control-allow-origin"], "https://app.example.com");
    assert_eq!(allowed.headers["access-control-allow-headers"], "authorization, content-type");
    assert!(allowed.headers["access-control-allow-methods"].to_str().unwrap().contains("PATCH"));
    assert!(!allowed.headers.contains_key("access-control-allow-credentials"));
    for other in ["https://app.example.com.evil.org", "https://evil.org", "null", "http://app.example.com"] {
        let refused = ask(other).await;
        assert!(
            refused.status == 403 && !refused.headers.contains_key("access-control-allow-origin"),
            "{refused:?}"
        );
    }
    let get = |origin: &'static str, token: &str| {
        let request =
            http.get(world.url(&world.cards("data"))).header("host", &host).header("origin", origin);
        answer(if token.is_empty() { request } else { request.bearer_auth(token) })
    };
    let read = get("https://app.example.com", &user).await;
    assert_eq!(
        (read.status, &read.headers["access-control-allow-origin"]),
        (200, &"https://app.example.com".parse().unwrap())
    );
    assert_eq!(read.headers["vary"], "origin");
    let refused = get("https://app.example.com", "").await;
    assert!(
        refused.status == 401 && refused.headers.contains_key("access-control-allow-origin"),
        "a page reads why: {refused:?}"
    );
    assert!(!get("https://evil.org", &user).await.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn what_is_too_large_too_deep_or_too_long_is_refused_with_its_reason() {
    let world = World::new().await;
    let user = world.user("ann", &["admin"]).await;
    let http = http_client().unwrap();
    let deep = format!("{{\"title\": {}1{}}}", "[".repeat(100), "]".repeat(100));
    let request = http
        .post(world.url(&world.cards("data")))
        .bearer_auth(&user)
        .header("content-type", "application/json");
    let refused = answer(request.body(deep)).await;
    refused.refused(400, "bad_request");
    assert!(refused.body["detail"].as_str().unwrap().contains("64"), "{refused:?}");
    let long = format!("{}?title=eq.{}", world.cards("data"), "x".repeat(20_000));
    world.get(&long, &user).await.refused(414, "uri_too_long");
    let many: Vec<String> = (0..200).map(|n| format!("title=neq.{n}")).collect();
    world
        .get(&format!("{}?{}", world.cards("data"), many.join("&")), &user)
        .await
        .refused(400, "bad_request");
    world.get(&format!("{}?limit=1001", world.cards("data")), &user).await.refused(400, "bad_request");
    let large = json!({"title": "x".repeat(2 * 1024 * 1024)});
    world.post(&world.cards("data"), &user, large).await.refused(413, "payload_too_large");
}
