//! All tenants at one moment, immutable.
//!
//! Inside one Postgres instance names and hosts are unique by its constraints; over several the operator sees to it. Should a
//! name or a host be in two instances all the same, one of them is served, always the same one, and the log says so.

use std::{collections::HashMap, sync::Arc};

use tenantry_crds::names::{InstanceName, TenantName};
use uuid::Uuid;

use super::entry::{Availability, TenantEntry};

/// All tenants at one moment. A change makes a new snapshot; a request sees one from start to end.
#[derive(Debug, Default, Clone)]
pub struct Snapshot {
    by_name: HashMap<TenantName, Arc<TenantEntry>>,
    by_host: HashMap<String, Arc<TenantEntry>>,
    by_uid: HashMap<Uuid, Arc<TenantEntry>>,
    by_role: HashMap<String, Arc<TenantEntry>>,
    /// Tenants that have the data of another Tenant object, by its uid. Nearly always none.
    heirs: HashMap<Uuid, Vec<Arc<TenantEntry>>>,
    /// Tenants that lost their name or a host to one of another instance. Nearly always none.
    rivals: Vec<Arc<TenantEntry>>,
    partial: bool,
}

impl Snapshot {
    /// The snapshot of `tenants`.
    #[cfg(test)]
    pub fn new(tenants: impl IntoIterator<Item = TenantEntry>) -> Self {
        let mut snapshot = Self::default();
        tenants.into_iter().for_each(|tenant| snapshot.insert(tenant));
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

    /// The tenant that has the data of this origin: the first one while it is there, else its heir. Of several heirs, none.
    pub fn by_origin(&self, origin: &Uuid) -> Option<&Arc<TenantEntry>> {
        let first = self.by_uid.get(origin).filter(|tenant| tenant.origin == *origin);
        first.or_else(|| match self.heirs.get(origin).map(Vec::as_slice) {
            Some([only]) => Some(only),
            _ => None,
        })
    }

    /// The tenant whose traffic runs as this role.
    pub fn by_role(&self, role: &str) -> Option<&Arc<TenantEntry>> {
        self.by_role.get(role)
    }

    /// All tenants, in any state.
    pub fn tenants(&self) -> impl Iterator<Item = &Arc<TenantEntry>> {
        self.by_uid.values()
    }

    /// Whether a Postgres instance was never read: a tenant that is not here may exist all the same.
    pub fn is_partial(&self) -> bool {
        self.partial
    }

    pub(super) fn set_partial(&mut self, partial: bool) {
        self.partial = partial;
    }

    /// The same without the tenants of `cell`.
    pub(super) fn without(&self, cell: &InstanceName) -> Self {
        let mut rest = Self { partial: self.partial, ..Self::default() };
        for tenant in self.by_name.values().chain(&self.rivals) {
            if tenant.home.cell != *cell {
                rest.put(Arc::clone(tenant));
            }
        }
        rest
    }

    /// Puts `tenant` in the place of the one with its name in its instance.
    pub(super) fn insert(&mut self, tenant: TenantEntry) {
        self.remove(&tenant.home.cell, tenant.name.as_str());
        self.put(Arc::new(tenant));
    }

    /// Takes the tenant of `cell` out.
    pub(super) fn remove(&mut self, cell: &InstanceName, name: &str) {
        let is_it = |tenant: &TenantEntry| tenant.home.cell == *cell && tenant.name.as_str() == name;
        self.rivals.retain(|rival| !is_it(rival));
        if self.by_name.get(name).is_some_and(|tenant| is_it(tenant)) {
            self.take_out(name);
            for rival in std::mem::take(&mut self.rivals) {
                self.put(rival);
            }
        }
    }

    fn put(&mut self, tenant: Arc<TenantEntry>) {
        if let Some(other) =
            self.by_name.get(&tenant.name).filter(|other| other.home.cell != tenant.home.cell)
        {
            tracing::error!(tenant = %tenant.name, instances = ?[&tenant.home.cell, &other.home.cell], "in two instances");
            if !precedes(&tenant, other) {
                self.rivals.push(tenant);
                return;
            }
            let other = Arc::clone(other);
            self.take_out(other.name.as_str());
            self.rivals.push(other);
        }
        self.by_uid.insert(tenant.uid, Arc::clone(&tenant));
        self.by_role.insert(tenant.role.as_str().to_owned(), Arc::clone(&tenant));
        if tenant.origin != tenant.uid {
            let heirs = self.heirs.entry(tenant.origin).or_default();
            // One that lost a host is put again when that is free.
            heirs.retain(|heir| heir.uid != tenant.uid);
            heirs.push(Arc::clone(&tenant));
        }
        for host in &tenant.hosts {
            self.put_host(host, &tenant);
        }
        self.by_name.insert(tenant.name.clone(), tenant);
    }

    /// In one instance the newer row is right: another tenant may have taken the host over before this change was read.
    fn put_host(&mut self, host: &str, tenant: &Arc<TenantEntry>) {
        let loser = match self.by_host.get(host) {
            Some(other) if other.home.cell != tenant.home.cell => {
                tracing::error!(host, tenants = ?[&tenant.name, &other.name], "a host is in two instances");
                if other.name < tenant.name { Some(Arc::clone(tenant)) } else { Some(Arc::clone(other)) }
            }
            _ => None,
        };
        if !loser.as_ref().is_some_and(|loser| Arc::ptr_eq(loser, tenant)) {
            self.by_host.insert(host.to_owned(), Arc::clone(tenant));
        }
        if let Some(loser) = loser
            && !self.rivals.iter().any(|rival| Arc::ptr_eq(rival, &loser))
        {
            self.rivals.push(loser);
        }
    }

    fn take_out(&mut self, name: &str) {
        let Some(old) = self.by_name.remove(name) else { return };
        self.by_uid.remove(&old.uid);
        self.by_role.remove(old.role.as_str());
        if let Some(heirs) = self.heirs.get_mut(&old.origin) {
            heirs.retain(|heir| heir.uid != old.uid);
            if heirs.is_empty() {
                self.heirs.remove(&old.origin);
            }
        }
        for host in &old.hosts {
            if self.by_host.get(host).is_some_and(|tenant| tenant.name == old.name) {
                self.by_host.remove(host);
            }
        }
    }
}

/// Which of two tenants with one name is served: not the one whose Tenant is gone; then the first by its instance.
fn precedes(tenant: &TenantEntry, other: &TenantEntry) -> bool {
    let rank =
        |tenant: &TenantEntry| (tenant.availability == Availability::Retained, tenant.home.cell.clone());
    rank(tenant) < rank(other)
}

#[cfg(test)]
mod tests {
    use tenantry_crds::names::{SchemaName, TenantRole};
    use tenantry_migrations::logins::LoginShard;

    use super::*;
    use crate::{instances::Home, registry::InstalledApps};

    fn cell(name: &str) -> InstanceName {
        InstanceName::new(name).unwrap()
    }

    fn tenant(name: &str, at: &str, uid: u128, hosts: &[&str]) -> TenantEntry {
        let name = TenantName::new(name).unwrap();
        TenantEntry {
            uid: Uuid::from_u128(uid),
            origin: Uuid::from_u128(uid),
            schema: SchemaName::of(&name),
            role: TenantRole::of(&name),
            login_shard: LoginShard::new(0),
            connections: Default::default(),
            home: Arc::new(Home::at(cell(at))),
            availability: Availability::Serving,
            auth: Arc::default(),
            quotas: Default::default(),
            cors: Default::default(),
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            apps: Arc::new(InstalledApps::new([])),
            search: HashMap::new(),
            streams: HashMap::new(),
            name,
        }
    }

    fn host_of(snapshot: &Snapshot) -> Option<&str> {
        snapshot.by_host("h.example").map(|tenant| tenant.name.as_str())
    }

    #[test]
    fn a_host_in_two_instances_is_of_the_first_by_name_in_any_order() {
        let both = [tenant("acme", "west", 1, &["h.example"]), tenant("globex", "east", 2, &["h.example"])];
        let [acme, globex] = both;
        let snapshot = Snapshot::new([acme, globex]);
        assert_eq!(host_of(&snapshot), Some("acme"));
        let both = [tenant("globex", "east", 2, &["h.example"]), tenant("acme", "west", 1, &["h.example"])];
        let mut snapshot = Snapshot::new(both);
        assert_eq!(host_of(&snapshot), Some("acme"));
        assert!(snapshot.by_name("globex").is_some(), "served by its name");
        snapshot.remove(&cell("west"), "acme");
        assert_eq!(host_of(&snapshot), Some("globex"));
        snapshot.remove(&cell("east"), "globex");
        assert_eq!(host_of(&snapshot), None);
        assert!(snapshot.rivals.is_empty());
    }

    #[test]
    fn a_name_in_two_instances_is_of_whom_is_not_retained() {
        let mut kept = tenant("acme", "east", 1, &[]);
        kept.availability = Availability::Retained;
        let mut snapshot = Snapshot::new([kept, tenant("acme", "west", 2, &[])]);
        assert_eq!(snapshot.by_name("acme").unwrap().uid, Uuid::from_u128(2));
        assert!(snapshot.by_uid(&Uuid::from_u128(1)).is_none());
        snapshot.remove(&cell("west"), "acme");
        assert_eq!(snapshot.by_name("acme").unwrap().uid, Uuid::from_u128(1));
    }

    #[test]
    fn an_origin_leads_to_the_first_tenant_while_it_is_there_and_then_to_its_only_heir() {
        let heir = |name: &str, uid, hosts: &[&str]| TenantEntry {
            origin: Uuid::from_u128(1),
            ..tenant(name, "east", uid, hosts)
        };
        let of = |snapshot: &Snapshot| {
            snapshot.by_origin(&Uuid::from_u128(1)).map(|tenant| tenant.name.to_string())
        };
        let host = ["h.example"];
        let mut snapshot = Snapshot::new([
            tenant("acme", "east", 1, &[]),
            tenant("first", "west", 9, &host),
            heir("second", 2, &host),
            heir("third", 3, &[]),
        ]);
        assert_eq!(of(&snapshot).as_deref(), Some("acme"));
        snapshot.remove(&cell("east"), "acme");
        assert_eq!(of(&snapshot), None, "of two, none is meant");
        snapshot.remove(&cell("east"), "third");
        assert_eq!(of(&snapshot).as_deref(), Some("second"));
        snapshot.remove(&cell("west"), "first");
        assert_eq!(of(&snapshot).as_deref(), Some("second"), "put again, and still one");
        snapshot.remove(&cell("east"), "second");
        assert_eq!(of(&snapshot), None);
        assert!(snapshot.heirs.is_empty());
    }

    #[test]
    fn an_instance_is_read_anew_without_the_others() {
        let snapshot =
            Snapshot::new([tenant("acme", "east", 1, &["h.example"]), tenant("globex", "west", 2, &[])]);
        let rest = snapshot.without(&cell("west"));
        assert!(rest.by_name("acme").is_some() && rest.by_name("globex").is_none());
        assert_eq!(host_of(&rest), Some("acme"));
    }
}
