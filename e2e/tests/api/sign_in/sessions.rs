use serde_json::json;
use tenantry_e2e::world::LIMIT;
use tenantry_rig::eventually;

use super::place::{BCRYPT, PASSWORD, Place, Tokens};

#[tokio::test]
async fn a_user_signs_in_goes_on_and_signs_out() {
    let place = Place::new(json!({})).await;
    let person = place.person(&["reader"]).await;
    let answer = place.try_sign_in(&person.email.to_uppercase(), PASSWORD).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body["expires_in"], 900);
    assert_eq!(answer.body["user"]["id"], person.id);
    assert!(!answer.body.to_string().contains("$2b$"), "no hash is shown");
    let first = Tokens::of(&answer);
    assert_eq!(place.cards_status(&first.access).await, 200);

    let me = place.world.get("/api/v1/auth/user", &first.access).await;
    assert_eq!((me.status, &me.body["email"]), (200, &json!(person.email)));
    let second = Tokens::of(&place.try_refresh(&first.refresh).await);
    assert_ne!(second.refresh, first.refresh);
    assert_eq!(place.cards_status(&second.access).await, 200);

    let sessions = place.world.get("/api/v1/auth/sessions", &second.access).await;
    assert_eq!(sessions.body["items"].as_array().unwrap().len(), 1, "{sessions:?}");
    let out = place.world.post("/api/v1/auth/logout", &second.access, json!({})).await;
    assert_eq!(out.status, 204, "{out:?}");
    place.try_refresh(&second.refresh).await.refused(401, "session_revoked");
    // Tokens of before are refused as soon as every replica has heard of it.
    for token in [&first.access, &second.access] {
        ended(&place, token).await;
    }
}

async fn ended(place: &Place, token: &str) {
    eventually("the session is known to have ended", LIMIT, || async {
        match place.cards_status(token).await {
            401 => Ok(()),
            other => Err(format!("{other}")),
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn tabs_that_refresh_at_once_get_the_same_token_and_a_stolen_one_ends_the_session() {
    let place = Place::new(json!({})).await;
    let person = place.person(&[]).await;
    let first = place.sign_in(&person).await;
    let tabs = futures::future::join_all((0..50).map(|_| place.try_refresh(&first.refresh))).await;
    let refreshed: std::collections::BTreeSet<String> =
        tabs.iter().map(|answer| Tokens::of(answer).refresh).collect();
    assert_eq!(refreshed.len(), 1, "one family, one successor");
    let second = Tokens::of(&tabs[0]);
    let third = Tokens::of(&place.try_refresh(&second.refresh).await);
    // Two generations old: somebody has a copy.
    place.try_refresh(&first.refresh).await.refused(401, "token_reused");
    place.try_refresh(&third.refresh).await.refused(401, "session_revoked");
    ended(&place, &third.access).await;
    // Other sessions of the user are as they were.
    let other = place.sign_in(&person).await;
    Tokens::of(&place.try_refresh(&other.refresh).await);
    let audit = place.sign_in(&person).await;
    assert_ne!(audit.refresh, other.refresh);
}

#[tokio::test]
async fn logging_out_elsewhere_and_everywhere() {
    let place = Place::new(json!({})).await;
    let person = place.person(&[]).await;
    let (here, there) = (place.sign_in(&person).await, place.sign_in(&person).await);
    let out = place.world.post("/api/v1/auth/logout", &here.access, json!({"scope": "others"})).await;
    assert_eq!(out.status, 204);
    place.try_refresh(&there.refresh).await.refused(401, "session_revoked");
    let here = Tokens::of(&place.try_refresh(&here.refresh).await);
    let again = place.sign_in(&person).await;
    place.world.post("/api/v1/auth/logout", &again.access, json!({"scope": "global"})).await;
    place.try_refresh(&here.refresh).await.refused(401, "session_revoked");
    ended(&place, &here.access).await;
}

#[tokio::test]
async fn a_new_password_is_checked_and_ends_the_other_sessions() {
    let place = Place::new(json!({"passwordPolicy": {"minLength": 12, "minClasses": 2}})).await;
    let person = place.person(&[]).await;
    let (here, there) = (place.sign_in(&person).await, place.sign_in(&person).await);
    let change =
        |body| place.world.send(reqwest::Method::PATCH, "/api/v1/auth/user", &here.access, Some(body));
    for weak in ["short", "aaaaaaaaaaaaaaaa", "onlylowercase"] {
        change(json!({"password": weak})).await.refused(422, "weak_password");
    }
    change(json!({"roles": ["admin"]})).await.refused(422, "validation_failed");
    let new = "Another fine day 7";
    assert_eq!(change(json!({"password": new, "display_name": "Ann"})).await.body["display_name"], "Ann");
    place.try_sign_in(&person.email, PASSWORD).await.refused(401, "invalid_credentials");
    assert_eq!(place.try_sign_in(&person.email, new).await.status, 200);
    place.try_refresh(&there.refresh).await.refused(401, "session_revoked");
    Tokens::of(&place.try_refresh(&here.refresh).await);
}

#[tokio::test]
async fn hashes_from_elsewhere_sign_in_and_are_replaced() {
    let place = Place::new(json!({})).await;
    let pbkdf2 = pbkdf2_hash();
    for hash in [BCRYPT, &pbkdf2] {
        let person = place.person_with(&[], Some(hash)).await;
        place.try_sign_in(&person.email, "wrong").await.refused(401, "invalid_credentials");
        place.sign_in(&person).await;
        let stored = stored_hash(&place, &person.id).await;
        assert!(stored.starts_with("$argon2id$"), "{stored}");
        place.sign_in(&person).await;
        assert_eq!(stored_hash(&place, &person.id).await, stored, "and stay as they are");
    }
}

#[tokio::test]
async fn hashes_that_open_nothing_or_cost_too_much_are_refused() {
    let place = Place::new(json!({})).await;
    for hash in [
        "correct horse battery staple",
        &BCRYPT.replacen("$04$", "$15$", 1),
        "$argon2id$v=19$m=262144,t=3,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
        "pbkdf2_sha256$5000000$pepper$jP6qCDAd4ehFIUIu1Lv2h30F4ZCnbrumk02S6HI6UkM=",
    ] {
        let body = json!({"email": "ann@acme.example", "password_hash": hash});
        let refused = place.world.post("/api/v1/data/core/users", &place.admin, body).await;
        refused.refused(422, "validation_failed");
        assert_eq!(refused.body["errors"][0]["pointer"], "/password_hash", "{hash}: {refused:?}");
    }
}

/// As Django makes it of [`PASSWORD`].
fn pbkdf2_hash() -> String {
    "pbkdf2_sha256$1000$pepper$jP6qCDAd4ehFIUIu1Lv2h30F4ZCnbrumk02S6HI6UkM=".to_owned()
}

async fn stored_hash(place: &Place, id: &str) -> String {
    use sqlx::Connection;
    let url = &place.world.platform.endpoints().database_url;
    let mut admin = sqlx::PgConnection::connect(url).await.unwrap();
    let schema = format!("tenant_{}", place.world.tenant.replace('-', "_"));
    let query = format!("SELECT password_hash FROM {schema}.core_user WHERE id = $1::uuid");
    sqlx::query_scalar(sqlx::AssertSqlSafe(query)).bind(id).fetch_one(&mut admin).await.unwrap()
}

#[tokio::test]
async fn a_dump_of_the_journals_opens_nothing() {
    let place = Place::new(json!({})).await;
    let person = place.person(&[]).await;
    let tokens = place.sign_in(&person).await;
    use sqlx::Connection;
    let url = &place.world.platform.endpoints().database_url;
    let mut admin = sqlx::PgConnection::connect(url).await.unwrap();
    for table in
        ["auth_session", "auth_token", "auth_attempt", "auth_factor", "auth_change", "outbox", "audit"]
    {
        let query = format!("SELECT t::text FROM tenantry.{table} t");
        let rows: Vec<String> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_all(&mut admin).await.unwrap();
        let body = &tokens.refresh["tnr_".len() + 10..];
        assert!(!rows.iter().any(|row| row.contains(body) || row.contains(PASSWORD)), "{table}");
    }
}
