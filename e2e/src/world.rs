//! A tenant with an app of its own, its callers, and their requests.
#![allow(clippy::unwrap_used, reason = "a helper that fails ends its test")]

use std::time::Duration;

use kube::api::{Api, DeleteParams, Patch, PatchParams};
use reqwest::Method;
use serde_json::{Value, json};
use tenantry_crds::v1alpha1::{App, SearchIndex, Tenant};
use tenantry_rig::endpoints::http_client;
use tenantry_rig::{ClusterKind, eventually};

use crate::Platform;
use crate::program::{ProgramOptions, token};

/// Far longer than anything here takes.
pub const LIMIT: Duration = Duration::from_secs(30);

/// A tenant with an app of its own.
#[derive(Debug)]
pub struct World {
    /// Where it is served.
    pub platform: &'static Platform<'static>,
    /// Its name.
    pub tenant: String,
    /// The name of its app.
    pub app: String,
}

/// A tenant that is not made yet.
#[derive(Debug, Default)]
#[must_use = "nothing is made before `build`"]
pub struct WorldBuilder {
    platform: Option<&'static Platform<'static>>,
    app: Option<Value>,
}

impl WorldBuilder {
    /// On another platform than the one that all tests share.
    pub fn on(self, platform: &'static Platform<'static>) -> Self {
        Self { platform: Some(platform), ..self }
    }

    /// With another app than [`app_spec`].
    pub fn app(self, spec: Value) -> Self {
        Self { app: Some(spec), ..self }
    }

    /// Applies the app under a name of its own, and a tenant; waits until that is Ready.
    pub async fn build(self) -> World {
        let platform = match self.platform {
            Some(platform) => platform,
            None => Platform::shared().await.unwrap(),
        };
        let world = World { platform, tenant: unique("t-"), app: unique("a") };
        world.apply::<App>("App", &world.app, self.app.unwrap_or_else(app_spec)).await;
        world.install(&world.tenant).await;
        world
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body as JSON; a string when it is none.
    pub body: Value,
}

impl Answer {
    /// The stable code of a problem document, after a check that it is a whole one.
    pub fn code(&self) -> &str {
        assert_eq!(self.headers["content-type"], "application/problem+json; charset=utf-8", "{self:?}");
        assert_eq!(self.body["status"], self.status, "{self:?}");
        for member in ["title", "detail", "message"] {
            assert!(self.body[member].is_string(), "{member}: {self:?}");
        }
        self.body["code"].as_str().unwrap()
    }

    /// The same, when it must be this refusal.
    pub fn refused(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.code()), (status, code), "{self:?}");
    }
}

/// A name with this prefix that no other test has.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}{}", &uuid::Uuid::new_v4().simple().to_string()[..10])
}

/// The app of these tests: cards with an owner, and a queue with short leases.
pub fn app_spec() -> Value {
    json!({
        "version": "1.0.0",
        "roles": [{"name": "reader"}, {"name": "writer"}],
        "docTypes": [{
            "name": "card",
            "fields": [
                {"name": "title", "type": "String", "required": true},
                {"name": "status", "type": "Enum", "values": ["open", "done"], "default": "open"},
                {"name": "price", "type": "Decimal", "precision": 18, "scale": 2},
                {"name": "pin", "type": "String", "writeOnly": true}
            ],
            "permissions": [
                {"role": "reader", "allow": ["Read"]},
                {"role": "writer", "allow": ["Create"]},
                {"role": "owner", "allow": ["Read", "Update", "Delete"]}
            ]
        }],
        "queues": [
            {"name": "default", "class": "Fast", "maxAttempts": 2, "leaseSeconds": 1},
            {"name": "steady", "class": "Fast", "leaseSeconds": 60},
            {"name": "twice", "class": "Fast", "maxAttempts": 2, "leaseSeconds": 60},
            {"name": "small", "class": "Fast", "maxLength": 2, "leaseSeconds": 60}
        ]
    })
}

impl World {
    /// A new app and a tenant that is Ready with it, on the platform that all tests share.
    pub async fn new() -> Self {
        Self::builder().build().await
    }

    /// The same with something else about it.
    pub fn builder() -> WorldBuilder {
        WorldBuilder::default()
    }

    /// A tenant with the same app, Ready.
    pub async fn install(&self, tenant: &str) {
        self.apply::<Tenant>("Tenant", tenant, self.spec_of(tenant)).await;
        self.until_ready(tenant).await;
    }

    /// Applies the world's tenant with one more member in its spec.
    pub async fn with(&self, name: &str, value: Value) {
        let mut spec = self.spec_of(&self.tenant);
        spec[name] = value;
        self.apply::<Tenant>("Tenant", &self.tenant, spec).await;
    }

    fn spec_of(&self, tenant: &str) -> Value {
        json!({
            "hosts": [format!("{tenant}.example.com")],
            "apps": [{"name": self.app}],
            "deletionPolicy": "Delete"
        })
    }

    /// Waits until a tenant is Ready.
    pub async fn until_ready(&self, tenant: &str) {
        let wait = ["wait", "--for=condition=Ready", &format!("tenant/{tenant}"), "--timeout=60s"];
        self.platform.endpoints().kubectl(&wait).await.unwrap();
    }

    /// Makes the cards searchable.
    pub async fn make_searchable(&self) {
        let spec = json!({
            "app": self.app, "docType": "card", "engine": "Meilisearch",
            "searchable": ["title"], "filterable": ["status", "price"], "sortable": ["created_at"]
        });
        self.apply::<SearchIndex>("SearchIndex", &format!("{}-card", self.app), spec).await;
    }

    /// Applies a manifest of this kind.
    pub async fn apply<K: ClusterKind>(&self, kind: &str, name: &str, spec: Value) {
        let manifest = json!({
            "apiVersion": "tenantry.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec
        });
        let api: Api<K> = self.api().await;
        api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(manifest)).await.unwrap();
    }

    /// Deletes a tenant and waits until it is gone.
    pub async fn delete_tenant(&self, name: &str) {
        let api: Api<Tenant> = self.api().await;
        api.delete(name, &DeleteParams::default()).await.unwrap();
        eventually("the tenant is gone", LIMIT, || async {
            match api.get_opt(name).await.map_err(|error| error.to_string())? {
                None => Ok(()),
                Some(_) => Err("still there".to_owned()),
            }
        })
        .await
        .unwrap();
    }

    /// The Kubernetes API for a kind.
    pub async fn api<K: ClusterKind>(&self) -> Api<K> {
        Api::all(self.platform.endpoints().kube_client().await.unwrap())
    }

    /// A token as the control plane issues it.
    pub async fn token_of(&self, tenant: &str, user: &str, roles: &[&str]) -> String {
        let mut args = vec!["--tenant", tenant, "--user", user];
        for role in roles {
            args.extend(["--role", role]);
        }
        token(self.platform.endpoints(), &ProgramOptions::default(), &args).await.unwrap()
    }

    /// A token for a user of the world's tenant, with roles of its app.
    pub async fn user(&self, user: &str, roles: &[&str]) -> String {
        let roles: Vec<String> = roles
            .iter()
            .map(|role| if *role == "admin" { "admin".to_owned() } else { format!("{}:{role}", self.app) })
            .collect();
        let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
        self.token_of(&self.tenant, user, &roles).await
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.platform.url().unwrap())
    }

    /// The path of the cards under `/api/v1/{what}`.
    pub fn cards(&self, what: &str) -> String {
        format!("/api/v1/{what}/{}/cards", self.app)
    }

    /// A request to be made, for [`answer`].
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        http_client().unwrap().request(method, self.url(path))
    }

    /// Sends a request with a token, unless that is empty, and a body, if there is one.
    pub async fn send(&self, method: Method, path: &str, token: &str, body: Option<Value>) -> Answer {
        let mut request = self.request(method, path);
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        answer(request).await
    }

    /// Reads.
    pub async fn get(&self, path: &str, token: &str) -> Answer {
        self.send(Method::GET, path, token, None).await
    }

    /// Sends a body.
    pub async fn post(&self, path: &str, token: &str, body: Value) -> Answer {
        self.send(Method::POST, path, token, Some(body)).await
    }
}

/// Sends a request.
pub async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Answer { status, headers, body }
}
