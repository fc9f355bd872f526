//! What somebody set who never proved an address does not stay after somebody else's proof; and nobody learns who has an account.

use reqwest::Method;
use serde_json::{Value, json};
use tenantry_e2e::world::{Answer, unique};

use super::factors::code;
use super::mailbox::Mailbox;
use super::place::{PASSWORD, Place, Tokens};

const THEIRS: &str = "Attackers choose 1 too";
const MINE: &str = "Another fine day";

async fn place(waits: bool) -> (Mailbox, Place) {
    let (mailbox, url) = Mailbox::open().await;
    let auth =
        json!({"signUp": "Open", "invites": true, "requireVerifiedEmail": waits, "webhook": {"url": url}});
    (mailbox, Place::new(auth).await)
}

async fn sign_up(place: &Place, email: &str, password: &str, who: &str) -> Answer {
    let metadata = json!({"of": who});
    let body = json!({"email": email, "password": password, "display_name": who, "metadata": metadata});
    place.call("/api/v1/auth/signup", body).await
}

async fn verify(place: &Place, message: &Value) -> Answer {
    place.call("/api/v1/auth/verify", json!({"token": message["token"]})).await
}

#[tokio::test]
async fn a_verification_binds_what_its_own_sign_up_asked_for() {
    let (mailbox, place) = place(true).await;
    for mine_first in [false, true] {
        let email = format!("{}@y.example", unique("pam."));
        let mut messages = Vec::new();
        for (n, mine) in [mine_first, !mine_first].into_iter().enumerate() {
            let (password, who) = if mine { (MINE, "pam") } else { (THEIRS, "mallory") };
            assert_eq!(sign_up(&place, &email, password, who).await.status, 202);
            messages.push((mine, mailbox.nth("auth.verify", &email, n).await));
        }
        let (mine, theirs): (Vec<_>, Vec<_>) = messages.into_iter().partition(|(mine, _)| *mine);
        let verified = verify(&place, &mine[0].1).await;
        Tokens::of(&verified);
        let user = &verified.body["user"];
        assert_eq!((&user["display_name"], &user["metadata"]), (&json!("pam"), &json!({"of": "pam"})));
        place.try_sign_in(&email, THEIRS).await.refused(401, "invalid_credentials");
        Tokens::of(&place.try_sign_in(&email, MINE).await);
        verify(&place, &theirs[0].1).await.refused(401, "token_expired");
    }
}

#[tokio::test]
async fn who_has_a_verification_sent_again_gets_nobody_elses_password() {
    let (mailbox, place) = place(true).await;
    let email = format!("{}@y.example", unique("pam."));
    for (password, who) in [(THEIRS, "mallory"), (MINE, "pam")] {
        assert_eq!(sign_up(&place, &email, password, who).await.status, 202);
    }
    mailbox.nth("auth.verify", &email, 1).await;
    // One a minute: those before are older now.
    let mut admin = super::control::admin(&place).await;
    let sql = "UPDATE tenantry.auth_token SET created_at = now() - interval '2 minutes' WHERE email = $1";
    sqlx::query(sql).bind(&email).execute(&mut admin).await.unwrap();
    place.call("/auth/v1/resend", json!({"email": email})).await;
    let again = mailbox.nth("auth.verify", &email, 2).await;
    let verified = verify(&place, &again).await;
    let tokens = Tokens::of(&verified);
    assert_eq!(
        (&verified.body["user"]["display_name"], &verified.body["user"]["metadata"]),
        (&Value::Null, &json!({}))
    );
    for password in [THEIRS, MINE] {
        place.try_sign_in(&email, password).await.refused(401, "invalid_credentials");
    }
    let set = json!({"password": MINE});
    let set = place.world.send(Method::PATCH, "/api/v1/auth/user", &tokens.access, Some(set)).await;
    assert_eq!(set.status, 200, "{set:?}");
    Tokens::of(&place.try_sign_in(&email, MINE).await);
}

#[tokio::test]
async fn nothing_that_an_unproven_person_set_stays_after_a_recovery() {
    let (mailbox, place) = place(false).await;
    let email = format!("{}@y.example", unique("pam."));
    let attacker = Tokens::of(&sign_up(&place, &email, THEIRS, "mallory").await);
    let enrol = json!({"current_password": THEIRS});
    let enrolled = place.world.post("/api/v1/auth/totp", &attacker.access, enrol).await;
    let first = json!({"totp": code(enrolled.body["secret"].as_str().unwrap(), 0)});
    let attacker = Tokens::of(&place.world.post("/api/v1/auth/totp/confirm", &attacker.access, first).await);
    assert_eq!(place.call("/api/v1/auth/recover", json!({"email": email})).await.status, 202);
    let (_, _, message) = mailbox.wait("auth.recover", &email).await;
    let reset = json!({"token": message["token"], "password": MINE});
    let done = place.call("/api/v1/auth/reset", reset).await;
    let mine = Tokens::of(&done);
    assert_eq!(
        (&done.body["user"]["display_name"], &done.body["user"]["metadata"]),
        (&Value::Null, &json!({}))
    );
    place.try_refresh(&attacker.refresh).await.refused(401, "session_revoked");
    let factor = place.world.get("/api/v1/auth/totp", &mine.access).await;
    assert_eq!(factor.body["enabled"], false, "{factor:?}");
    let path = format!("/api/v1/audit?doc_type=factor&doc_id={}", done.body["user"]["id"].as_str().unwrap());
    let audit = place.world.get(&path, &place.admin).await;
    assert_eq!(audit.body["items"][0]["action"], "Delete", "{audit:?}");
    Tokens::of(&place.try_sign_in(&email, MINE).await);
}

#[tokio::test]
async fn an_account_that_an_administrator_made_keeps_its_authenticator_in_a_recovery() {
    let (mailbox, place) = place(false).await;
    let person = place.person(&[]).await;
    let tokens = place.sign_in(&person).await;
    let enrol = json!({"current_password": PASSWORD});
    let enrolled = place.world.post("/api/v1/auth/totp", &tokens.access, enrol).await;
    let first = json!({"totp": code(enrolled.body["secret"].as_str().unwrap(), 0)});
    let confirmed = place.world.post("/api/v1/auth/totp/confirm", &tokens.access, first).await;
    assert_eq!(place.call("/api/v1/auth/recover", json!({"email": person.email})).await.status, 202);
    let (_, _, message) = mailbox.wait("auth.recover", &person.email).await;
    let mut reset = json!({"token": message["token"], "password": MINE});
    place.call("/api/v1/auth/reset", reset.clone()).await.refused(401, "second_factor_required");
    reset["totp"] = confirmed.body["recovery_codes"][0].clone();
    Tokens::of(&place.call("/api/v1/auth/reset", reset).await);
}

#[tokio::test]
async fn the_answer_to_a_sign_up_tells_nothing_of_who_has_an_account() {
    let (mailbox, place) = place(true).await;
    let of_administrator = place.person(&[]).await.email;
    let [verified, waiting] = ["verified.", "waiting."].map(|who| format!("{}@y.example", unique(who)));
    for email in [&verified, &waiting] {
        assert_eq!(sign_up(&place, email, MINE, "pam").await.status, 202);
    }
    verify(&place, &mailbox.nth("auth.verify", &verified, 0).await).await;
    let new = format!("{}@y.example", unique("new."));
    for supabase in [false, true] {
        let mut shapes = Vec::new();
        for email in [&new, &verified, &waiting, &of_administrator] {
            let email = email.to_uppercase();
            let path = if supabase { "/auth/v1/signup" } else { "/api/v1/auth/signup" };
            let body = json!({"email": email, "password": THEIRS});
            let answer = place.call(path, body).await;
            shapes.push((answer.status, shape(&answer.body)));
        }
        assert!(shapes.iter().all(|other| *other == shapes[0]), "{shapes:#?}");
    }
    // Whose account it is hears that somebody tried.
    mailbox.notice(&verified, "sign_up").await;
    Tokens::of(&place.try_sign_in(&verified, MINE).await);
    place.try_sign_in(&verified, THEIRS).await.refused(401, "invalid_credentials");
}

/// An answer without what is another for everybody, but with the form of that.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            members.iter().map(|(name, member)| (name.clone(), shape(member))).collect()
        }
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::String(text) if uuid::Uuid::try_parse(text).is_ok() => {
            json!(format!("uuid {:?}", uuid::Uuid::try_parse(text).unwrap().get_version_num()))
        }
        Value::String(text) if text.contains('@') => json!(text == &text.to_uppercase()),
        // The database leaves out zeros at the end.
        Value::String(text) if text.ends_with('Z') && text.contains("T") => {
            let (_, digits) = text.trim_end_matches('Z').split_once('.').unwrap_or_default();
            assert!(digits.len() <= 6, "{text}");
            json!("time")
        }
        other => other.clone(),
    }
}
