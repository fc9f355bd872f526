//! The provisioned state in memory.
//!
//! - [`entry`]: what is known of one tenant
//! - [`snapshot`]: all tenants at one moment
//! - [`load`]: rows of schema `tenantry` as entries
//! - [`follow`]: keeps the snapshot current

mod compose;
mod entry;
mod follow;
mod load;
mod snapshot;

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

pub use entry::{Availability, InstalledApps, SearchBinding, StreamBinding, TenantEntry};
pub use follow::{DATABASE_PART, Follower, REGISTRY_PART};
pub use snapshot::Snapshot;

/// The newest snapshot. Reading it never waits, also not while Postgres is down.
#[derive(Debug, Clone, Default)]
pub struct Registry(Arc<ArcSwap<Snapshot>>);

impl Registry {
    /// The newest snapshot.
    pub fn snapshot(&self) -> Guard<Arc<Snapshot>> {
        self.0.load()
    }

    fn publish(&self, snapshot: Snapshot) {
        self.0.store(Arc::new(snapshot));
    }
}
