//! The backends: Postgres as the provisioner logins, Redis, the search engine.

pub mod postgres;
pub mod redis;
pub mod search;

use std::str::FromStr;

use secrecy::ExposeSecret;
use sqlx::{PgPool, postgres::PgConnectOptions};
use tenantry_config::settings;
use tenantry_migrations::logins::LoginKey;
use tokio_util::sync::CancellationToken;

use self::{
    postgres::{Logins, Provisioners},
    redis::Redis,
    search::{Engine, Tasks},
};
use crate::{
    error::{Error, SearchFault},
    leader::Leadership,
    metrics::Metrics,
};

/// Connections to every backend, opened on demand. Lives for one term of leadership.
#[derive(Debug)]
pub struct Backends {
    /// Changes in Postgres.
    pub provisioners: Provisioners,
    /// Logins, and the shards of them.
    pub logins: Logins,
    /// Redis.
    pub redis: Redis,
    /// Tasks of the search engine that tenants wait for.
    pub search_tasks: Tasks,
    search: Option<Engine>,
}

impl Backends {
    /// Reads the settings; opens no connection.
    ///
    /// # Errors
    /// When a setting cannot be used.
    pub fn new(settings: &settings::Operator, metrics: Metrics) -> Result<Self, Error> {
        let database = &settings.database;
        let key = |key: &secrecy::SecretString| {
            LoginKey::new(key.clone()).map_err(Error::data("reading database.provisionerKey and trafficKey"))
        };
        let options = PgConnectOptions::from_str(database.url.expose_secret())
            .map_err(Error::database("reading database.url"))?;
        let engine = |search| Engine::new(search, metrics.clone());
        Ok(Self {
            provisioners: Provisioners::new(&options, key(&database.provisioner_key)?, metrics.clone()),
            logins: Logins::new(key(&database.provisioner_key)?, key(&database.traffic_key)?),
            redis: Redis::new(&settings.redis, metrics.clone())?,
            search: settings.search.as_ref().map(engine).transpose()?,
            search_tasks: Tasks::default(),
        })
    }

    /// Makes the logins that the platform needs before any tenant, as the control plane's. Called once leadership is won,
    /// with a connection pool of `tenantry_operator`.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn prepare(&self, database: &PgPool, leadership: &Leadership) -> Result<(), Error> {
        self.logins.prepare(database, leadership.epoch()).await?;
        // Every tenant's status says so too; here it is said once, when someone is looking.
        if let Err(error) = self.redis.check_policy().await {
            tracing::warn!(%error, "Redis is not usable yet");
        }
        Ok(())
    }

    /// The search engine.
    ///
    /// # Errors
    /// When none is configured.
    pub fn search(&self) -> Result<&Engine, Error> {
        self.search.as_ref().ok_or_else(|| Error::search("using search indexes")(SearchFault::NotConfigured))
    }

    /// Waits for the engine's tasks until `stop`; `wake` is called with the tenants whose tasks have ended.
    pub async fn watch_search_tasks(&self, wake: impl Fn(&str), stop: CancellationToken) {
        match &self.search {
            Some(engine) => self.search_tasks.run(engine, wake, stop).await,
            None => stop.cancelled().await,
        }
    }
}
