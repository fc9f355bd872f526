//! Where e-mails lead back to: flows x dialects.

use reqwest::Method;
use serde_json::{Value, json};
use tenantry_e2e::world::{Answer, answer, unique};
use tenantry_rig::endpoints::http_client;

use super::mailbox::Mailbox;
use super::place::{PASSWORD, Person, Place};

const SITE: &str = "https://app.example.com/";
const LISTED: &str = "https://admin.example.com/auth/done";
const FOREIGN: &str = "https://app.example.com.evil.example/";

/// What has an e-mail sent.
#[derive(Debug, Clone, Copy)]
enum Flow {
    SignUp,
    Recover,
    Resend,
    Invite,
    ChangeAddress,
}

/// Each flow as our own API has it, and as GoTrue does.
const FLOWS: [(Flow, bool); 8] = [
    (Flow::SignUp, false),
    (Flow::SignUp, true),
    (Flow::Recover, false),
    (Flow::Recover, true),
    (Flow::Resend, true),
    (Flow::Invite, false),
    (Flow::ChangeAddress, false),
    (Flow::ChangeAddress, true),
];

async fn place(more: Value) -> (Mailbox, Place) {
    let (mailbox, url) = Mailbox::open().await;
    let mut auth = json!({"signUp": "Open", "invites": true, "webhook": {"url": url}});
    for (name, value) in more.as_object().unwrap() {
        auth[name] = value.clone();
    }
    (mailbox, Place::new(auth).await)
}

/// Asks for an e-mail that leads to `page`; yields the answer, the kind of the message and its address.
async fn asked(
    place: &Place,
    (flow, gotrue): (Flow, bool),
    page: Option<&str>,
) -> (Answer, &'static str, String) {
    let new = format!("{}@acme.example", unique("new."));
    let password = "Another fine day";
    let (kind, email, token, path, mut body, method) = match flow {
        Flow::SignUp => {
            let body = json!({"email": new, "password": password});
            ("auth.verify", new, None, "signup", body, Method::POST)
        }
        Flow::Recover | Flow::Resend => {
            let Person { email, .. } = place.person(&[]).await;
            let kind = if matches!(flow, Flow::Recover) { "auth.recover" } else { "auth.verify" };
            let path = if matches!(flow, Flow::Recover) { "recover" } else { "resend" };
            (kind, email.clone(), None, path, json!({"email": email}), Method::POST)
        }
        Flow::Invite => {
            let token = Some(place.admin.clone());
            ("auth.invite", new.clone(), token, "invite", json!({"email": new}), Method::POST)
        }
        Flow::ChangeAddress => {
            let person = place.person(&[]).await;
            let token = Some(place.sign_in(&person).await.access);
            let method = if gotrue { Method::PUT } else { Method::PATCH };
            let body = json!({"email": new, "current_password": PASSWORD});
            ("auth.change_email", new.clone(), token, "user", body, method)
        }
    };
    let prefix = if gotrue { "/auth/v1" } else { "/api/v1/auth" };
    let mut request = http_client().unwrap().request(method, place.world.url(&format!("{prefix}/{path}")));
    request = request.header("x-tenant", &place.world.tenant);
    match page {
        Some(page) if gotrue => request = request.query(&[("redirect_to", page)]),
        Some(page) => body["redirect_to"] = json!(page),
        None => {}
    }
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    (answer(request.json(&body)).await, kind, email)
}

#[tokio::test]
async fn no_e_mail_leads_to_a_page_that_the_tenant_does_not_list() {
    let (mailbox, place) =
        place(json!({"siteUrl": SITE, "redirectUrls": ["https://admin.example.com/auth"]})).await;
    for (flow, gotrue) in FLOWS {
        let what = format!("{flow:?}, {gotrue}");
        let (listed, kind, email) = asked(&place, (flow, gotrue), Some(LISTED)).await;
        assert!(listed.status < 300, "{what}: {listed:?}");
        let (_, _, message) = mailbox.wait(kind, &email).await;
        assert_eq!(message["redirect_to"], LISTED, "{what}");

        let (refused, kind, email) = asked(&place, (flow, gotrue), Some(FOREIGN)).await;
        if gotrue {
            // GoTrue falls back to the site without a word.
            assert_eq!(refused.status, 200, "{what}: {refused:?}");
            let (_, _, message) = mailbox.wait(kind, &email).await;
            assert_eq!(message["redirect_to"], SITE, "{what}");
        } else {
            refused.refused(422, "validation_failed");
            assert_eq!(refused.body["errors"][0]["pointer"], "/redirect_to", "{what}");
        }
    }
}

#[tokio::test]
async fn without_a_list_an_e_mail_leads_to_the_tenants_own_hosts_only() {
    let (mailbox, place) = place(json!({})).await;
    let own = format!("https://{}.example.com/welcome", place.world.tenant);
    let (fine, kind, email) = asked(&place, (Flow::Recover, false), Some(&own)).await;
    assert_eq!(fine.status, 202, "{fine:?}");
    assert_eq!(mailbox.wait(kind, &email).await.2["redirect_to"], json!(own));
    for page in [SITE, LISTED, FOREIGN, "/welcome", "javascript:alert(1)"] {
        asked(&place, (Flow::Recover, false), Some(page)).await.0.refused(422, "validation_failed");
    }
    let (fine, kind, email) = asked(&place, (Flow::SignUp, true), None).await;
    assert_eq!(fine.status, 200, "{fine:?}");
    let home = format!("https://{}.example.com/", place.world.tenant);
    assert_eq!(mailbox.wait(kind, &email).await.2["redirect_to"], json!(home));
}
