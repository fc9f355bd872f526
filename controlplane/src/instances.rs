//! The Postgres, Redis and search instances, and which of them a tenant's data is in.
//!
//! - [`Instances`]: all that the settings name
//! - [`Homes`]: the instances of the tenants of one Postgres instance
//! - [`Home`]: the instances of one tenant; a tenant's entry holds it, so that no request looks anything up

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use prometheus::Registry as Metrics;
use serde::Deserialize;
use serde_json::Value;
use sqlx::PgPool;
use tenantry_config::settings;
use tenantry_crds::names::InstanceName;
use tenantry_migrations::registry::Placement;

use crate::{
    auth::Changes,
    database::{self, Login},
    error::ApiError,
    jobs::{JobMetrics, Queues},
    postgres::{DatabaseMetrics, TenantDatabase, Tuning},
    search::Meilisearch,
    start::StartError,
    vault::Vault,
};

/// Every instance that the settings name.
#[derive(Debug)]
pub struct Instances {
    /// The Postgres instances.
    pub cells: Vec<Cell>,
    /// The Redis instances; none in a program that has no queues.
    pub queues: BTreeMap<InstanceName, Arc<Queues>>,
    /// The search instances.
    pub search: BTreeMap<InstanceName, SearchInstance>,
    /// What tenants' secrets are sealed with, in whichever instance they are.
    pub vault: Arc<Vault>,
}

/// A Postgres instance: a registry and the data of the tenants in it.
#[derive(Debug, Clone)]
pub struct Cell {
    /// Its name.
    pub name: InstanceName,
    /// How the login `tenantry_controlplane` connects.
    pub login: Login,
    /// Connections of that login.
    pub pool: PgPool,
    /// Tenants' way in.
    pub database: Arc<TenantDatabase>,
    /// What became of tenants' users lately.
    pub changes: Arc<Changes>,
}

/// A search instance.
#[derive(Debug, Clone)]
pub struct SearchInstance {
    /// Its name.
    pub name: InstanceName,
    /// The engine.
    pub engine: Meilisearch,
}

/// The instances that hold a tenant.
#[derive(Debug, Default)]
pub struct Home {
    /// The Postgres instance.
    pub cell: InstanceName,
    database: Option<Arc<TenantDatabase>>,
    queues: Option<Arc<Queues>>,
    search: Option<SearchInstance>,
    changes: Arc<Changes>,
    vault: Option<Arc<Vault>>,
}

impl Home {
    /// One with tables only.
    #[cfg(test)]
    pub fn with(database: Arc<TenantDatabase>) -> Self {
        Self { database: Some(database), ..Self::default() }
    }

    /// A home in this Postgres instance, out of reach.
    #[cfg(test)]
    pub fn at(cell: InstanceName) -> Self {
        Self { cell, ..Self::default() }
    }

    /// A home with these keys, out of reach unless there is a way into its database.
    #[cfg(test)]
    pub fn with_vault(vault: Vault, database: Option<Arc<TenantDatabase>>) -> Self {
        Self { vault: Some(Arc::new(vault)), database, ..Self::default() }
    }

    /// What the tenant's secrets are sealed with.
    ///
    /// # Errors
    /// When there is nothing.
    pub fn vault(&self) -> Result<&Vault, ApiError> {
        self.vault.as_deref().ok_or_else(|| ApiError::unavailable("the keyring"))
    }

    /// The tenant's way into Postgres.
    ///
    /// # Errors
    /// When there is none.
    pub fn database(&self) -> Result<&Arc<TenantDatabase>, ApiError> {
        self.database.as_ref().ok_or_else(|| ApiError::unavailable("the database"))
    }

    /// The Redis that holds the tenant's queues.
    ///
    /// # Errors
    /// When this program does not know it.
    pub fn queues(&self) -> Result<&Queues, ApiError> {
        self.queues.as_deref().ok_or_else(|| ApiError::unavailable("the job queue"))
    }

    /// What became of the users of the tenant's Postgres instance lately.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// The engine that holds the tenant's search indexes, if there is one.
    pub fn search(&self) -> Option<&SearchInstance> {
        self.search.as_ref()
    }
}

/// The homes of the tenants of one Postgres instance. Tenants with the same placement share one.
#[derive(Debug, Default)]
pub struct Homes {
    cell: InstanceName,
    database: Option<Arc<TenantDatabase>>,
    queues: BTreeMap<InstanceName, Arc<Queues>>,
    search: BTreeMap<InstanceName, SearchInstance>,
    changes: Arc<Changes>,
    vault: Option<Arc<Vault>>,
    known: HashMap<Placement, Arc<Home>>,
}

impl Homes {
    /// The home that a row of the registry names.
    ///
    /// # Errors
    /// When the row cannot be read.
    pub fn of(&mut self, placement: &Value) -> Result<Arc<Home>, serde_json::Error> {
        let placement = Placement::deserialize(placement)?;
        if let Some(home) = self.known.get(&placement) {
            return Ok(Arc::clone(home));
        }
        let home = Home {
            cell: self.cell.clone(),
            database: self.database.clone(),
            queues: self.queues.get(&placement.redis).cloned(),
            search: self.search.get(&placement.search).cloned(),
            changes: Arc::clone(&self.changes),
            vault: self.vault.clone(),
        };
        if home.queues.is_none() && !self.queues.is_empty() {
            tracing::error!(instance = %placement.redis, "the settings name no such Redis; queues there are out of reach");
        }
        if home.search.is_none() && !self.search.is_empty() {
            tracing::error!(instance = %placement.search, "the settings name no such search engine; searches there fail");
        }
        let home = Arc::new(home);
        self.known.insert(placement, Arc::clone(&home));
        Ok(home)
    }
}

impl Instances {
    /// Opens no connection yet.
    ///
    /// # Errors
    /// When a setting cannot be used.
    pub fn new(
        settings: &settings::ControlPlane,
        tuning: Tuning,
        metrics: &DatabaseMetrics,
    ) -> Result<Self, StartError> {
        let key = database::traffic_key(&settings.database)?;
        let cells = settings.instances.postgres(&settings.database.url)?;
        let cells = cells.into_iter().map(|instance| {
            let key = key.of_instance(&instance.name);
            let login = Login::new(&instance.access, &key)?;
            let address = database::address(&instance.access)?;
            let pool = login.pool();
            Ok::<_, StartError>(Cell {
                name: instance.name,
                changes: Arc::new(Changes::of_instance(pool.clone())),
                pool,
                login,
                database: Arc::new(TenantDatabase::new(address, key, tuning, metrics.clone())),
            })
        });
        let search = settings.instances.search(settings.search.as_ref())?.into_iter().map(|instance| {
            let engine = Meilisearch::new(&instance.access)?;
            Ok::<_, StartError>((instance.name.clone(), SearchInstance { name: instance.name, engine }))
        });
        Ok(Self {
            cells: cells.collect::<Result<_, _>>()?,
            queues: BTreeMap::new(),
            search: search.collect::<Result<_, _>>()?,
            vault: Arc::new(Vault::new(settings)?),
        })
    }

    /// The same with the queues of every Redis instance.
    ///
    /// # Errors
    /// When a setting cannot be used.
    pub fn with_queues(
        mut self,
        settings: &settings::ControlPlane,
        metrics: &Metrics,
    ) -> Result<Self, StartError> {
        let metrics = JobMetrics::register(metrics)?;
        for instance in settings.instances.redis(&settings.redis)? {
            let queues = Queues::new(&instance.access, &settings.database.traffic_key, metrics.clone())?;
            self.queues.insert(instance.name, Arc::new(queues));
        }
        Ok(self)
    }

    /// The names of the Postgres instances.
    pub fn cell_names(&self) -> impl Iterator<Item = InstanceName> + '_ {
        self.cells.iter().map(|cell| cell.name.clone())
    }

    /// What tells the homes of the tenants of `cell`.
    pub fn homes(&self, cell: &Cell) -> Homes {
        Homes {
            cell: cell.name.clone(),
            database: Some(Arc::clone(&cell.database)),
            queues: self.queues.clone(),
            search: self.search.clone(),
            changes: Arc::clone(&cell.changes),
            vault: Some(Arc::clone(&self.vault)),
            known: HashMap::new(),
        }
    }
}
