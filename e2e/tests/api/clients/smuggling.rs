//! A statement that is smuggled through whatever part of a request changes nothing.

use reqwest::Method;
use serde_json::{Value, json};
use tenantry_e2e::world::{Answer, World, answer};
use tenantry_rig::endpoints::http_client;

/// What would change, read or stop something if any of it became SQL.
const PAYLOADS: [&str; 22] = [
    "'; DROP TABLE customers; --",
    "\"; DROP TABLE customers; --",
    "1; DELETE FROM customers",
    "1) OR (1=1",
    "x' OR '1'='1",
    "x\" OR \"1\"=\"1",
    "$1",
    "$1::text); DELETE FROM customers; --",
    "1 UNION SELECT rolname FROM pg_roles",
    "(SELECT current_user)",
    "(SELECT pg_sleep(10))",
    "pg_sleep(10)",
    "\\",
    "\\'; DROP TABLE customers; --",
    "/* */ OR true /* */",
    "\u{2019} OR 1=1",
    "%27%3B DROP TABLE customers",
    "name\"),\"pin",
    "}'; DROP TABLE customers; --",
    "{\"a\": \"'; DROP TABLE customers\"}",
    "*)/*(",
    "\u{0}'; DROP TABLE customers",
];

/// Where a request has room for text; `{}` is the payload, alone or as a part.
const PLACES: [(&str, &str); 40] = [
    ("name", "eq.{}"),
    ("name", "neq.{}"),
    ("name", "like.{}"),
    ("name", "ilike.*{}*"),
    ("name", "match.{}"),
    ("name", "in.({})"),
    ("name", "in.(\"{}\")"),
    ("name", "isdistinct.{}"),
    ("name", "eq(any).{{}}"),
    ("name", "fts.{}"),
    ("name", "plfts.{}"),
    ("name", "wfts({}).x"),
    ("name", "wfts(english).{}"),
    ("name", "{}.x"),
    ("name", "not.{}"),
    ("rank", "eq.{}"),
    ("rank", "in.(1,{})"),
    ("credit", "gt.{}"),
    ("vip", "is.{}"),
    ("id", "eq.{}"),
    ("created_at", "lt.{}"),
    ("meta", "cs.{}"),
    ("meta", "ov.{{}}"),
    ("meta->>{}", "eq.x"),
    ("meta->{}->>a", "eq.{}"),
    ("{}", "eq.x"),
    ("contacts.{}", "eq.x"),
    ("contacts.phone", "eq.{}"),
    ("or", "(name.eq.{})"),
    ("or", "(name.eq.\"{}\",{}.eq.1)"),
    ("and", "{}"),
    ("order", "{}"),
    ("order", "name.{}"),
    ("order", "meta->>{}.desc"),
    ("contacts.order", "{}"),
    ("limit", "{}"),
    ("offset", "{}"),
    ("after", "{}"),
    ("select", "name,{}"),
    ("select", "x:name,{}:rank,meta->>{},\"{}\":contacts(phone)"),
];

async fn send(
    world: &World,
    method: Method,
    path: &str,
    token: &str,
    query: &[(&str, &str)],
    headers: &[(&str, &str)],
    body: Option<Value>,
) -> Answer {
    let mut request = http_client().unwrap().request(method, world.url(path)).bearer_auth(token).query(query);
    for (name, value) in headers {
        // What no header can hold cannot be sent.
        if let Ok(value) = reqwest::header::HeaderValue::from_str(value) {
            request = request.header(*name, value);
        }
    }
    answer(match body {
        Some(body) => request.json(&body),
        None => request,
    })
    .await
}

#[tokio::test]
async fn a_statement_in_a_request_is_never_more_than_text() {
    let world = super::shop().await;
    let (token, app) = (world.user("sally", &["sales"]).await, world.app.clone());
    let (native, rest) = (format!("/api/v1/data/{app}/customers"), "/rest/v1/customers".to_owned());
    for n in 0..3 {
        let body =
            json!({"name": format!("customer {n}"), "rank": n, "pin": "secret-pin", "meta": {"a": "b"}});
        assert_eq!(world.post(&native, &token, body).await.status, 201);
    }
    let all = || async { world.get(&format!("{native}?order=rank"), &token).await.body["items"].clone() };
    let before = all().await;
    assert_eq!(before.as_array().unwrap().len(), 3);
    let mut sent = 0;
    let mut check = |what: &str, answer: &Answer| {
        sent += 1;
        assert!(answer.status < 500, "{what}: {answer:?}");
        let text = answer.body.to_string();
        for leak in ["secret-pin", "tenant_", "rolpassword", "syntax error", "pg_catalog"] {
            assert!(!text.contains(leak), "{what} tells {leak}: {text}");
        }
    };
    for payload in PAYLOADS {
        for (name, value) in PLACES {
            let (name, value) = (name.replace("{}", payload), value.replace("{}", payload));
            let what = format!("{name}={value}");
            let mut query = vec![(name.as_str(), value.as_str())];
            if name.starts_with("contacts.") {
                query.push(("select", "name,contacts(phone)"));
            }
            for path in [&native, &rest] {
                check(&what, &send(&world, Method::GET, path, &token, &query, &[], None).await);
            }
            if name != "select" {
                // A filter that matches nobody, whatever else is in the query: nothing may change.
                query.push(("rank", "eq.-1"));
                let change = Some(json!({"rank": 99}));
                let prefer = [("prefer", "return=representation")];
                check(&what, &send(&world, Method::PATCH, &rest, &token, &query, &prefer, change).await);
                check(&what, &send(&world, Method::DELETE, &rest, &token, &query, &prefer, None).await);
            }
        }
        for name in ["columns", "on_conflict", "select"] {
            let prefer = [("prefer", "resolution=merge-duplicates")];
            let body = Some(json!([{"name": payload, payload: 1}]));
            check(name, &send(&world, Method::POST, &rest, &token, &[(name, payload)], &prefer, body).await);
        }
        for name in ["accept-profile", "prefer", "accept", "range", "x-request-id"] {
            check(name, &send(&world, Method::GET, &rest, &token, &[], &[(name, payload)], None).await);
        }
        let path = format!("/rest/v1/{}", payload.replace(['/', '?', '#', '%', '\\', '\0'], ""));
        check("path", &send(&world, Method::GET, &path, &token, &[], &[], None).await);
    }
    assert!(sent > 3000, "{sent}");
    assert_eq!(all().await, before);
    // A payload in a value is kept as it is.
    for payload in PAYLOADS.iter().filter(|payload| !payload.contains('\0')) {
        let stored = world.post(&native, &token, json!({"name": payload, "rank": 7})).await;
        assert_eq!((stored.status, &stored.body["name"]), (201, &json!(payload)), "{stored:?}");
        let query = [("name", format!("eq.{payload}"))];
        let query: Vec<_> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let found = send(&world, Method::GET, &rest, &token, &query, &[], None).await;
        assert_eq!(found.body[0]["name"], json!(payload), "{found:?}");
    }
}
