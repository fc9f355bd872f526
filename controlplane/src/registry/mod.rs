//! The provisioned state in memory.
//!
//! - [`entry`]: what is known of one tenant
//! - [`snapshot`]: all tenants at one moment
//! - [`load`]: rows of schema `tenantry` as entries
//! - [`follow`]: keeps the snapshot current, for each Postgres instance by itself
//! - [`health`]: whether the registries can be read; [`clock`]: whether the clock is right

mod clock;
mod compose;
mod entry;
mod follow;
mod health;
mod load;
#[cfg(test)]
mod on_servers;
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
pub use health::{CLOCK_PART, Clock, DATABASE_PART, Health, REGISTRY_PART};
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
        let unread: BTreeSet<_> = cells.into_iter().collect();
        let mut empty = Snapshot::default();
        empty.set_partial(!unread.is_empty());
        Self {
            newest: Arc::new(ArcSwap::from_pointee(empty)),
            changing: Arc::default(),
            unread: watch::Sender::new(unread),
        }
    }

    /// A registry of these tenants.
    #[cfg(test)]
    pub fn of(tenants: impl IntoIterator<Item = TenantEntry>) -> Self {
        let registry = Self::new([]);
        registry.newest.store(Arc::new(Snapshot::new(tenants)));
        registry
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
        self.change(Some(cell), |snapshot| {
            let mut next = snapshot.without(cell);
            tenants.into_iter().for_each(|tenant| next.insert(tenant));
            next
        });
    }

    /// Of the tenants of an instance, those with these names are now as `tenants` say, or gone.
    fn update(&self, cell: &InstanceName, names: &BTreeSet<String>, tenants: Vec<TenantEntry>) {
        self.change(None, |snapshot| {
            let mut next = snapshot.clone();
            names.iter().for_each(|name| next.remove(cell, name));
            tenants.into_iter().for_each(|tenant| next.insert(tenant));
            next
        });
    }

    /// With `read`, all tenants of that instance are known from now on.
    fn change(&self, read: Option<&InstanceName>, next: impl FnOnce(&Snapshot) -> Snapshot) {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = next(&self.newest.load());
        next.set_partial(self.unread.borrow().iter().any(|unread| Some(unread) != read));
        self.newest.store(Arc::new(next));
        // Whoever waits for it finds it in the snapshot.
        if let Some(read) = read {
            self.unread.send_if_modified(|unread| unread.remove(read));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_unknown_only_when_every_instance_was_read() {
        let cells = ["default", "second"].map(|name| InstanceName::new(name).unwrap());
        let registry = Registry::new(cells.clone());
        assert!(registry.snapshot().is_partial(), "before anything was read");
        registry.replace(&cells[0], Vec::new());
        assert!(registry.snapshot().is_partial());
        registry.replace(&cells[1], Vec::new());
        assert!(!registry.snapshot().is_partial());
        assert!(!Registry::new([]).snapshot().is_partial());
    }
}
