//! The backends: Postgres instances as cells, Redis instances, search instances.

mod placed;
pub mod postgres;
pub mod redis;
pub mod search;

use std::collections::BTreeMap;

use futures::{StreamExt as _, stream::FuturesUnordered};
use tenantry_config::{instances::Instance, settings};
use tenantry_crds::names::InstanceName;
use tenantry_migrations::logins::LoginKey;
use tokio_util::sync::CancellationToken;

pub use self::placed::Placed;
use self::{
    postgres::{Cell, LoginKeys, dial::Dialler},
    redis::Redis,
    search::{Engine, Search},
};
use crate::{connect::NoConnection, error::Error, metrics::Metrics, placement::Backend};

/// Every instance of every backend; connections are opened on demand. Lives for one term of leadership.
#[derive(Debug)]
pub struct Backends {
    cells: BTreeMap<InstanceName, Bounded<Cell>>,
    redis: BTreeMap<InstanceName, Bounded<Redis>>,
    search: BTreeMap<InstanceName, Bounded<Search>>,
}

/// An instance and the number of tenants that it takes.
#[derive(Debug)]
struct Bounded<T> {
    of: T,
    capacity: Option<u32>,
}

/// Why the settings do not make backends.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// An instance.
    #[error(transparent)]
    Instance(#[from] tenantry_config::instances::InstanceError),
    /// The URL of a Postgres instance.
    #[error(transparent)]
    Postgres(#[from] NoConnection),
    /// A key, or the URL of another instance.
    #[error(transparent)]
    Other(#[from] Error),
}

impl Backends {
    /// Reads the settings; opens no connection.
    ///
    /// # Errors
    /// When a setting cannot be used.
    pub fn new(settings: &settings::Operator, metrics: &Metrics) -> Result<Self, Unusable> {
        let database = &settings.database;
        let key = |key: &secrecy::SecretString| {
            LoginKey::new(key.clone()).map_err(Error::data("reading database.provisionerKey and trafficKey"))
        };
        let (provisioner, traffic) = (key(&database.provisioner_key)?, key(&database.traffic_key)?);
        let cell = |name: &InstanceName, url: &secrecy::SecretString| {
            let keys =
                LoginKeys { provisioner: provisioner.of_instance(name), traffic: traffic.of_instance(name) };
            Ok(Cell::new(name.clone(), Dialler::new(name, url)?, keys, metrics.clone()))
        };
        let redis = |name: &InstanceName, redis: &settings::Redis| {
            Ok(Redis::new(name.clone(), redis, metrics.clone())?)
        };
        let search = |_: &InstanceName, search: &settings::Search| {
            Ok(Search::new(Engine::new(search, metrics.clone())?))
        };
        let instances = &settings.instances;
        Ok(Self {
            cells: bounded(instances.postgres(&database.url)?, cell)?,
            redis: bounded(instances.redis(&settings.redis)?, redis)?,
            search: bounded(instances.search(settings.search.as_ref())?, search)?,
        })
    }

    /// The Postgres instances, by name.
    pub fn cells(&self) -> impl Iterator<Item = &Cell> {
        self.cells.values().map(|one| &one.of)
    }

    /// The instances of one backend and the number of tenants that each takes.
    pub fn capacities(
        &self,
        backend: Backend,
    ) -> Box<dyn Iterator<Item = (&InstanceName, Option<u32>)> + Send + '_> {
        match backend {
            Backend::Postgres => Box::new(self.cells.iter().map(|(name, one)| (name, one.capacity))),
            Backend::Redis => Box::new(self.redis.iter().map(|(name, one)| (name, one.capacity))),
            Backend::Search => Box::new(self.search.iter().map(|(name, one)| (name, one.capacity))),
        }
    }

    /// The search instances, by name.
    pub fn searches(&self) -> impl Iterator<Item = &Search> {
        self.search.values().map(|one| &one.of)
    }

    /// Says once what every tenant's status says, too: here someone may be looking.
    pub async fn check_redis(&self) {
        for (name, redis) in &self.redis {
            if let Err(error) = redis.of.check_policy().await {
                tracing::warn!(instance = %name, %error, "Redis is not usable yet");
            }
        }
    }

    /// Waits for the engines' tasks until `stop`; `wake` is called with the tenants whose tasks have ended.
    pub async fn watch_search_tasks(&self, wake: impl Fn(&str), stop: CancellationToken) {
        let searches = self.search.values().map(|one| &one.of);
        let watched = searches.map(|search| search.tasks.run(&search.engine, &wake, stop.clone()));
        watched.collect::<FuturesUnordered<_>>().collect::<()>().await;
        stop.cancelled().await;
    }
}

fn bounded<S, T>(
    instances: Vec<Instance<S>>,
    make: impl Fn(&InstanceName, &S) -> Result<T, Unusable>,
) -> Result<BTreeMap<InstanceName, Bounded<T>>, Unusable> {
    let one = |Instance { name, capacity, access }: Instance<S>| {
        let of = make(&name, &access)?;
        Ok((name, Bounded { of, capacity }))
    };
    instances.into_iter().map(one).collect()
}
