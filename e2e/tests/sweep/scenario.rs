//! What a tenant goes through while the operator dies.

use kube::{Api, ResourceExt, api::DeleteParams};
use serde_json::{Value, json};
use tenantry_crds::v1alpha1::{App, SearchIndex, Tenant};
use tenantry_e2e::rig::kstatus::{Computed, compute};

use super::operated::{Cluster, customer, search_of, shop, uses};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scenario {
    Create,
    Update,
    Rollout,
    Delete,
}

impl Scenario {
    pub const ALL: [Self; 4] = [Self::Create, Self::Update, Self::Rollout, Self::Delete];

    /// What is there, and Ready, when it begins.
    pub async fn prepare(self, cluster: &Cluster, name: &str) {
        if self != Self::Create {
            create(cluster, name).await;
        }
    }

    /// What the user does.
    pub async fn begin(self, cluster: &Cluster, name: &str) {
        match self {
            Self::Create => create(cluster, name).await,
            Self::Update => {
                let mut search = search_of(name);
                search["searchable"] = json!(["name"]);
                cluster.search_index(name, search).await;
                let mut spec = uses(name, "Delete");
                spec["hosts"] = json!([format!("{name}.example.com")]);
                cluster.tenant(name, spec).await;
            }
            Self::Rollout => {
                let mut fields = customer();
                fields
                    .as_array_mut()
                    .unwrap()
                    .push(json!({"name": "phone", "type": "String", "index": true}));
                let mut next = shop("1.1.0", fields);
                next["queues"].as_array_mut().unwrap().push(json!({"name": "mail", "class": "Fast"}));
                cluster.app(name, next).await;
            }
            Self::Delete => remove(cluster, name).await,
        }
    }

    /// Whether that is done, as the status says.
    pub async fn is_done(self, cluster: &Cluster, name: &str) -> Result<(), String> {
        let found = objects(cluster, name).await.map_err(|error| error.to_string())?;
        if self == Self::Delete {
            return if found.is_empty() { Ok(()) } else { Err(format!("still there: {found:?}")) };
        }
        are_current(&found)?;
        // The App is Ready before its tenants have the version.
        let version = if self == Self::Rollout { "1.1.0" } else { "1.0.0" };
        let has = found.iter().any(|object| object["status"]["appsInstalled"] == format!("{name} {version}"));
        if has { Ok(()) } else { Err(format!("not at {version}: {found:?}")) }
    }
}

/// All three are there and what they should be.
pub fn are_current(found: &[Value]) -> Result<(), String> {
    match found.iter().find(|object| compute(object) != Computed::Current) {
        Some(object) => Err(format!("{} {}", object["kind"], object["status"])),
        None if found.len() == 3 => Ok(()),
        None => Err(format!("only {} objects", found.len())),
    }
}

pub async fn create(cluster: &Cluster, name: &str) {
    cluster.app(name, shop("1.0.0", customer())).await;
    cluster.search_index(name, search_of(name)).await;
    cluster.tenant(name, uses(name, "Delete")).await;
}

pub async fn remove(cluster: &Cluster, name: &str) {
    let client = cluster.endpoints.kube_client().await.unwrap();
    let how = DeleteParams::default();
    // Those that a case has removed already are fine.
    let _ = Api::<Tenant>::all(client.clone()).delete(name, &how).await;
    let _ = Api::<SearchIndex>::all(client.clone()).delete(name, &how).await;
    let _ = Api::<App>::all(client).delete(name, &how).await;
}

/// The App, the SearchIndex and the Tenant of that name, as far as they are there.
pub async fn objects(cluster: &Cluster, name: &str) -> kube::Result<Vec<Value>> {
    async fn one<K>(client: kube::Client, name: &str) -> kube::Result<Option<Value>>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::ClusterResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::Serialize
            + serde::de::DeserializeOwned,
    {
        let found = Api::<K>::all(client).get_opt(name).await?;
        Ok(found.map(|mut object| {
            object.managed_fields_mut().clear();
            serde_json::to_value(object).unwrap()
        }))
    }
    let client = cluster.endpoints.kube_client().await.unwrap();
    let found = [
        one::<App>(client.clone(), name).await?,
        one::<SearchIndex>(client.clone(), name).await?,
        one::<Tenant>(client, name).await?,
    ];
    Ok(found.into_iter().flatten().collect())
}
