//! The provisioned state in memory.
//!
//! - [`entry`]: what is known of one tenant
//! - [`snapshot`]: all tenants at one moment
//! - [`load`]: rows of schema `tenantry` as entries
//! - [`follow`]: keeps the snapshot current, for each Postgres instance by itself
//! - [`health`]: whether the registries can be read

mod compose;
mod entry;
mod follow;
mod health;
mod load;
mod snapshot;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::{ArcSwap, Guard};
use tenantry_crds::names::InstanceName;
use tokio::sync::watch;

#[cfg(test)]
pub use entry::InstalledApps;
pub use entry::{Availability, SearchBinding, StreamBinding, TenantEntry};
pub use follow::Follower;
pub use health::{DATABASE_PART, Health, REGISTRY_PART};
pub use snapshot::Snapshot;
pub use tenantry_migrations::registry::Cors;

/// The newest snapshot: the tenants of all Postgres instances. Reading it never waits, also not while Postgres is down.
#[derive(Debug, Clone)]
pub struct Registry {
    newest: Arc<ArcSwap<Snapshot>>,
    /// One change at a time: each makes the next snapshot from the last.
    changing: Arc<Mutex<()>>,
    /// The instances that were never read.
    unread: watch::Sender<BTreeSet<InstanceName>>,
}

impl Registry {
    /// A registry of the tenants of these Postgres instances.
    pub fn new(cells: impl IntoIterator<Item = InstanceName>) -> Self {
        let unread = watch::Sender::new(cells.into_iter().collect());
        Self { newest: Arc::default(), changing: Arc::default(), unread }
    }

    /// The newest snapshot.
    pub fn snapshot(&self) -> Guard<Arc<Snapshot>> {
        self.newest.load()
    }

    /// Waits until an instance was read once. Before that, a tenant of it that is not in the snapshot may exist all the same.
    pub async fn is_read(&self, cell: &InstanceName) {
        // Never closed: `self` has a sender.
        let mut unread = self.unread.subscribe();
        let _read = unread.wait_for(|unread| !unread.contains(cell)).await;
    }

    /// These are all tenants of an instance.
    fn replace(&self, cell: &InstanceName, tenants: Vec<TenantEntry>) {
        self.unread.send_modify(|unread| {
            unread.remove(cell);
        });
        self.change(|snapshot| {
            let mut next = snapshot.without(cell);
            tenants.into_iter().for_each(|tenant| next.insert(tenant));
            next
        });
    }

    /// Of the tenants of an instance, those with these names are now as `tenants` say, or gone.
    fn update(&self, cell: &InstanceName, names: &BTreeSet<String>, tenants: Vec<TenantEntry>) {
        self.change(|snapshot| {
            let mut next = snapshot.clone();
            names.iter().for_each(|name| next.remove(cell, name));
            tenants.into_iter().for_each(|tenant| next.insert(tenant));
            next
        });
    }

    fn change(&self, next: impl FnOnce(&Snapshot) -> Snapshot) {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = next(&self.newest.load());
        next.set_partial(!self.unread.borrow().is_empty());
        self.newest.store(Arc::new(next));
    }
}
