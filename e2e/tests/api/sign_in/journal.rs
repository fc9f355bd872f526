//! What the audit journal tells of accounts.

use reqwest::Method;
use serde_json::{Value, json};
use tenantry_e2e::world::unique;

use super::factors::code;
use super::place::{PASSWORD, Place, Tokens};

/// The rows about things of this type, oldest first.
async fn rows(place: &Place, doc_type: &str) -> Vec<Value> {
    let page =
        place.world.get(&format!("/api/v1/audit?app=core&doc_type={doc_type}&limit=500"), &place.admin).await;
    assert_eq!(page.status, 200, "{page:?}");
    let mut rows = page.body["items"].as_array().unwrap().clone();
    for row in &rows {
        assert_eq!(row["client"], "127.0.0.1", "{row}");
        assert!(row["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{row}");
    }
    rows.reverse();
    rows
}

fn told<'a>(rows: &'a [Value], action: &str) -> Vec<&'a Value> {
    rows.iter().filter(|row| row["action"] == action).collect()
}

#[tokio::test]
async fn who_takes_somebody_elses_second_factor_or_session_away_is_named_and_not_whose_it_was() {
    let place = Place::new(json!({})).await;
    let person = place.person(&[]).await;
    let tokens = place.sign_in(&person).await;
    let enrolled =
        place.world.post("/api/v1/auth/totp", &tokens.access, json!({"current_password": PASSWORD})).await;
    let first = json!({"totp": code(enrolled.body["secret"].as_str().unwrap(), -1)});
    let raised = place.world.post("/api/v1/auth/totp/confirm", &tokens.access, first).await;
    Tokens::of(&raised);
    for what in ["totp", "sessions"] {
        let path = format!("/api/v1/auth/users/{}/{what}", person.id);
        assert_eq!(place.world.send(Method::DELETE, &path, &place.admin, None).await.status, 204);
    }
    let factor = rows(&place, "factor").await;
    let acts: Vec<_> = factor.iter().map(|row| (&row["action"], &row["actor"], &row["doc_id"])).collect();
    let (user, root) = (json!(person.id), json!("root"));
    let (create, update, delete) = (json!("Create"), json!("Update"), json!("Delete"));
    assert_eq!(acts, [(&create, &user, &user), (&update, &user, &user), (&delete, &root, &user)]);
    let sessions = rows(&place, "session").await;
    let of = |action| told(&sessions, action).iter().map(|row| row["actor"].clone()).collect::<Vec<_>>();
    assert_eq!(
        (of("Create"), of("Update"), of("Delete")),
        (vec![user.clone()], vec![user.clone()], vec![root])
    );
    assert!(
        sessions.iter().all(|row| row["action"] == "Update" || row["changes"]["user"] == user),
        "{sessions:?}"
    );
    // Codes and secrets are in none of it.
    let all = json!([factor, sessions]).to_string();
    for secret in [&enrolled.body["secret"], &raised.body["recovery_codes"][0]] {
        assert!(!all.contains(secret.as_str().unwrap()), "{all}");
    }
}

#[tokio::test]
async fn failed_sign_ins_are_told_and_nobody_fills_the_journal_with_them() {
    let place = Place::new(json!({})).await;
    let person = place.person(&[]).await;
    for n in 0..4 {
        place.try_sign_in(&person.email, &format!("wrong {n}")).await.refused(401, "invalid_credentials");
        let nobody = format!("{}@acme.example", unique("nobody."));
        place.try_sign_in(&nobody, "wrong").await.refused(401, "invalid_credentials");
    }
    let failed = rows(&place, "failed_sign_in").await;
    for account in [json!(person.id), json!("unknown")] {
        let of_account: Vec<&Value> = failed.iter().filter(|row| row["doc_id"] == account).collect();
        // Two where an hour ended meanwhile.
        assert!((1..=2).contains(&of_account.len()), "{failed:?}");
        for row in of_account {
            assert_eq!(
                (&row["actor"], &row["changes"]),
                (&json!("anon"), &json!({"failures": 1, "shown": "password"}))
            );
        }
    }
}

#[tokio::test]
async fn a_refresh_token_that_was_used_twice_was_used_by_nobody_who_is_known() {
    let place = Place::new(json!({})).await;
    let person = place.person(&[]).await;
    let first = place.sign_in(&person).await;
    let second = Tokens::of(&place.try_refresh(&first.refresh).await);
    Tokens::of(&place.try_refresh(&second.refresh).await);
    place.try_refresh(&first.refresh).await.refused(401, "token_reused");
    let ended = rows(&place, "session").await;
    let ended = told(&ended, "Delete");
    assert_eq!(
        (ended.len(), &ended[0]["actor"], &ended[0]["changes"]["user"]),
        (1, &json!("anon"), &json!(person.id))
    );
}
