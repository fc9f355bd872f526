//! What every pass is given.

use std::sync::Arc;

use kube::{Client, runtime::reflector::Store};
use sqlx::PgPool;
use tenantry_config::settings;
use tenantry_crds::v1alpha1::{App, SearchIndex, Tenant};

use crate::{backend::Backends, catalog::Catalog, driver::Lane, leader::Leadership, metrics::Metrics};

/// What every pass is given. It exists only while this process leads.
pub struct Context {
    /// For everything but watches: a read timeout of 10 s and no retries of its own.
    pub client: Client,
    /// The settings.
    pub settings: Arc<settings::Operator>,
    /// Check it before a side effect that no transaction fences.
    pub leadership: Leadership,
    /// Connections as `tenantry_operator`.
    pub database: PgPool,
    /// Provisioners, Redis and the search engine.
    pub backends: Backends,
    /// The published apps.
    pub catalog: Arc<Catalog>,
    /// Metrics.
    pub metrics: Metrics,
    /// The objects as they were last seen. Complete before the first pass of any kind.
    pub stores: Stores,
    /// When objects are due, and how to wake one: `ctx.lanes.tenants.wake("acme")`.
    pub lanes: Lanes,
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
