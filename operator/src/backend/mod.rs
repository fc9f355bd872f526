//! The backends: Postgres instances as cells, Redis instances, search instances.

mod placed;
pub mod postgres;
pub mod redis;
pub mod search;

use std::collections::BTreeMap;

use futures::{StreamExt as _, stream::FuturesUnordered};
use tenantry_config::settings;
use tenantry_crds::names::InstanceName;
use tenantry_migrations::logins::LoginKey;
use tokio_util::sync::CancellationToken;

pub use self::placed::Placed;
use self::{
    postgres::{Cell, LoginKeys},
    redis::Redis,
    search::{Engine, Search},
};
use crate::{connect, error::Error, metrics::Metrics, run::Failure};

/// Every instance of every backend; connections are opened on demand. Lives for one term of leadership.
#[derive(Debug)]
pub struct Backends {
    cells: BTreeMap<InstanceName, Cell>,
    redis: BTreeMap<InstanceName, Redis>,
    search: BTreeMap<InstanceName, Search>,
}

impl Backends {
    /// Reads the settings; opens no connection.
    ///
    /// # Errors
    /// When a setting cannot be used.
    pub fn new(settings: &settings::Operator, metrics: &Metrics) -> Result<Self, Failure> {
        let database = &settings.database;
        let key = |key: &secrecy::SecretString| {
            LoginKey::new(key.clone()).map_err(Error::data("reading database.provisionerKey and trafficKey"))
        };
        let keys =
            LoginKeys { provisioner: key(&database.provisioner_key)?, traffic: key(&database.traffic_key)? };
        let name = InstanceName::default();
        let options = connect::database_options(database)?;
        let cell = Cell::new(name.clone(), options, keys, metrics.clone());
        let redis = Redis::new(&settings.redis, metrics.clone())?;
        let search = |search| Engine::new(search, metrics.clone()).map(Search::new);
        let search = settings.search.as_ref().map(search).transpose()?;
        Ok(Self {
            cells: BTreeMap::from([(name.clone(), cell)]),
            redis: BTreeMap::from([(name.clone(), redis)]),
            search: search.map(|search| (name, search)).into_iter().collect(),
        })
    }

    /// The Postgres instances, by name.
    pub fn cells(&self) -> impl Iterator<Item = &Cell> {
        self.cells.values()
    }

    /// Says once what every tenant's status says, too: here someone may be looking.
    pub async fn check_redis(&self) {
        for (name, redis) in &self.redis {
            if let Err(error) = redis.check_policy().await {
                tracing::warn!(instance = %name, %error, "Redis is not usable yet");
            }
        }
    }

    /// Waits for the engines' tasks until `stop`; `wake` is called with the tenants whose tasks have ended.
    pub async fn watch_search_tasks(&self, wake: impl Fn(&str), stop: CancellationToken) {
        let watched =
            self.search.values().map(|search| search.tasks.run(&search.engine, &wake, stop.clone()));
        watched.collect::<FuturesUnordered<_>>().collect::<()>().await;
        stop.cancelled().await;
    }
}
