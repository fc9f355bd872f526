//! What a tenant's webhook gets, and what becomes of it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use standardwebhooks::Webhook;
use tenantry_e2e::world::unique;
use tenantry_rig::eventually;

use super::place::{PASSWORD, Place, Tokens};

/// A request as it came.
type Received = (HeaderMap, Vec<u8>);

#[derive(Clone, Default)]
pub struct Mailbox {
    got: Arc<Mutex<Vec<Received>>>,
    failing: Arc<Mutex<u32>>,
}

impl Mailbox {
    /// Listens on this machine; the URL is where.
    #[allow(clippy::disallowed_methods, reason = "only the control plane under test asks here")]
    pub async fn open() -> (Self, String) {
        let mailbox = Self::default();
        let inner = mailbox.clone();
        let take = move |headers: HeaderMap, body: Bytes| {
            let inner = inner.clone();
            async move {
                let mut failing = inner.failing.lock().unwrap();
                if *failing > 0 {
                    *failing -= 1;
                    return StatusCode::BAD_GATEWAY;
                }
                inner.got.lock().unwrap().push((headers, body.to_vec()));
                StatusCode::NO_CONTENT
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mail", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/mail", post(take))).await });
        (mailbox, url)
    }

    /// The message of this kind to `email` after so many others, when it is there.
    pub async fn nth(&self, kind: &str, email: &str, n: usize) -> Value {
        eventually("the message has come", Duration::from_secs(40), || async {
            let messages = self.messages(kind, email);
            messages.get(n).cloned().ok_or_else(|| format!("{} messages", messages.len()))
        })
        .await
        .unwrap()
    }

    /// The notice to `email` of something that happened, when it is there.
    pub async fn notice(&self, email: &str, event: &str) -> Value {
        eventually("the notice has come", Duration::from_secs(40), || async {
            let notices = self.messages("auth.notice", email);
            let of = |notice: &&Value| notice["events"].as_array().unwrap().contains(&json!(event));
            notices.iter().find(of).cloned().ok_or_else(|| format!("{notices:?}"))
        })
        .await
        .unwrap()
    }

    /// Those of a kind to `email`, in the order in which they were written: several are on their way at once.
    fn messages(&self, kind: &str, email: &str) -> Vec<Value> {
        let got = self.got.lock().unwrap();
        let read = got.iter().map(|(_, body)| serde_json::from_slice::<Value>(body).unwrap());
        let mut messages: Vec<Value> =
            read.filter(|value| value["type"] == kind && value["email"] == email).collect();
        messages.sort_by_key(|message| message["id"].as_str().unwrap().to_owned());
        messages
    }

    /// The message of this kind to `email`, when it is there.
    pub async fn wait(&self, kind: &str, email: &str) -> (HeaderMap, Vec<u8>, Value) {
        eventually("the message has come", Duration::from_secs(40), || async {
            let got = self.got.lock().unwrap();
            got.iter()
                .rev()
                .map(|(headers, body)| (headers.clone(), body.clone(), serde_json::from_slice(body).unwrap()))
                .find(|(_, _, value): &(_, _, Value)| value["type"] == kind && value["email"] == email)
                .ok_or_else(|| format!("{} messages", got.len()))
        })
        .await
        .unwrap()
    }
}

#[tokio::test]
async fn nobody_makes_an_account_where_the_tenant_does_not_say_so() {
    let place = Place::new(json!({})).await;
    let body = json!({"email": "new@acme.example", "password": PASSWORD});
    place.call("/api/v1/auth/signup", body).await.refused(403, "signup_disabled");
    let invite =
        place.world.post("/api/v1/auth/invite", &place.admin, json!({"email": "new@acme.example"})).await;
    invite.refused(403, "forbidden");
}

#[tokio::test]
async fn an_account_is_verified_by_what_the_webhook_got() {
    let (mailbox, url) = Mailbox::open().await;
    *mailbox.failing.lock().unwrap() = 1;
    let place =
        Place::new(json!({"signUp": "Open", "requireVerifiedEmail": true, "webhook": {"url": url}})).await;
    let email = format!("{}@acme.example", unique("new."));
    let body = json!({"email": email, "password": PASSWORD, "metadata": {"team": "blue"}});
    let made = place.call("/api/v1/auth/signup", body.clone()).await;
    assert_eq!(made.status, 202, "{made:?}");
    assert!(made.body.get("access_token").is_none());
    place.try_sign_in(&email, PASSWORD).await.refused(403, "email_not_confirmed");
    // The address is taken, and nobody learns of it.
    let again = place.call("/api/v1/auth/signup", body).await;
    assert_eq!(again.status, 202, "{again:?}");

    let (headers, raw, message) = mailbox.wait("auth.verify", &email).await;
    let signature = headers["authorization"].to_str().unwrap().strip_prefix("Bearer ").unwrap().to_owned();
    let part = |n: usize| -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(signature.split('.').nth(n).unwrap()).unwrap())
            .unwrap()
    };
    let digest: String = Sha256::digest(&raw).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((&part(0)["typ"], &part(0)["alg"]), (&json!("webhook+jwt"), &json!("ES256")));
    assert_eq!(part(1)["sha256"], json!(digest));
    assert_eq!(part(1)["aud"], json!(format!("webhook:{}", place.world.tenant)));
    // The same by Standard Webhooks, with the secret that administrators are told.
    let hook = place.world.get("/api/v1/auth/webhook", &place.admin).await;
    assert_eq!((hook.status, &hook.body["url"]), (200, &json!(url)), "{hook:?}");
    let verifier = Webhook::new(hook.body["secret"].as_str().unwrap()).unwrap();
    verifier.verify(&raw, &headers).unwrap();
    assert_eq!(headers["webhook-id"], message["id"].as_str().unwrap());
    assert!(verifier.verify(&[&raw[..], b" "].concat(), &headers).is_err(), "another body");
    let person = place.person(&["reader"]).await;
    let other = Place::new(json!({"webhook": {"url": url}})).await;
    let theirs = other.world.get("/api/v1/auth/webhook", &other.admin).await;
    assert_ne!(theirs.body["secret"], hook.body["secret"], "each tenant has its own");
    let user = place.world.user(&person.id, &["reader"]).await;
    place.world.get("/api/v1/auth/webhook", &user).await.refused(403, "forbidden");
    // What signs the request is no access token.
    place.world.get(&place.cards(), &signature).await.refused(401, "unauthenticated");

    let token = message["token"].as_str().unwrap();
    place.world.get(&place.cards(), token).await.refused(401, "unauthenticated");
    place.try_refresh(token).await.refused(401, "session_revoked");
    let reset = json!({"token": token, "password": "Another fine day"});
    place.call("/api/v1/auth/reset", reset).await.refused(401, "token_expired");
    let verified = place.call("/api/v1/auth/verify", json!({"token": token})).await;
    Tokens::of(&verified);
    assert!(verified.body["user"]["email_verified_at"].is_string());
    assert_eq!(verified.body["user"]["metadata"]["team"], "blue");
    place.call("/api/v1/auth/verify", json!({"token": token})).await.refused(401, "token_expired");
    Tokens::of(&place.try_sign_in(&email, PASSWORD).await);
}

#[tokio::test]
async fn a_password_is_reset_once_and_only_by_who_reads_the_mail() {
    let (mailbox, url) = Mailbox::open().await;
    let place = Place::new(json!({"webhook": {"url": url}})).await;
    let person = place.person(&[]).await;
    let before = place.sign_in(&person).await;
    let unknown = place.call("/api/v1/auth/recover", json!({"email": "nobody@acme.example"})).await;
    assert_eq!(unknown.status, 202);
    assert_eq!(place.call("/api/v1/auth/recover", json!({"email": person.email})).await.status, 202);
    let (_, _, message) = mailbox.wait("auth.recover", &person.email).await;
    let token = message["token"].as_str().unwrap();
    let reset =
        |password: &str| place.call("/api/v1/auth/reset", json!({"token": token, "password": password}));
    reset("short").await.refused(422, "weak_password");
    let new = "Another fine day";
    let both = tokio::join!(reset(new), reset(new));
    let statuses = [both.0.status, both.1.status];
    assert!(statuses.contains(&200) && statuses.contains(&401), "{statuses:?}");
    place.try_refresh(&before.refresh).await.refused(401, "session_revoked");
    place.try_sign_in(&person.email, PASSWORD).await.refused(401, "invalid_credentials");
    Tokens::of(&place.try_sign_in(&person.email, new).await);
}

#[tokio::test]
async fn who_is_invited_chooses_a_password() {
    let (mailbox, url) = Mailbox::open().await;
    let place = Place::new(json!({"invites": true, "webhook": {"url": url}})).await;
    let email = format!("{}@acme.example", unique("guest."));
    let invitation = json!({"email": email, "roles": [place.role("reader")]});
    let person = place.person(&["reader"]).await;
    let user = place.sign_in(&person).await;
    place.world.post("/api/v1/auth/invite", &user.access, invitation.clone()).await.refused(403, "forbidden");
    let invited = place.world.post("/api/v1/auth/invite", &place.admin, invitation).await;
    assert_eq!(invited.status, 201, "{invited:?}");
    place.try_sign_in(&email, "").await.refused(401, "invalid_credentials");
    let (_, _, message) = mailbox.wait("auth.invite", &email).await;
    let accepted = json!({"token": message["token"], "password": PASSWORD});
    let tokens = Tokens::of(&place.call("/api/v1/auth/reset", accepted).await);
    assert_eq!(place.cards_status(&tokens.access).await, 200);
}
