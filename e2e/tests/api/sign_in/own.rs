//! What users keep in their own account, and how their passwords are compared.

use reqwest::Method;
use serde_json::{Value, json};
use tenantry_e2e::world::unique;

use super::place::{Place, Tokens};

const COMPOSED: &str = "émile Paris 2026 x";
const APART: &str = "e\u{301}mile\u{a0}Paris 2026 x";

async fn open() -> Place {
    Place::new(json!({"signUp": "Open"})).await
}

#[tokio::test]
async fn a_password_is_the_same_however_a_keyboard_writes_it() {
    let place = open().await;
    for (chosen, shown) in [(COMPOSED, APART), (APART, COMPOSED)] {
        let email = format!("{}@acme.example", unique("emile."));
        let made = place.call("/api/v1/auth/signup", json!({"email": email, "password": chosen})).await;
        let tokens = Tokens::of(&made);
        for password in [chosen, shown] {
            Tokens::of(&place.try_sign_in(&email, password).await);
        }
        let new = format!("{chosen} too");
        let change = json!({"password": new, "current_password": shown});
        let changed =
            place.world.send(Method::PATCH, "/api/v1/auth/user", &tokens.access, Some(change)).await;
        assert_eq!(changed.status, 200, "{changed:?}");
        Tokens::of(&place.try_sign_in(&email, &format!("{shown} too")).await);
        place.try_sign_in(&email, shown).await.refused(401, "invalid_credentials");
    }
}

#[tokio::test]
async fn members_of_metadata_that_are_null_are_taken_out() {
    let place = open().await;
    let email = format!("{}@acme.example", unique("ann."));
    let body = json!({"email": email, "password": COMPOSED, "metadata": {"a": 1, "b": 2, "c": {"d": null}}});
    let tokens = Tokens::of(&place.call("/api/v1/auth/signup", body).await);
    let supabase = async |data: Value| {
        let body = Some(json!({"data": data}));
        place.world.send(Method::PUT, "/auth/v1/user", &tokens.access, body).await.body["user_metadata"]
            .clone()
    };
    assert_eq!(supabase(json!({"a": null})).await, json!({"b": 2, "c": {"d": null}}));
    assert_eq!(
        supabase(json!({"x": null, "b": {"e": null}})).await,
        json!({"b": {"e": null}, "c": {"d": null}})
    );
    let native = Some(json!({"metadata": {"c": null, "f": 3}}));
    let native = place.world.send(Method::PATCH, "/api/v1/auth/user", &tokens.access, native).await;
    assert_eq!(native.body["metadata"], json!({"b": {"e": null}, "f": 3}));
}

#[tokio::test]
async fn metadata_has_one_bound_however_many_changes_it_comes_in() {
    let place = open().await;
    let email = format!("{}@acme.example", unique("ann."));
    let tokens =
        Tokens::of(&place.call("/api/v1/auth/signup", json!({"email": email, "password": COMPOSED})).await);
    let change = async |metadata: Value| {
        let body = Some(json!({"metadata": metadata}));
        place.world.send(Method::PATCH, "/api/v1/auth/user", &tokens.access, body).await
    };
    let part = |name: &str| json!({name: "x".repeat(6000)});
    for name in ["a", "b"] {
        assert_eq!(change(part(name)).await.status, 200);
    }
    change(part("c")).await.refused(422, "validation_failed");
    // Nor when they come at the same moment.
    let many = (0..12).map(|n| change(json!({format!("m{n}"): "x".repeat(3000)})));
    futures::future::join_all(many).await;
    let kept = place.world.get("/api/v1/auth/user", &tokens.access).await.body["metadata"].to_string();
    assert!(kept.len() <= 32 * 1024, "{}", kept.len());
    assert_eq!(change(json!({"a": null, "b": null})).await.status, 200);
}
