//! A cluster with an operator, and what is in its backends.
#![allow(clippy::unwrap_used, reason = "a helper that fails ends its test")]

mod backends;

use std::time::Duration;

use k8s_openapi::api::core::v1::Event;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use tenantry_crds::v1alpha1::{App, SearchIndex, Tenant};
use tenantry_rig::{ClusterKind, Endpoints, Stack, eventually};
use tokio::sync::OnceCell;

use crate::checkout::apply_crds;
use crate::platform::has_operator;
use crate::program::{Program, ProgramOptions, bootstrap};

/// Far longer than anything here takes.
pub const LIMIT: Duration = Duration::from_secs(30);

static OPERATOR: OnceCell<Option<Program>> = OnceCell::const_new();

/// A cluster in which the operator runs.
pub struct Cluster {
    /// How to reach it.
    pub endpoints: Endpoints,
    client: Client,
}

impl Cluster {
    /// The one that all tests share.
    pub async fn shared() -> Self {
        let stack = Stack::shared().await.unwrap();
        OPERATOR
            .get_or_init(|| async {
                if has_operator(stack.endpoints()) { None } else { Some(operate(stack).await) }
            })
            .await;
        Self::of(stack.endpoints()).await
    }

    /// The one at these endpoints, whose operator somebody else runs.
    pub async fn of(endpoints: &Endpoints) -> Self {
        Self { endpoints: endpoints.clone(), client: endpoints.kube_client().await.unwrap() }
    }

    /// Kubernetes as the administrator. A new client costs a handshake, which a test that polls should not pay each time.
    pub fn kube(&self) -> Client {
        self.client.clone()
    }

    /// Applies a manifest.
    pub async fn apply<K: ClusterKind>(&self, manifest: Value) -> K {
        let name = manifest["metadata"]["name"].as_str().unwrap().to_owned();
        let api: Api<K> = Api::all(self.client.clone());
        api.patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(manifest)).await.unwrap()
    }

    /// Applies an App.
    pub async fn app(&self, name: &str, spec: Value) -> App {
        self.apply(object("App", name, spec)).await
    }

    /// Applies a Tenant.
    pub async fn tenant(&self, name: &str, spec: Value) -> Tenant {
        self.apply(object("Tenant", name, spec)).await
    }

    /// Applies a SearchIndex.
    pub async fn search_index(&self, name: &str, spec: Value) -> SearchIndex {
        self.apply(object("SearchIndex", name, spec)).await
    }

    /// Deletes an object and waits until it is gone.
    pub async fn delete<K: ClusterKind>(&self, name: &str) {
        let api: Api<K> = Api::all(self.client.clone());
        api.delete(name, &DeleteParams::default()).await.unwrap();
        self.until_none::<K>(name).await;
    }

    /// A customer named Ada.
    pub async fn add_customer(&self, app: &str, tenant: &str) {
        let schema = format!("tenant_{}", tenant.replace('-', "_"));
        self.run_sql(&format!(
            "INSERT INTO {schema}.{app}_customer (id, name, created_by, updated_by)
             VALUES (gen_random_uuid(), 'Ada', 'u', 'u')"
        ))
        .await;
    }

    /// The number at the end of the names of the logins that reach this tenant.
    pub async fn shard_of(&self, tenant: &str) -> String {
        let query =
            format!("SELECT to_char(login_shard, 'FM00') FROM tenantry.tenant WHERE name = '{tenant}'");
        self.texts(&query).await.remove(0)
    }

    /// Asks for the end of a tenant, and does not wait for it.
    pub async fn begin_delete(&self, tenant: &str) {
        let api: Api<Tenant> = Api::all(self.client.clone());
        api.delete(tenant, &DeleteParams::default()).await.unwrap();
    }

    /// Waits until a tenant is gone.
    pub async fn until_gone(&self, tenant: &str) {
        self.until_none::<Tenant>(tenant).await;
    }

    async fn until_none<K: ClusterKind>(&self, name: &str) {
        let api: Api<K> = Api::all(self.client.clone());
        eventually(&format!("{name} is gone"), LIMIT, || async {
            match api.get_opt(name).await.map_err(|error| error.to_string())? {
                None => Ok(()),
                Some(_) => Err("still there".to_owned()),
            }
        })
        .await
        .unwrap();
    }

    /// The notes of the Events about an object for this reason, oldest first.
    pub async fn notes(&self, object: &str, reason: &str) -> Vec<String> {
        let api: Api<Event> = Api::all(self.client.clone());
        let only = ListParams::default().fields(&format!("involvedObject.name={object},reason={reason}"));
        let mut events = api.list(&only).await.unwrap().items;
        assert!(events.iter().all(|event| event.series.is_none()), "one Event each time");
        events.sort_by_key(|event| event.event_time.clone().map(|time| time.0));
        events.into_iter().filter_map(|event| event.message).collect()
    }

    /// Waits for the Event that comes `number`th; what it says.
    pub async fn until_note(&self, object: &str, reason: &str, number: usize) -> String {
        eventually(&format!("Event {number} {reason} of {object}"), LIMIT, || async {
            let mut notes = self.notes(object, reason).await;
            if notes.len() >= number { Ok(notes.swap_remove(number - 1)) } else { Err(format!("{notes:?}")) }
        })
        .await
        .unwrap()
    }

    /// Asks for a pass now.
    pub async fn nudge(&self, tenant: &str) {
        let at = format!("{:?}", std::time::SystemTime::now());
        self.annotate(tenant, "tenantry.dev/reconcile-at", &at).await;
    }

    /// Sets an annotation of a tenant.
    pub async fn annotate(&self, tenant: &str, key: &str, value: &str) {
        let api: Api<Tenant> = Api::all(self.client.clone());
        let patch = json!({"metadata": {"annotations": {key: value}}});
        api.patch(tenant, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// Waits until the tenant's condition is so at its newest generation; the tenant as it is then.
    pub async fn until(&self, tenant: &str, condition: &str, status: &str, reason: &str) -> Tenant {
        let api: Api<Tenant> = Api::all(self.client.clone());
        eventually(&format!("{tenant} {condition}={status} {reason}"), LIMIT, || async {
            let tenant = api.get(tenant).await.map_err(|error| error.to_string())?;
            let found = condition_of(&tenant, condition);
            match &found {
                Some((s, r, _)) if s == status && r == reason && is_current(&tenant) => Ok(tenant),
                _ => Err(format!("{:?}", tenant.status)),
            }
        })
        .await
        .unwrap()
    }

    /// Waits until a tenant is Ready at its newest generation.
    pub async fn until_ready(&self, tenant: &str) -> Tenant {
        self.until(tenant, "Ready", "True", "Succeeded").await
    }
}

/// Starts the operator on a stack that has none.
pub async fn operate(stack: &Stack) -> Program {
    operate_with(stack, &ProgramOptions::default()).await
}

/// The same, with other settings.
pub async fn operate_with(stack: &Stack, options: &ProgramOptions) -> Program {
    let endpoints = stack.endpoints();
    apply_crds(endpoints).await.unwrap();
    bootstrap(endpoints, options).await.unwrap();
    Program::operator(endpoints, options).await.unwrap()
}

/// Status, reason and message.
pub fn condition_of(tenant: &Tenant, kind: &str) -> Option<(String, String, String)> {
    let conditions = &tenant.status.as_ref()?.conditions;
    let found = conditions.iter().find(|condition| condition.type_ == kind)?;
    Some((found.status.clone(), found.reason.clone(), found.message.clone()))
}

fn is_current(tenant: &Tenant) -> bool {
    tenant.status.as_ref().is_some_and(|status| status.observed_generation == tenant.metadata.generation)
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "tenantry.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}
