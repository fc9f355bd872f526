//! What Supabase's clients read of a user.

use serde_json::{Value, json};
use tenantry_e2e::world::unique;

use super::mailbox::Mailbox;
use super::place::{PASSWORD, Place, Tokens};

async fn sign_up(place: &Place, email: &str) -> (u16, Value) {
    let body = json!({"email": email, "password": PASSWORD, "data": {"team": "blue"}});
    let answer = place.call("/auth/v1/signup", body).await;
    (answer.status, answer.body)
}

#[tokio::test]
async fn a_user_has_an_identity_and_is_confirmed_where_nothing_has_to_be_verified() {
    let place = Place::new(json!({"signUp": "Open"})).await;
    let email = format!("{}@acme.example", unique("new."));
    let (status, made) = sign_up(&place, &email).await;
    assert_eq!(status, 200, "{made}");
    let user = &made["user"];
    assert_eq!(user["email_confirmed_at"], user["created_at"], "{user}");
    let identity = &user["identities"][0];
    assert_eq!(
        (&identity["provider"], &identity["user_id"], &identity["identity_data"]["email"]),
        (&json!("email"), &user["id"], &json!(email))
    );
    let began = user["last_sign_in_at"].as_str().unwrap();
    let token = made["access_token"].as_str().unwrap();
    let seen = place.world.get("/auth/v1/user", token).await;
    assert_eq!((seen.status, &seen.body["last_sign_in_at"]), (200, &json!(began)), "{seen:?}");
    assert_eq!(
        (&seen.body["identities"], &seen.body["email_confirmed_at"]),
        (&user["identities"], &user["created_at"])
    );
    let (status, again) = sign_up(&place, &email).await;
    assert_eq!((status, &again["code"]), (422, &json!("user_already_exists")), "{again}");
}

#[tokio::test]
async fn a_sign_up_that_waits_looks_the_same_whether_or_not_the_address_is_taken() {
    let (mailbox, url) = Mailbox::open().await;
    let auth = json!({"signUp": "Open", "requireVerifiedEmail": true, "webhook": {"url": url}});
    let place = Place::new(auth).await;
    let email = format!("{}@acme.example", unique("new."));
    let (first, new) = sign_up(&place, &email).await;
    let (second, unconfirmed) = sign_up(&place, &email).await;
    let (_, _, message) = mailbox.wait("auth.verify", &email).await;
    let verified = place.call("/api/v1/auth/verify", json!({"token": message["token"]})).await;
    let token = Tokens::of(&verified).access;
    let (third, confirmed) = sign_up(&place, &email).await;
    assert_eq!([first, second, third], [200, 200, 200], "{new} {unconfirmed} {confirmed}");
    // All but what is new each time.
    let shape = |user: &Value| {
        let mut user = user.clone();
        for name in ["id", "created_at", "updated_at"] {
            assert!(user[name].is_string(), "{user}");
            user[name] = Value::Null;
        }
        for name in ["identity_id", "id", "user_id", "created_at", "updated_at"] {
            assert!(user["identities"][0][name].is_string(), "{user}");
            user["identities"][0][name] = Value::Null;
        }
        user["identities"][0]["identity_data"]["sub"] = Value::Null;
        user
    };
    assert_eq!(shape(&new), shape(&unconfirmed));
    assert_eq!(shape(&new), shape(&confirmed));
    assert_eq!((&new["email_confirmed_at"], new.get("last_sign_in_at")), (&Value::Null, None));
    let seen = place.world.get("/auth/v1/user", &token).await;
    assert!(seen.body["email_confirmed_at"].is_string(), "{seen:?}");
}
