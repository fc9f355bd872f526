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
use tokio::sync::watch;

#[cfg(test)]
pub use entry::InstalledApps;
pub use entry::{Availability, SearchBinding, StreamBinding, TenantEntry};
pub use follow::{DATABASE_PART, Follower, REGISTRY_PART};
pub use snapshot::Snapshot;

/// The newest snapshot. Reading it never waits, also not while Postgres is down.
#[derive(Debug, Clone)]
pub struct Registry {
    newest: Arc<ArcSwap<Snapshot>>,
    read: watch::Sender<bool>,
}

impl Default for Registry {
    fn default() -> Self {
        Self { newest: Arc::default(), read: watch::Sender::new(false) }
    }
}

impl Registry {
    /// The newest snapshot.
    pub fn snapshot(&self) -> Guard<Arc<Snapshot>> {
        self.newest.load()
    }

    /// Waits until the registry was read once. Before that, a tenant that is not in the snapshot may exist all the same.
    pub async fn is_read(&self) {
        // Never closed: `self` has a sender.
        let mut read = self.read.subscribe();
        let _read = read.wait_for(|read| *read).await;
    }

    fn publish(&self, snapshot: Snapshot) {
        self.newest.store(Arc::new(snapshot));
        self.read.send_replace(true);
    }
}
