//! What the control plane knows of one tenant.

use std::{collections::HashMap, sync::Arc};

use tenantry_crds::{
    core_app,
    definition::AppDefinition,
    names::{AppName, DocTypeName, QueueName, RedisKey, SchemaName, TenantName, TenantRole},
};
use tenantry_migrations::{
    logins::LoginShard,
    registry::{Connections, Cors, Quotas, SearchSettings},
};
use uuid::Uuid;

use crate::{
    auth::AuthPolicy, data::Catalog, describe::Described, error::ApiError, instances::Home, vault::Safe,
};

/// A provisioned tenant, as it was when the snapshot was taken.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct TenantEntry {
    /// The tenant's name.
    pub name: TenantName,
    /// The uid of the Tenant object; a tenant that was made again under its name has another.
    pub uid: Uuid,
    /// The uid of the Tenant object that first had the data. It stays when another one takes the data over, or begins as a snapshot of
    /// it: what outlives the object derives from this.
    pub origin: Uuid,
    /// The schema.
    pub schema: SchemaName,
    /// The DML role that traffic runs as.
    pub role: TenantRole,
    /// The shard whose login may become `role`.
    pub login_shard: LoginShard,
    /// By which login the tenant is served, as far as the registry knows.
    pub connections: Connections,
    /// The instances that hold the tenant.
    pub home: Arc<Home>,
    /// Whether requests are served.
    pub availability: Availability,
    /// Who may sign in, and how.
    pub auth: Arc<AuthPolicy>,
    /// Host names.
    pub hosts: Vec<String>,
    /// Limits.
    pub quotas: Quotas,
    /// Origins whose pages may call the tenant.
    pub cors: Cors,
    /// The installed apps, at the versions that the tables are at.
    pub apps: Arc<InstalledApps>,
    /// How document types are searched.
    pub search: HashMap<(AppName, DocTypeName), SearchBinding>,
    /// Job queues.
    pub streams: HashMap<(AppName, QueueName), StreamBinding>,
}

impl TenantEntry {
    /// The tenant's sealed secrets.
    ///
    /// # Errors
    /// When this program has no keys.
    pub fn safe(&self) -> Result<Safe<'_>, ApiError> {
        Ok(self.home.vault()?.of(self.origin))
    }
}

/// Whether a tenant's requests are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Availability {
    /// They are.
    Serving,
    /// They are answered with 503 and this message.
    Suspended(Option<String>),
    /// The tenant is still being provisioned.
    NotReady,
    /// The Tenant is gone and its data was kept: to callers it does not exist.
    Retained,
}

/// A set of apps at fixed versions. Tenants with the same set share one, so memory does not grow with tenants.
#[derive(Debug)]
pub struct InstalledApps {
    definitions: HashMap<AppName, Arc<AppDefinition>>,
    catalog: Catalog,
    described: Described,
}

impl InstalledApps {
    /// The set of `definitions`.
    pub fn new(definitions: impl IntoIterator<Item = Arc<AppDefinition>>) -> Self {
        let definitions: Vec<_> = definitions.into_iter().collect();
        let catalog = Catalog::compile(&definitions);
        let definitions = definitions.into_iter().map(|app| (app.name.clone(), app)).collect();
        Self { definitions, catalog, described: Described::default() }
    }

    /// The app with this name.
    pub fn get(&self, app: &str) -> Option<&Arc<AppDefinition>> {
        self.definitions.get(app)
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Arc<AppDefinition>> {
        self.definitions.values()
    }

    /// What the API says of them to callers.
    pub fn described(&self) -> &Described {
        &self.described
    }

    /// The name of the one app that is not built in, if there is one only.
    pub fn only(&self) -> Option<&str> {
        let mut names = self.definitions.keys().filter(|name| **name != core_app::name());
        names.next().filter(|_| names.next().is_none()).map(AppName::as_str)
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &AppName> {
        self.definitions.keys()
    }

    /// Their document types, as documents are served.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }
}

/// How a document type of a tenant is searched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchBinding {
    /// The index that answers. Only ever read from the registry: a rebuilt index has another uid.
    pub index_uid: String,
    /// What the index is configured with.
    pub settings: SearchSettings,
    /// Whether the engine has the index with these settings.
    pub live: bool,
}

/// A job queue of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamBinding {
    /// The stream of waiting and leased jobs.
    pub stream: RedisKey,
    /// The sorted set of jobs that wait for their next attempt.
    pub delayed: RedisKey,
    /// The stream of jobs that used up their attempts.
    pub dead: RedisKey,
    /// Attempts before a job goes to the dead letters.
    pub max_attempts: u32,
    /// Seconds that a worker holds a job without a sign of life.
    pub lease_seconds: u32,
    /// Jobs above which new ones are refused.
    pub max_length: u32,
}
