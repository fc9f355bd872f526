//! What changes who controls an account ends every other way into it.

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Connection;
use tenantry_e2e::world::{Answer, answer, unique};
use uuid::Uuid;

use super::factors::code;
use super::mailbox::Mailbox;
use super::place::{BCRYPT, PASSWORD, Person, Place, Tokens};

const KINDS: [(&str, &str); 4] = [
    ("Verify", "auth.verify"),
    ("Recover", "auth.recover"),
    ("Invite", "auth.invite"),
    ("ChangeEmail", "auth.change_email"),
];

/// bcrypt of another password, cost 4.
const ANOTHER: &str = "$2b$04$abcdefghijklmnopqrstuuUvVyqRWEOqwmHQ6BqONQ4H4nHyHcY2K";

/// What happens to an account, and what of it goes on.
#[derive(Debug, Clone, Copy)]
struct Event {
    name: &'static str,
    /// Whether the session that does it goes on.
    keeps: bool,
    /// What the webhook is told of it, if anything.
    told: Option<&'static str>,
}

const fn event(name: &'static str, keeps: bool, told: Option<&'static str>) -> Event {
    Event { name, keeps, told }
}

const EVENTS: [Event; 17] = [
    event("the user sets a password", true, Some("password")),
    event("the user sets a password as Supabase's clients do", true, Some("password")),
    event("a reset", false, Some("password")),
    event("the user's new address is verified", false, Some("email")),
    event("the address is verified", false, None),
    event("the user adds an authenticator", true, Some("second_factor")),
    event("the user removes the authenticator", true, Some("second_factor")),
    event("an administrator takes the authenticator away", false, Some("second_factor")),
    event("an administrator sets a password", false, Some("password")),
    event("an administrator sets a password in a batch", false, Some("password")),
    event("an administrator sets passwords of those that match", false, Some("password")),
    event("an administrator merges a password", false, Some("password")),
    event("an administrator sets an address", false, Some("email")),
    event("an administrator disables the account", false, Some("disabled")),
    event("an administrator removes the account", false, Some("deleted")),
    event("the user signs out everywhere", false, None),
    event("an administrator signs the user out", false, None),
];

/// One account with all that opens it.
struct Account<'a> {
    place: &'a Place,
    mailbox: &'a Mailbox,
    person: Person,
    /// The one that acts, and another one.
    sessions: [Tokens; 2],
    /// Codes that each stand for the authenticator once.
    recovery: Vec<String>,
}

impl<'a> Account<'a> {
    async fn new(place: &'a Place, mailbox: &'a Mailbox, event: Event) -> Self {
        let person = place.person(&[]).await;
        let first = place.sign_in(&person).await;
        let has_factor = event.name.contains("removes the authenticator") || event.name.contains("away");
        let recovery = if has_factor { enrol(place, &first).await } else { Vec::new() };
        let other = match recovery.first() {
            Some(code) => sign_in_with(place, &person, code).await,
            None => place.sign_in(&person).await,
        };
        // What became of the authenticator ended the sessions of before, and is not what is looked at here.
        let sessions = match has_factor {
            true => [Tokens::of(&place.try_refresh(&first.refresh).await), other],
            false => [first, other],
        };
        Self { place, mailbox, person, sessions, recovery }
    }

    /// A one-time token of this kind, as it comes by mail.
    async fn token(&self, kind: &str, message: &str) -> String {
        let email = format!("{}@acme.example", unique("mail."));
        let sql = "INSERT INTO tenantry.auth_token (id, role, kind, user_id, email, expires_at, due_at) \
            SELECT $1, tenant_role::name, $2, $3, $4, now() + interval '1 day', now() FROM tenantry.tenant WHERE name = $5";
        let mut admin = admin(self.place).await;
        let row =
            sqlx::query(sql).bind(Uuid::now_v7()).bind(kind).bind(self.person.id.parse::<Uuid>().unwrap());
        row.bind(&email).bind(&self.place.world.tenant).execute(&mut admin).await.unwrap();
        let (_, _, message) = self.mailbox.wait(message, &email).await;
        message["token"].as_str().unwrap().to_owned()
    }

    async fn redeem(&self, kind: &str, token: &str) -> Answer {
        match kind {
            "Verify" | "ChangeEmail" => self.place.call("/api/v1/auth/verify", json!({"token": token})).await,
            _ => {
                let body = json!({"token": token, "password": "Another fine day"});
                self.place.call("/api/v1/auth/reset", body).await
            }
        }
    }

    async fn act(&self, event: Event) -> Answer {
        let (world, admin, [acting, _]) = (&self.place.world, &self.place.admin, &self.sessions);
        let users = "/api/v1/data/core/users";
        let mine = format!("{users}/{}", self.person.id);
        let patch = async |body: Value| world.send(Method::PATCH, &mine, admin, Some(body)).await;
        let hash = json!({"password_hash": ANOTHER});
        match event.name {
            "the user sets a password" => {
                let body = json!({"password": "Another fine day", "current_password": PASSWORD});
                world.send(Method::PATCH, "/api/v1/auth/user", &acting.access, Some(body)).await
            }
            "the user sets a password as Supabase's clients do" => {
                let body = json!({"password": "Another fine day"});
                world.send(Method::PUT, "/auth/v1/user", &acting.access, Some(body)).await
            }
            "a reset" => self.redeem("Recover", &self.token("Recover", "auth.recover").await).await,
            "the user's new address is verified" => {
                self.redeem("ChangeEmail", &self.token("ChangeEmail", "auth.change_email").await).await
            }
            "the address is verified" => {
                self.redeem("Verify", &self.token("Verify", "auth.verify").await).await
            }
            "the user adds an authenticator" => {
                enrol(self.place, acting).await;
                world.get("/api/v1/auth/totp", &acting.access).await
            }
            "the user removes the authenticator" => {
                let body = json!({"totp": self.recovery[1]});
                world.send(Method::DELETE, "/api/v1/auth/totp", &acting.access, Some(body)).await
            }
            "an administrator takes the authenticator away" => {
                let path = format!("/api/v1/auth/users/{}/totp", self.person.id);
                world.send(Method::DELETE, &path, admin, None).await
            }
            "an administrator sets a password" => patch(hash).await,
            "an administrator sets a password in a batch" => {
                let one = json!({"op": "update", "type": "core/users", "id": self.person.id, "body": hash});
                world.post("/api/v1/batch", admin, json!({"operations": [one]})).await
            }
            "an administrator sets passwords of those that match" => {
                let path = format!("{users}?id=eq.{}", self.person.id);
                world.send(Method::PATCH, &path, admin, Some(hash)).await
            }
            "an administrator merges a password" => {
                let body = json!({"email": self.person.email, "password_hash": ANOTHER});
                self.upsert("email", body).await
            }
            "an administrator sets an address" => {
                patch(json!({"email": format!("{}@acme.example", unique("new."))})).await
            }
            "an administrator disables the account" => {
                assert_eq!(patch(json!({"enabled": false})).await.status, 200);
                patch(json!({"enabled": true})).await
            }
            "an administrator removes the account" => {
                assert_eq!(world.send(Method::DELETE, &mine, admin, None).await.status, 204);
                // Whoever has the id next has none of it.
                let body = json!({"id": self.person.id, "email": self.person.email, "password_hash": BCRYPT});
                self.upsert("id", body).await
            }
            "the user signs out everywhere" => {
                world.post("/api/v1/auth/logout", &acting.access, json!({"scope": "global"})).await
            }
            "an administrator signs the user out" => {
                let path = format!("/api/v1/auth/users/{}/sessions", self.person.id);
                world.send(Method::DELETE, &path, admin, None).await
            }
            other => unreachable!("{other}"),
        }
    }

    async fn upsert(&self, on: &str, body: Value) -> Answer {
        let path = format!("/api/v1/data/core/users?on_conflict={on}");
        let request = self.place.world.request(Method::POST, &path).bearer_auth(&self.place.admin);
        answer(request.header("prefer", "resolution=merge-duplicates").json(&body)).await
    }
}

pub async fn admin(place: &Place) -> sqlx::PgConnection {
    sqlx::PgConnection::connect(&place.world.platform.endpoints().database_url).await.unwrap()
}

/// Adds an authenticator; yields its recovery codes.
async fn enrol(place: &Place, session: &Tokens) -> Vec<String> {
    let enrol = json!({"current_password": PASSWORD});
    let enrolled = place.world.post("/api/v1/auth/totp", &session.access, enrol).await;
    let first = json!({"totp": code(enrolled.body["secret"].as_str().unwrap(), 0)});
    let confirmed = place.world.post("/api/v1/auth/totp/confirm", &session.access, first).await;
    assert_eq!(confirmed.status, 200, "{confirmed:?}");
    serde_json::from_value(confirmed.body["recovery_codes"].clone()).unwrap()
}

async fn sign_in_with(place: &Place, person: &Person, totp: &str) -> Tokens {
    let body = json!({"grant_type": "password", "email": person.email, "password": PASSWORD, "totp": totp});
    Tokens::of(&place.call("/api/v1/auth/token", body).await)
}

async fn place() -> (Mailbox, Place) {
    let (mailbox, url) = Mailbox::open().await;
    (mailbox, Place::new(json!({"webhook": {"url": url}})).await)
}

#[tokio::test]
async fn every_one_time_token_and_session_of_before_ends_with_every_change_of_control() {
    let (mailbox, place) = place().await;
    let check = async |event: Event| {
        let account = Account::new(&place, &mailbox, event).await;
        let mut tokens = Vec::new();
        for (kind, message) in KINDS {
            tokens.push((kind, account.token(kind, message).await));
        }
        let done = account.act(event).await;
        assert!((200..300).contains(&done.status), "{event:?}: {done:?}");
        for (kind, token) in &tokens {
            let redeemed = account.redeem(kind, token).await;
            assert_eq!((redeemed.status, redeemed.code()), (401, "token_expired"), "{kind} after {event:?}");
        }
        let [acting, other] = &account.sessions;
        let refreshed = place.try_refresh(&other.refresh).await;
        assert_eq!((refreshed.status, refreshed.code()), (401, "session_revoked"), "{event:?}");
        if !event.keeps {
            let refreshed = place.try_refresh(&acting.refresh).await;
            assert_eq!((refreshed.status, refreshed.code()), (401, "session_revoked"), "{event:?}");
        } else if !event.name.contains("adds") {
            // A new authenticator gave that session other tokens.
            assert_eq!(place.try_refresh(&acting.refresh).await.status, 200, "{event:?}");
        }
        if let Some(told) = event.told {
            let notice = mailbox.notice(&account.person.email, told).await;
            assert_eq!(notice["token"], Value::Null, "{event:?}: {notice}");
        }
    };
    join_all(EVENTS.map(check)).await;
}

#[tokio::test]
async fn what_changes_nobodys_control_ends_nothing() {
    let (mailbox, place) = place().await;
    let quiet = event("nothing of the kind", true, None);
    let account = Account::new(&place, &mailbox, quiet).await;
    let token = account.token("Recover", "auth.recover").await;
    let [acting, other] = &account.sessions;
    let (world, admin) = (&place.world, &place.admin);
    let path = format!("/api/v1/data/core/users/{}", account.person.id);
    let roles = json!({"roles": [place.role("reader")], "email": account.person.email.to_uppercase()});
    assert_eq!(world.send(Method::PATCH, &path, admin, Some(roles)).await.status, 200);
    let name = json!({"display_name": "Ann", "metadata": {"a": 1}});
    let named = world.send(Method::PATCH, "/api/v1/auth/user", &acting.access, Some(name)).await;
    assert_eq!(named.status, 200, "{named:?}");
    assert_eq!(place.try_refresh(&other.refresh).await.status, 200);
    Tokens::of(&account.redeem("Recover", &token).await);
}

#[tokio::test]
async fn a_change_of_address_that_somebody_else_asked_for_ends_with_a_reset() {
    let (mailbox, place) = place().await;
    let person = place.person(&[]).await;
    let attacker = place.sign_in(&person).await;
    let evil = format!("{}@evil.example", unique("evil."));
    let change = json!({"email": evil, "current_password": PASSWORD});
    let asked = place.world.send(Method::PATCH, "/api/v1/auth/user", &attacker.access, Some(change)).await;
    assert_eq!(asked.status, 200, "{asked:?}");
    let (_, _, message) = mailbox.wait("auth.change_email", &evil).await;
    // The address that the account has hears of it before anything happens.
    mailbox.notice(&person.email, "email_requested").await;
    assert_eq!(place.call("/api/v1/auth/recover", json!({"email": person.email})).await.status, 202);
    let (_, _, recovery) = mailbox.wait("auth.recover", &person.email).await;
    let reset = json!({"token": recovery["token"], "password": "Another fine day"});
    Tokens::of(&place.call("/api/v1/auth/reset", reset).await);
    let verify = json!({"token": message["token"]});
    place.call("/api/v1/auth/verify", verify).await.refused(401, "token_expired");
    Tokens::of(&place.try_sign_in(&person.email, "Another fine day").await);
}

#[tokio::test]
async fn a_new_address_or_authenticator_asks_for_the_password_or_a_code_however_young_the_session_is() {
    let (mailbox, place) = place().await;
    let person = place.person(&[]).await;
    let tokens = place.sign_in(&person).await;
    let new = format!("{}@acme.example", unique("new."));
    let change = async |access: &str, body: Value| {
        place.world.send(Method::PATCH, "/api/v1/auth/user", access, Some(body)).await
    };
    change(&tokens.access, json!({"email": new})).await.refused(403, "forbidden");
    let wrong = json!({"email": new, "current_password": "wrong"});
    change(&tokens.access, wrong).await.refused(401, "invalid_credentials");
    let supabase =
        place.world.send(Method::PUT, "/auth/v1/user", &tokens.access, Some(json!({"email": new}))).await;
    assert_eq!((supabase.status, &supabase.body["code"]), (403, &json!("forbidden")), "{supabase:?}");
    place.world.post("/api/v1/auth/totp", &tokens.access, json!({})).await.refused(403, "forbidden");
    let recovery = enrol(&place, &tokens).await;
    let tokens = sign_in_with(&place, &person, &recovery[0]).await;
    let wrong = json!({"email": new, "totp": "000000"});
    change(&tokens.access, wrong).await.refused(401, "invalid_second_factor");
    let right = json!({"email": new, "totp": recovery[1]});
    assert_eq!(change(&tokens.access, right).await.status, 200);
    mailbox.wait("auth.change_email", &new).await;
}

#[tokio::test]
async fn what_an_administrator_ends_is_the_administrators_act() {
    let (_, place) = place().await;
    let person = place.person(&[]).await;
    let acts = [("sessions", None), ("totp", Some(()))];
    for (what, factor) in acts {
        let tokens = place.sign_in(&person).await;
        if factor.is_some() {
            enrol(&place, &tokens).await;
        }
        let sessions = place.world.get("/api/v1/auth/sessions", &tokens.access).await;
        let session = sessions.body["items"][0]["id"].as_str().unwrap().to_owned();
        let path = format!("/api/v1/auth/users/{}/{what}", person.id);
        assert_eq!(place.world.send(Method::DELETE, &path, &place.admin, None).await.status, 204);
        let audit = place.world.get(&format!("/api/v1/audit?doc_id={session}"), &place.admin).await;
        let ended = audit.body["items"].as_array().unwrap().iter().find(|row| row["action"] == "Delete");
        assert_eq!(ended.unwrap()["actor"], "root", "{what}: {audit:?}");
    }
}
