use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};

use super::place::{PASSWORD, Place, Tokens};

/// The code that an authenticator shows for a secret in base32, `ahead` steps from now.
pub fn code(secret: &str, ahead: i64) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bits: String = secret.chars().map(|c| format!("{:05b}", ALPHABET.find(c).unwrap())).collect();
    let key: Vec<u8> =
        (0..bits.len() / 8).map(|n| u8::from_str_radix(&bits[n * 8..n * 8 + 8], 2).unwrap()).collect();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let step = (i64::try_from(now / 30).unwrap() + ahead).to_be_bytes();
    let mac = Hmac::<sha1::Sha1>::new_from_slice(&key).unwrap().chain_update(step).finalize().into_bytes();
    let at = usize::from(mac[19] & 15);
    let number = u32::from_be_bytes(mac[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

pub async fn sign_in_with(place: &Place, email: &str, totp: Option<&str>) -> tenantry_e2e::world::Answer {
    let mut body = json!({"grant_type": "password", "email": email, "password": PASSWORD});
    if let Some(totp) = totp {
        body["totp"] = json!(totp);
    }
    place.call("/api/v1/auth/token", body).await
}

/// Enrols an authenticator: its secret, recovery codes, and tokens with a second factor.
pub async fn enrolled(place: &Place, access: &str) -> (String, Vec<String>, Tokens) {
    let enrolled = place.world.post("/api/v1/auth/totp", access, json!({"current_password": PASSWORD})).await;
    let secret = enrolled.body["secret"].as_str().unwrap().to_owned();
    let first = json!({"totp": code(&secret, -1)});
    let confirmed = place.world.post("/api/v1/auth/totp/confirm", access, first).await;
    let codes = confirmed.body["recovery_codes"].as_array().unwrap();
    let codes = codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect();
    (secret, codes, Tokens::of(&confirmed))
}

#[tokio::test]
async fn the_codes_of_a_second_factor_cannot_all_be_tried() {
    let place = Place::new(json!({})).await;
    let person = place.person(&["reader"]).await;
    let tokens = place.sign_in(&person).await;
    let enrolled =
        place.world.post("/api/v1/auth/totp", &tokens.access, json!({"current_password": PASSWORD})).await;
    let secret = enrolled.body["secret"].as_str().unwrap();
    let first = json!({"totp": code(secret, -1)});
    Tokens::of(&place.world.post("/api/v1/auth/totp/confirm", &tokens.access, first).await);
    // Both need a session only, which somebody else may have come by.
    let verify = async |totp: &str| {
        place.world.post("/api/v1/auth/totp/verify", &tokens.access, json!({"totp": totp})).await
    };
    let remove = async |totp: &str| {
        let body = Some(json!({"totp": totp}));
        place.world.send(reqwest::Method::DELETE, "/api/v1/auth/totp", &tokens.access, body).await
    };
    for n in 0..5 {
        verify(&format!("{n:06}")).await.refused(401, "invalid_second_factor");
        remove(&format!("{n:06}")).await.refused(401, "invalid_second_factor");
    }
    verify(&code(secret, 0)).await.refused(429, "too_many_attempts");
    let locked = remove(&code(secret, 0)).await;
    locked.refused(429, "too_many_attempts");
    assert!(locked.headers.contains_key("retry-after"));
    // Of a session, that is: who knows the password and has the authenticator gets in.
    Tokens::of(&sign_in_with(&place, &person.email, Some(&code(secret, 0))).await);
}

#[tokio::test]
async fn a_role_that_asks_for_a_second_factor_is_had_only_with_one() {
    let place = Place::new(json!({"requireTotpForRoles": ["admin"]})).await;
    let person = place.person(&["admin", "reader"]).await;
    let answer = place.try_sign_in(&person.email, PASSWORD).await;
    assert_eq!(answer.body["roles_withheld"], json!(["admin"]));
    let tokens = Tokens::of(&answer);
    assert_eq!(place.cards_status(&tokens.access).await, 200, "a reader");
    place.world.get("/api/v1/data/core/users", &tokens.access).await.refused(403, "forbidden");

    let enrolled =
        place.world.post("/api/v1/auth/totp", &tokens.access, json!({"current_password": PASSWORD})).await;
    assert_eq!(enrolled.status, 201, "{enrolled:?}");
    let secret = enrolled.body["secret"].as_str().unwrap();
    assert!(enrolled.body["uri"].as_str().unwrap().starts_with("otpauth://totp/"));
    let confirm =
        |totp: &str| place.world.post("/api/v1/auth/totp/confirm", &tokens.access, json!({"totp": totp}));
    confirm("000000").await.refused(401, "invalid_second_factor");
    let confirmed = confirm(&code(secret, -1)).await;
    let raised = Tokens::of(&confirmed);
    assert_eq!(place.world.get("/api/v1/data/core/users", &raised.access).await.status, 200);
    // The rights stay with the session.
    let raised = Tokens::of(&place.try_refresh(&raised.refresh).await);
    assert_eq!(place.world.get("/api/v1/data/core/users", &raised.access).await.status, 200);

    sign_in_with(&place, &person.email, None).await.refused(401, "second_factor_required");
    sign_in_with(&place, &person.email, Some("123456")).await.refused(401, "invalid_second_factor");
    let now = code(secret, 0);
    Tokens::of(&sign_in_with(&place, &person.email, Some(&now)).await);
    sign_in_with(&place, &person.email, Some(&now)).await.refused(401, "invalid_second_factor");
    let recovery: Vec<Value> = confirmed.body["recovery_codes"].as_array().unwrap().clone();
    assert_eq!(recovery.len(), 10);
    let one = recovery[0].as_str().unwrap();
    Tokens::of(&sign_in_with(&place, &person.email, Some(one)).await);
    sign_in_with(&place, &person.email, Some(one)).await.refused(401, "invalid_second_factor");
    let left = place.world.get("/api/v1/auth/totp", &raised.access).await;
    assert_eq!(left.body, json!({"enabled": true, "recovery_codes_left": 9}));

    let again =
        place.world.post("/api/v1/auth/totp", &raised.access, json!({"current_password": PASSWORD})).await;
    again.refused(409, "conflict");
    let path = format!("/api/v1/auth/users/{}/totp", person.id);
    let gone = place.world.send(reqwest::Method::DELETE, &path, &place.admin, None).await;
    assert_eq!(gone.status, 204);
    place.sign_in(&person).await;
}
