//! All tenants at one moment, immutable.

use std::{collections::HashMap, sync::Arc};

use tenantry_crds::names::TenantName;
use uuid::Uuid;

use super::entry::TenantEntry;

/// All tenants at one moment. A change makes a new snapshot; a request sees one from start to end.
#[derive(Debug, Default, Clone)]
pub struct Snapshot {
    by_name: HashMap<TenantName, Arc<TenantEntry>>,
    by_host: HashMap<String, Arc<TenantEntry>>,
    by_uid: HashMap<Uuid, Arc<TenantEntry>>,
    by_role: HashMap<String, Arc<TenantEntry>>,
}

impl Snapshot {
    /// The snapshot of `tenants`.
    pub fn new(tenants: impl IntoIterator<Item = TenantEntry>) -> Self {
        let mut snapshot = Self::default();
        for tenant in tenants {
            snapshot.insert(tenant);
        }
        snapshot
    }

    /// The tenant with this name.
    pub fn by_name(&self, name: &str) -> Option<&Arc<TenantEntry>> {
        self.by_name.get(name)
    }

    /// The tenant that serves this host name, in lower case and without a port.
    pub fn by_host(&self, host: &str) -> Option<&Arc<TenantEntry>> {
        self.by_host.get(host)
    }

    /// The tenant with this uid.
    pub fn by_uid(&self, uid: &Uuid) -> Option<&Arc<TenantEntry>> {
        self.by_uid.get(uid)
    }

    /// The tenant whose traffic runs as this role.
    pub fn by_role(&self, role: &str) -> Option<&Arc<TenantEntry>> {
        self.by_role.get(role)
    }

    /// Puts `tenant` in the place of the one with its name.
    pub(super) fn insert(&mut self, tenant: TenantEntry) {
        self.remove(tenant.name.as_str());
        let tenant = Arc::new(tenant);
        self.by_uid.insert(tenant.uid, Arc::clone(&tenant));
        self.by_role.insert(tenant.role.as_str().to_owned(), Arc::clone(&tenant));
        for host in &tenant.hosts {
            self.by_host.insert(host.clone(), Arc::clone(&tenant));
        }
        self.by_name.insert(tenant.name.clone(), tenant);
    }

    /// Takes the tenant out.
    pub(super) fn remove(&mut self, name: &str) {
        let Some(old) = self.by_name.remove(name) else { return };
        self.by_uid.remove(&old.uid);
        self.by_role.remove(old.role.as_str());
        for host in &old.hosts {
            // Another tenant may have taken the host over before this change was read.
            if self.by_host.get(host).is_some_and(|tenant| tenant.name == old.name) {
                self.by_host.remove(host);
            }
        }
    }
}
