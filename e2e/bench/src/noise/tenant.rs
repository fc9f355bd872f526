//! The noisy tenant and what it has stored.

use std::time::Duration;

use kube::api::PostParams;
use kube::runtime::wait::{Condition, await_condition};
use kube::{Api, ResourceExt};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tenantry_crds::v1alpha1::{App, Tenant};
use tenantry_e2e::{Client, Platform};
use tenantry_rig::eventually;

use super::super::credentials::token;
use super::Outcome;

/// The tenant.
pub const NAME: &str = "noisy";
/// Where its texts are.
pub const NOTES: &str = "/api/v1/data/notes/notes";
const LARGE: usize = 900_000;
const MIDDLE: usize = 200_000;
/// Quotation marks of a text; each becomes two bytes in a body.
const MARKS: usize = 450_000;
/// Users with costly hashes.
pub const USERS: usize = 64;
const LIMIT: Duration = Duration::from_secs(60);
/// The costliest that are accepted, some 0.8 s on a core and, of the second, 64 MiB. Nobody knows the passwords: a right one
/// would replace them.
const HASHES: [&str; 2] = [
    "$2b$14$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG",
    "$argon2id$v=19$m=65536,t=20,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
];

/// The noisy tenant.
pub struct Noisy {
    /// A token of an administrator.
    pub token: String,
}

impl Noisy {
    /// Makes it, with its texts and users.
    pub async fn made(platform: &Platform<'_>) -> Outcome<Self> {
        let kube = platform.endpoints().kube_client().await?;
        let app: App = serde_json::from_value(json!({
            "apiVersion": "tenantry.dev/v1alpha1",
            "kind": "App",
            "metadata": {"name": "notes"},
            "spec": {"version": "1.0.0", "docTypes": [{"name": "note", "plural": "notes", "fields": [
                {"name": "title", "type": "String", "maxLength": 140},
                {"name": "body", "type": "Text"},
            ]}]},
        }))?;
        created(Api::all(kube.clone()), &app).await?;
        let tenant: Tenant = serde_json::from_value(json!({
            "apiVersion": "tenantry.dev/v1alpha1",
            "kind": "Tenant",
            "metadata": {"name": NAME},
            "spec": {"apps": [{"name": "notes"}], "deletionPolicy": "Delete"},
        }))?;
        let tenants: Api<Tenant> = Api::all(kube);
        created(tenants.clone(), &tenant).await?;
        let uid = tenants.get_metadata(NAME).await?.uid().ok_or("a Tenant without a uid")?;
        let token = token(platform.endpoints(), &uid, "admin")?;
        let client = Client::new(platform.url()?, NAME, token.clone())?;
        let store = async |path: &str, body: &Value| {
            client.expect(StatusCode::CREATED, Method::POST, path, Some(body)).await
        };
        // Words of ten bytes.
        let words: String = (0..LARGE / 10).map(|n| format!("word{:05} ", n % 5000)).collect();
        let texts = [
            (4, json!({"title": "words", "body": words})),
            (4, json!({"title": "letters", "body": "a".repeat(MIDDLE)})),
            (24, json!({"title": "marks", "body": "\"".repeat(MARKS)})),
        ];
        for (count, note) in texts {
            for _ in 0..count {
                // The registry reaches the control plane a moment after the Tenant is Ready.
                eventually("a text is stored", LIMIT, || store(NOTES, &note)).await?;
            }
        }
        let user = |n: usize| json!({"email": email(n), "password_hash": HASHES[n % HASHES.len()]});
        store("/api/v1/data/core/users", &(0..USERS).map(user).collect()).await?;
        Ok(Self { token })
    }
}

/// Of the `n`-th user.
pub fn email(n: usize) -> String {
    format!("user{}@{NAME}.example", n % USERS)
}

/// Creates `object` and waits until it is Ready.
async fn created<K>(api: Api<K>, object: &K) -> Outcome<()>
where
    K: kube::Resource
        + Clone
        + std::fmt::Debug
        + Send
        + serde::de::DeserializeOwned
        + serde::Serialize
        + 'static,
{
    api.create(&PostParams::default(), object).await?;
    let name = object.name_any();
    tokio::time::timeout(LIMIT, await_condition(api, &name, is_ready())).await??;
    Ok(())
}

fn is_ready<K: serde::Serialize>() -> impl Condition<K> {
    |object: Option<&K>| {
        let object = object.and_then(|object| serde_json::to_value(object).ok()).unwrap_or_default();
        let conditions = object["status"]["conditions"].as_array();
        conditions.into_iter().flatten().any(|one| one["type"] == "Ready" && one["status"] == "True")
    }
}
