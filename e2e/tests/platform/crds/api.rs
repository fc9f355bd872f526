//! The API server, as these tests speak to it.

use std::fmt;

use kube::{Client, client::Body};
use serde_json::Value;
use tenantry_crds::v1alpha1;
use tenantry_e2e::checkout::apply_crds;
use tenantry_rig::Stack;
use tokio::sync::OnceCell;

/// One of the three kinds.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Tenant,
    App,
    SearchIndex,
}

pub const KINDS: [Kind; 3] = [Kind::Tenant, Kind::App, Kind::SearchIndex];

impl Kind {
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Tenant => "tenants",
            Self::App => "apps",
            Self::SearchIndex => "searchindexes",
        }
    }

    /// A valid manifest that has every field.
    pub fn full(self) -> Value {
        let text = match self {
            Self::Tenant => include_str!("full/tenant.yaml"),
            Self::App => include_str!("full/app.yaml"),
            Self::SearchIndex => include_str!("full/searchindex.yaml"),
        };
        serde_yaml::from_str(text).unwrap()
    }

    /// The schema of the whole object.
    pub fn schema(self) -> Value {
        let crd =
            v1alpha1::definitions().into_iter().find(|crd| crd.spec.names.plural == self.plural()).unwrap();
        serde_json::to_value(
            crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap(),
        )
        .unwrap()
    }

    pub fn path(self) -> String {
        format!("/apis/tenantry.dev/v1alpha1/{}", self.plural())
    }

    /// Whether our programs can read what the API server let through; if not, one object would blind them to all.
    pub fn read(self, object: Value) -> Result<(), serde_json::Error> {
        match self {
            Self::Tenant => serde_json::from_value::<v1alpha1::Tenant>(object).map(drop),
            Self::App => serde_json::from_value::<v1alpha1::App>(object).map(drop),
            Self::SearchIndex => serde_json::from_value::<v1alpha1::SearchIndex>(object).map(drop),
        }
    }
}

/// A refusal.
#[derive(Debug)]
pub struct Refusal {
    pub code: u16,
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.message)
    }
}

/// A client of an API server that has the definitions.
pub async fn client() -> Client {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    let endpoints = Stack::shared().await.unwrap().endpoints();
    INSTALLED.get_or_init(|| async { apply_crds(endpoints).await.unwrap() }).await;
    endpoints.kube_client().await.unwrap()
}

/// Asks whether `object` could be created, by a client that validates strictly as kubectl does.
pub async fn try_create(client: &Client, kind: Kind, object: &Value) -> Result<Value, Refusal> {
    let path = format!("{}?dryRun=All&fieldValidation=Strict", kind.path());
    send(client, "POST", &path, object, "application/json").await
}

pub async fn send(
    client: &Client,
    method: &str,
    path: &str,
    body: &Value,
    accept: &str,
) -> Result<Value, Refusal> {
    let content = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).unwrap() };
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::CONTENT_TYPE, content)
        .header(http::header::ACCEPT, accept)
        .body(Body::from(body))
        .unwrap();
    let response = client.send(request).await.unwrap();
    let code = response.status();
    let body = response.into_body().collect_bytes().await.unwrap();
    let answer: Value = serde_json::from_slice(&body).unwrap();
    if code.is_success() {
        return Ok(answer);
    }
    Err(Refusal { code: code.as_u16(), message: answer["message"].as_str().unwrap_or_default().to_owned() })
}

/// `object` with a member set (made when missing) or, with null, removed.
pub fn with(mut object: Value, changes: &[(&str, Value)]) -> Value {
    for (pointer, value) in changes {
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        let parent = object.pointer_mut(parent).unwrap_or_else(|| panic!("{pointer} has no parent"));
        match (parent, value) {
            (Value::Object(members), Value::Null) => drop(members.remove(member)),
            (Value::Object(members), value) => drop(members.insert(member.to_owned(), value.clone())),
            (Value::Array(items), value) => items[member.parse::<usize>().unwrap()] = value.clone(),
            _ => panic!("{pointer} is a scalar's member"),
        }
    }
    object
}
