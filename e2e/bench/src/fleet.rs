//! Many tenants at once: creates them, sees when each is Ready, deletes them.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{DeleteParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use tenantry_crds::v1alpha1::{
    DeletionPolicy, PlacementSpec, Tenant, TenantApp, TenantConnections, TenantSpec,
};
use tokio::sync::watch;

use super::Outcome;

/// Clients that create at the same time.
const CREATORS: usize = 8;

/// What is waited for each tenant that is left before the next look.
const LOOK_PER_TENANT: Duration = Duration::from_micros(200);

/// When each tenant was first seen Ready.
type Sightings = HashMap<String, Instant>;

/// The tenants of a cluster, under watch.
pub struct Fleet {
    api: Api<Tenant>,
    ready: watch::Receiver<Sightings>,
    watcher: tokio::task::JoinHandle<()>,
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

impl Fleet {
    /// Watches the tenants.
    pub fn watch(client: Client) -> Self {
        let api: Api<Tenant> = Api::all(client);
        let (seen, ready) = watch::channel(Sightings::new());
        let mut events =
            watcher(api.clone(), watcher::Config::default()).default_backoff().touched_objects().boxed();
        let watcher = tokio::spawn(async move {
            while let Some(event) = events.next().await {
                let Ok(tenant) = event else { continue };
                let now = Instant::now();
                if is_ready(&tenant) {
                    seen.send_modify(|ready| {
                        ready.entry(tenant.name_any()).or_insert(now);
                    });
                }
            }
        });
        Self { api, ready, watcher }
    }

    /// Creates one tenant and waits until it is Ready; yields how long that took.
    pub async fn create_one(&self, name: &str) -> Outcome<Duration> {
        let began = Instant::now();
        let (_, ready) = self.create_ready(name).await?;
        Ok(ready.duration_since(began))
    }

    /// Creates one tenant and waits until it is Ready; yields it, and when it was Ready.
    pub async fn create_ready(&self, name: &str) -> Outcome<(Tenant, Instant)> {
        let created = self.api.create(&PostParams::default(), &tenant(name)).await?;
        let ready = self.await_ready(&[name.to_owned()], Duration::from_secs(60)).await?;
        Ok((created, ready[0]))
    }

    /// Creates all of `names` from a few clients at once; yields when each was Ready, in the order of `names`, and when
    /// the first was created.
    pub async fn create(&self, names: &[String], limit: Duration) -> Outcome<(Instant, Vec<Instant>)> {
        self.create_as(names, limit, tenant).await
    }

    /// The same for tenants that `tenant` describes by their names.
    pub async fn create_as(
        &self,
        names: &[String],
        limit: Duration,
        tenant: fn(&str) -> Tenant,
    ) -> Outcome<(Instant, Vec<Instant>)> {
        let began = Instant::now();
        let api = &self.api;
        let creations =
            names.iter().map(|name| async move { api.create(&PostParams::default(), &tenant(name)).await });
        let creating = stream::iter(creations).buffer_unordered(CREATORS).try_collect::<Vec<_>>();
        creating.await?;
        Ok((began, self.await_ready(names, limit).await?))
    }

    /// Deletes all of `names` and waits until they are gone; yields how long that took.
    pub async fn delete(&self, names: &[String], limit: Duration) -> Outcome<Duration> {
        let began = Instant::now();
        let api = &self.api;
        let deletions =
            names.iter().map(|name| async move { api.delete(name, &DeleteParams::default()).await });
        stream::iter(deletions).buffer_unordered(CREATORS).try_collect::<Vec<_>>().await?;
        let names: HashSet<&String> = names.iter().collect();
        loop {
            let left = api.list_metadata(&kube::api::ListParams::default()).await?.items;
            if !left.iter().any(|object| names.contains(&object.name_any())) {
                return Ok(began.elapsed());
            }
            if began.elapsed() > limit {
                return Err(format!("{} tenants are still there after {limit:?}", left.len()).into());
            }
            // A list of a large fleet is work for the API server, too.
            tokio::time::sleep(Duration::from_millis(100).max(LOOK_PER_TENANT * u32::try_from(left.len())?))
                .await;
        }
    }

    async fn await_ready(&self, names: &[String], limit: Duration) -> Outcome<Vec<Instant>> {
        let all =
            |ready: &Sightings| names.iter().map(|name| ready.get(name).copied()).collect::<Option<Vec<_>>>();
        let mut sightings = self.ready.clone();
        let waited = tokio::time::timeout(limit, sightings.wait_for(|ready| all(ready).is_some())).await;
        match waited {
            Ok(Ok(ready)) => Ok(all(&ready).unwrap_or_default()),
            Ok(Err(closed)) => Err(closed.into()),
            Err(_) => {
                let ready = self.ready.borrow();
                let late: Vec<_> = names.iter().filter(|name| !ready.contains_key(*name)).take(3).collect();
                Err(format!("not Ready after {limit:?}, for example {late:?}").into())
            }
        }
    }
}

/// `count` names that start with `prefix`.
pub fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}-{n:05}")).collect()
}

/// One that has connections of its own.
pub fn dedicated(name: &str) -> Tenant {
    let mut tenant = tenant(name);
    let connections = Some(TenantConnections::Dedicated);
    tenant.spec.placement = PlacementSpec { connections, ..PlacementSpec::default() };
    tenant
}

fn tenant(name: &str) -> Tenant {
    let crm = TenantApp { name: "crm".to_owned(), version: None, settings: None };
    Tenant::new(
        name,
        TenantSpec { apps: vec![crm], deletion_policy: DeletionPolicy::Delete, ..TenantSpec::default() },
    )
}

fn is_ready(tenant: &Tenant) -> bool {
    let Some(status) = &tenant.status else { return false };
    status.observed_generation == tenant.metadata.generation
        && status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
