//! One address is one account, whichever way it is written and by whichever way it comes.

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Connection;
use tenantry_e2e::world::{Answer, answer, unique};

use super::factors::code;
use super::place::{BCRYPT, PASSWORD, Place, Tokens};

/// The same address in other ways. The local part of `address` ends in `é`.
fn ways(address: &str) -> Vec<String> {
    vec![
        address.to_owned(),
        address.to_uppercase(),
        format!("  {address}\n"),
        address.replace('é', "e\u{301}"),
        address.to_uppercase().replace('É', "E\u{301}"),
    ]
}

async fn insert(place: &Place, path: &str, headers: &[(&str, &str)], body: String) -> Answer {
    let mut request = place.world.request(Method::POST, path).bearer_auth(&place.admin).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    answer(request).await
}

/// Each way to write an account's address.
async fn write(place: &Place, by: &str, email: &str, other: &str) -> Answer {
    let (users, json_type) = ("/api/v1/data/core/users", ("content-type", "application/json"));
    let account = json!({"email": email});
    match by {
        "document" => place.world.post(users, &place.admin, account).await,
        "several documents" => insert(place, users, &[json_type], json!([account]).to_string()).await,
        "lines" => {
            insert(place, users, &[("content-type", "application/x-ndjson")], account.to_string()).await
        }
        "CSV" => insert(place, users, &[("content-type", "text/csv")], format!("email\n\"{email}\"\n")).await,
        "batch" => {
            let operation = json!({"op": "create", "type": "core/users", "body": account});
            place.world.post("/api/v1/batch", &place.admin, json!({"operations": [operation]})).await
        }
        "PostgREST" => {
            let headers = [json_type, ("content-profile", "core")];
            insert(place, "/rest/v1/users", &headers, account.to_string()).await
        }
        "change of a document" => {
            let path = format!("{users}/{other}");
            place.world.send(Method::PATCH, &path, &place.admin, Some(account)).await
        }
        "change of those that match" => {
            let path = format!("{users}?id=eq.{other}");
            place.world.send(Method::PATCH, &path, &place.admin, Some(account)).await
        }
        "invitation" => place.world.post("/api/v1/auth/invite", &place.admin, account).await,
        "sign-up" => {
            let body = json!({"email": email, "password": "Another fine day"});
            place.call("/api/v1/auth/signup", body).await
        }
        "sign-up of Supabase" => {
            let body = json!({"email": email, "password": "Another fine day"});
            place.call("/auth/v1/signup", body).await
        }
        _ => unreachable!("{by}"),
    }
}

const WRITES: [&str; 11] = [
    "document",
    "several documents",
    "lines",
    "CSV",
    "batch",
    "PostgREST",
    "change of a document",
    "change of those that match",
    "invitation",
    "sign-up",
    "sign-up of Supabase",
];

/// Those of [`WRITES`] for one address: of the two sign-ups one, since an address may ask for ten only in a moment.
fn writes(n: usize) -> impl Iterator<Item = &'static str> {
    let other = if n.is_multiple_of(2) { "sign-up of Supabase" } else { "sign-up" };
    WRITES.into_iter().filter(move |by| *by != other)
}

async fn open() -> Place {
    let webhook = json!({"url": "http://127.0.0.1:9/mail"});
    Place::new(json!({"signUp": "Open", "invites": true, "webhook": webhook})).await
}

#[tokio::test]
async fn one_address_is_one_account_whichever_way_it_is_written() {
    let place = open().await;
    let address = format!("{}.é@acme.example", unique("bob."));
    let written = address.to_uppercase();
    let body = json!({"email": written, "password_hash": BCRYPT});
    let made = place.world.post("/api/v1/data/core/users", &place.admin, body).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(
        (&made.body["email"], &made.body["email_as_written"]),
        (&json!(address), &json!(written)),
        "the one form, and what was written"
    );
    let other = place.person(&[]).await;
    for (n, way) in ways(&address).into_iter().enumerate() {
        let signed = place.try_sign_in(&way, PASSWORD).await;
        assert_eq!(
            (signed.status, &signed.body["user"]["id"]),
            (200, &made.body["id"]),
            "{way:?}: {signed:?}"
        );
        for by in writes(n) {
            let answer = write(&place, by, &way, &other.id).await;
            let taken = if by.starts_with("sign-up") || by == "invitation" { 422 } else { 409 };
            assert_eq!(answer.status, taken, "{by} of {way:?}: {answer:?}");
        }
        let path = format!("/api/v1/data/core/users?email=eq.{}", way.trim());
        let found = place.world.get(&path, &place.admin).await;
        assert_eq!(found.body["items"][0]["id"], made.body["id"], "{way:?}: {found:?}");
        // What is there already is met by its address.
        let merged = insert(
            &place,
            "/api/v1/data/core/users?on_conflict=email",
            &[("content-type", "application/json"), ("prefer", "resolution=merge-duplicates")],
            json!({"email": way, "display_name": way}).to_string(),
        )
        .await;
        assert_eq!((merged.status, &merged.body["id"]), (201, &made.body["id"]), "{way:?}: {merged:?}");
        assert_eq!(merged.body["email"], json!(address));
    }
}

#[tokio::test]
async fn every_way_in_takes_the_same_addresses() {
    let place = open().await;
    let other = place.person(&[]).await;
    let long = format!("{}@acme.example", "a".repeat(250));
    let wrong = ["ann", "ann@x", "ann@x..example", "ann@.example", "a nn@x.example", "a@b@c.example", &long];
    for (n, wrong) in wrong.into_iter().enumerate() {
        for by in writes(n) {
            let answer = write(&place, by, wrong, &other.id).await;
            assert!(matches!(answer.status, 400 | 422), "{by} of {wrong:?}: {answer:?}");
        }
        let me = place.sign_in(&other).await;
        let change = json!({"email": wrong, "current_password": PASSWORD});
        let changed = place.world.send(Method::PATCH, "/api/v1/auth/user", &me.access, Some(change)).await;
        changed.refused(422, "validation_failed");
        assert_eq!(changed.body["errors"][0]["pointer"], "/email", "{changed:?}");
    }
    for (n, by) in WRITES.iter().enumerate() {
        let written = format!("{}{n}@Acme.Example", unique("Ann."));
        let answer = write(&place, by, &written, &other.id).await;
        assert!((200..300).contains(&answer.status), "{by} of {written:?}: {answer:?}");
        let found =
            place.world.get(&format!("/api/v1/data/core/users?email=eq.{written}"), &place.admin).await;
        let user = &found.body["items"][0];
        assert_eq!(
            (&user["email"], &user["email_as_written"]),
            (&json!(written.to_lowercase()), &json!(written)),
            "{by}"
        );
    }
}

#[tokio::test]
async fn a_second_factor_holds_whoever_else_has_an_address_like_it() {
    let place = open().await;
    let written = format!("{}@Z.example", unique("Wil."));
    let body = json!({"email": written, "password_hash": BCRYPT});
    let wil = place.world.post("/api/v1/data/core/users", &place.admin, body).await;
    let tokens = Tokens::of(&place.try_sign_in(&written, PASSWORD).await);
    let enrol = json!({"current_password": PASSWORD});
    let enrolled = place.world.post("/api/v1/auth/totp", &tokens.access, enrol).await;
    let first = json!({"totp": code(enrolled.body["secret"].as_str().unwrap(), 0)});
    Tokens::of(&place.world.post("/api/v1/auth/totp/confirm", &tokens.access, first).await);
    let twin = json!({"email": written.to_lowercase(), "password": "Another fine day"});
    place.call("/api/v1/auth/signup", twin).await.refused(422, "user_already_exists");
    // What SQL writes past the form opens nothing, and hides nobody.
    let sql = format!(
        "INSERT INTO tenant_{}.core_user (id, email, password_hash, created_by, updated_by) \
         SELECT gen_random_uuid(), t, $2, 'sql', 'sql' FROM unnest($1::text[]) t",
        place.world.tenant.replace('-', "_")
    );
    let mut admin =
        sqlx::PgConnection::connect(&place.world.platform.endpoints().database_url).await.unwrap();
    let planted = vec![written.clone(), written.to_uppercase()];
    sqlx::query(sqlx::AssertSqlSafe(sql)).bind(planted).bind(BCRYPT).execute(&mut admin).await.unwrap();
    for way in [written.clone(), written.to_lowercase(), written.to_uppercase(), format!(" {written} ")] {
        place.try_sign_in(&way, PASSWORD).await.refused(401, "second_factor_required");
    }
    let shown: Value = place.world.get("/api/v1/auth/user", &tokens.access).await.body;
    assert_eq!(shown["id"], wil.body["id"]);
}
