//! What every pass is given.

use std::sync::Arc;

use kube::{Client, ResourceExt, runtime::reflector::Store};
use tenantry_config::settings;
use tenantry_crds::{
    names::InstanceName,
    v1alpha1::{App, SearchIndex, Tenant},
};
use tokio_util::sync::CancellationToken;

use crate::{
    backend::Backends, catalog::Catalog, driver::Lane, events::Events, leader::Leadership, metrics::Metrics,
    placement::Directory, rollout::Rollouts, snapshot::Jobs, tenant::Evolutions, triggers::Touched,
};

/// What every pass is given. It exists only while this process leads.
pub struct Context {
    /// For everything but watches: a read timeout of 10 s and no retries of its own.
    pub client: Client,
    /// The settings.
    pub settings: Arc<settings::Operator>,
    /// Check it before a side effect that no transaction fences.
    pub leadership: Leadership,
    /// Every Postgres, Redis and search instance.
    pub backends: Arc<Backends>,
    /// Who lives where.
    pub directory: Arc<Directory>,
    /// Changes of tables that hold rows, beside the passes.
    pub evolutions: Evolutions,
    /// The published apps.
    pub catalog: Arc<Catalog>,
    /// Which tenant gets which version when.
    pub rollouts: Arc<Rollouts>,
    /// Apps that count their tenants again.
    pub touched: Touched,
    /// Metrics.
    pub metrics: Metrics,
    /// Events on failures; the driver publishes them.
    pub events: Events,
    /// The objects as they were last seen. Complete before the first pass of any kind.
    pub stores: Stores,
    /// Exports and restores.
    pub snapshots: Jobs,
    /// When objects are due, and how to wake one: `ctx.lanes.tenants.wake("acme")`.
    pub lanes: Lanes,
}

impl Context {
    /// The tenants that list `app`, in no order.
    pub fn tenants_of(&self, app: &str) -> Vec<Arc<Tenant>> {
        self.stores.tenants.state_filter(|tenant| uses(tenant, app))
    }

    /// An instance holds nothing of a tenant any more: whoever found no room is looked at again.
    pub fn left(&self, tenant: &str, cell: &InstanceName) {
        for waiting in self.directory.leave(tenant, cell) {
            self.lanes.tenants.wake(&waiting);
        }
    }

    /// Wakes every App and every Tenant: an instance that was away can be used from now on.
    pub fn wake_all(&self) {
        self.stores.apps.state().iter().for_each(|app| self.lanes.apps.wake(&app.name_any()));
        self.stores.tenants.state().iter().for_each(|tenant| self.lanes.tenants.wake(&tenant.name_any()));
    }

    /// Wakes all that depend on `app`: its tenants, its SearchIndexes and the Apps that require it.
    pub fn wake_users_of(&self, app: &str) {
        for tenant in self.tenants_of(app) {
            self.lanes.tenants.wake(&tenant.name_any());
        }
        self.wake_definitions_on(app);
    }

    /// Wakes the definitions that depend on `app`: its SearchIndexes and the Apps that require it.
    pub fn wake_definitions_on(&self, app: &str) {
        for index in self.stores.search_indexes.state_filter(|index| index.spec.app == app) {
            self.lanes.search_indexes.wake(&index.name_any());
        }
        let requires = |other: &App| other.spec.requires.iter().any(|required| required.app == app);
        for other in self.stores.apps.state_filter(requires) {
            self.lanes.apps.wake(&other.name_any());
        }
    }
}

/// Whether `tenant` lists `app`.
pub fn uses(tenant: &Tenant, app: &str) -> bool {
    tenant.spec.apps.iter().any(|installed| installed.name == app)
}

/// The watch caches.
#[derive(Debug, Clone)]
pub struct Stores {
    /// Tenants.
    pub tenants: Store<Tenant>,
    /// Apps.
    pub apps: Store<App>,
    /// SearchIndexes.
    pub search_indexes: Store<SearchIndex>,
    /// One for each store, cancelled once it is complete.
    pub filled: [CancellationToken; 3],
}

impl Stores {
    /// Waits until every cache has had its first list. A pass that sees half of the Apps would call the other half missing.
    ///
    /// Not by `Store::wait_until_ready`: of several who wait there, only the last to ask is woken (kube 5.0, `DelayedInit`),
    /// and the `Controller` itself is one of them.
    pub async fn complete(&self) {
        for filled in &self.filled {
            filled.cancelled().await;
        }
    }
}

/// The lanes of all kinds.
#[derive(Debug)]
pub struct Lanes {
    /// Tenants.
    pub tenants: Lane<Tenant>,
    /// Apps.
    pub apps: Lane<App>,
    /// SearchIndexes.
    pub search_indexes: Lane<SearchIndex>,
}
