//! Who lives where, and who serves which host, over all Postgres instances.
//!
//! Each instance keeps its own registry, so no constraint of a database can tell that a name or a host is in two of them. The
//! leader can: it is the only one that places tenants, it reads the names of every instance when it takes it over, and while
//! it could not read one, it places nobody who might live there.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tenantry_crds::names::InstanceName;
use tenantry_migrations::registry::{Placement, TenantRecord};
use uuid::Uuid;

/// A tenant that an instance holds, or is about to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resident {
    /// The uid of its Tenant object.
    pub uid: Uuid,
    /// Its instances.
    pub placement: Placement,
}

/// What the leader knows of the fleet. Lives for one term.
#[derive(Debug)]
pub struct Directory {
    state: Mutex<State>,
    placing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Postgres instances that were not read yet.
    unread: BTreeSet<InstanceName>,
    /// By name, then by the Postgres instance. More than one only after something outside of Tenantry moved rows about.
    tenants: HashMap<String, Vec<Resident>>,
    /// Who serves a host, for each Postgres instance.
    hosts: HashMap<String, BTreeMap<InstanceName, String>>,
    /// Residents of each instance. Counted as they come and go: a look at all of them would make every new tenant dearer.
    counts: HashMap<(Backend, InstanceName), u32>,
    /// Tenants that found no room.
    waiting: BTreeSet<String>,
}

/// The kinds of instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Backend {
    /// Postgres.
    Postgres,
    /// Redis.
    Redis,
    /// The search engine.
    Search,
}

impl Directory {
    /// Knows nothing of these Postgres instances yet.
    pub fn new(unread: impl IntoIterator<Item = InstanceName>) -> Self {
        let state = State { unread: unread.into_iter().collect(), ..State::default() };
        Self { state: Mutex::new(state), placing: tokio::sync::Mutex::default() }
    }

    /// Held while a tenant is placed: two at once must see each other.
    pub async fn placing(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.placing.lock().await
    }

    /// Takes in the tenants of a Postgres instance, retained ones too: their data has the name.
    pub fn read(&self, cell: &InstanceName, tenants: Vec<TenantRecord>) {
        let mut state = self.state();
        for record in tenants {
            // Where the row is, is where the tenant is.
            let placement: Placement = serde_json::from_value(record.placement).unwrap_or_default();
            let placement = Placement { postgres: cell.clone(), ..placement };
            for host in record.hosts {
                state.hosts.entry(host).or_default().insert(cell.clone(), record.name.clone());
            }
            state.settle(record.name, Resident { uid: record.uid, placement });
        }
        state.unread.remove(cell);
    }

    /// The Postgres instances that could not be read yet.
    pub fn unread(&self) -> Vec<InstanceName> {
        self.state().unread.iter().cloned().collect()
    }

    /// The instances of the tenant with this name.
    pub fn residents(&self, name: &str) -> Vec<Resident> {
        self.state().tenants.get(name).cloned().unwrap_or_default()
    }

    /// The tenant lives, or is going to live, there.
    pub fn settle(&self, name: &str, resident: Resident) {
        self.state().settle(name.to_owned(), resident);
    }

    /// The tenant found no room; it is woken when there is some.
    pub fn waits_for_room(&self, name: &str) {
        self.state().waiting.insert(name.to_owned());
    }

    /// The instance holds nothing of the tenant any more. Yields the tenants that found no room before.
    pub fn leave(&self, name: &str, cell: &InstanceName) -> BTreeSet<String> {
        let mut state = self.state();
        state.remove(name, cell);
        state.hosts.retain(|_, claims| {
            if claims.get(cell).is_some_and(|tenant| tenant == name) {
                claims.remove(cell);
            }
            !claims.is_empty()
        });
        std::mem::take(&mut state.waiting)
    }

    /// How many tenants an instance has.
    pub fn tenants(&self, backend: Backend, instance: &InstanceName) -> u32 {
        self.state().counts.get(&(backend, instance.clone())).copied().unwrap_or_default()
    }

    /// Claims `hosts` for a tenant of an instance; one that a tenant of another instance has, with that tenant. `served` are
    /// those that the tenant has already: of two that both serve one, the first by name keeps it. Inside one instance the
    /// registry's primary key decides.
    pub fn claim_hosts(
        &self,
        name: &str,
        cell: &InstanceName,
        hosts: &[String],
        served: &[String],
    ) -> Option<(String, String)> {
        let mut state = self.state();
        for host in hosts {
            let claims = state.hosts.entry(host.clone()).or_default();
            let ours = served.contains(host);
            let rival = claims.iter().find(|(at, tenant)| {
                *at != cell && tenant.as_str() != name && (!ours || tenant.as_str() < name)
            });
            if let Some((_, tenant)) = rival {
                return Some((host.clone(), tenant.clone()));
            }
            claims.entry(cell.clone()).or_insert_with(|| name.to_owned());
        }
        None
    }

    /// The tenant does not serve these hosts any more.
    pub fn release_hosts(&self, name: &str, cell: &InstanceName, hosts: &[String]) {
        let mut state = self.state();
        for host in hosts {
            let Some(claims) = state.hosts.get_mut(host) else { continue };
            if claims.get(cell).is_some_and(|tenant| tenant == name) {
                claims.remove(cell);
            }
            if claims.is_empty() {
                state.hosts.remove(host);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn settle(&mut self, name: String, resident: Resident) {
        self.remove(&name, &resident.placement.postgres);
        self.count(&resident.placement, |count| count + 1);
        self.tenants.entry(name).or_default().push(resident);
    }

    fn remove(&mut self, name: &str, cell: &InstanceName) {
        let Some(residents) = self.tenants.get_mut(name) else { return };
        let at = residents.iter().position(|resident| resident.placement.postgres == *cell);
        let Some(gone) = at.map(|at| residents.swap_remove(at)) else { return };
        if residents.is_empty() {
            self.tenants.remove(name);
        }
        self.count(&gone.placement, |count| count.saturating_sub(1));
    }

    fn count(&mut self, placement: &Placement, change: impl Fn(u32) -> u32) {
        let Placement { postgres, redis, search } = placement;
        for key in [(Backend::Postgres, postgres), (Backend::Redis, redis), (Backend::Search, search)] {
            let count = self.counts.entry((key.0, key.1.clone())).or_default();
            *count = change(*count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(name: &str) -> InstanceName {
        InstanceName::new(name).unwrap()
    }

    fn directory() -> Directory {
        Directory::new([cell("east"), cell("west")])
    }

    fn record(name: &str, hosts: &[&str]) -> TenantRecord {
        TenantRecord {
            name: name.into(),
            uid: Uuid::from_u128(1),
            origin: Uuid::from_u128(1),
            state: "Active".into(),
            suspended_message: None,
            schema_name: String::new(),
            tenant_role: String::new(),
            login_shard: 0,
            placement: serde_json::json!({"redis": "fast"}),
            quotas: serde_json::json!({}),
            auth: serde_json::json!({}),
            cors: serde_json::json!({}),
            generation: 1,
            ready: true,
            connections: "Shared".into(),
            revision: 1,
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        }
    }

    fn hosts(hosts: &[&str]) -> Vec<String> {
        hosts.iter().map(|host| (*host).to_owned()).collect()
    }

    #[test]
    fn whoever_has_a_row_lives_where_the_row_is() {
        let directory = directory();
        directory.read(&cell("east"), vec![record("acme", &[])]);
        assert_eq!(directory.unread(), [cell("west")]);
        let [resident] = &directory.residents("acme")[..] else { panic!("one") };
        assert_eq!(
            (resident.placement.postgres.as_str(), resident.placement.redis.as_str()),
            ("east", "fast")
        );
        assert_eq!(directory.tenants(Backend::Redis, &cell("fast")), 1);
        directory.read(&cell("east"), vec![record("acme", &[])]);
        assert_eq!(directory.tenants(Backend::Redis, &cell("fast")), 1, "read twice, counted once");
        directory.waits_for_room("globex");
        assert!(directory.leave("acme", &cell("east")).contains("globex"));
        assert!(directory.residents("acme").is_empty());
        assert_eq!(directory.tenants(Backend::Postgres, &cell("east")), 0);
    }

    #[test]
    fn a_host_is_served_by_one_tenant_of_all_instances() {
        let directory = directory();
        directory.read(&cell("east"), vec![record("acme", &["a.example"])]);
        let claim = |name: &str, at: &str, served: &[&str]| {
            directory.claim_hosts(name, &cell(at), &hosts(&["a.example"]), &hosts(served))
        };
        assert_eq!(claim("globex", "west", &[]), Some(("a.example".into(), "acme".into())));
        assert_eq!(claim("globex", "east", &[]), None, "the primary key sees to that");
        directory.release_hosts("acme", &cell("east"), &hosts(&["a.example"]));
        assert_eq!(claim("globex", "west", &[]), None);
        assert!(claim("acme", "east", &[]).is_some(), "taken by now");
    }

    #[test]
    fn of_two_that_serve_a_host_the_first_by_name_keeps_it() {
        let directory = directory();
        directory.read(&cell("east"), vec![record("acme", &["a.example"])]);
        directory.read(&cell("west"), vec![record("globex", &["a.example"])]);
        let claim = |name: &str, at: &str| {
            directory.claim_hosts(name, &cell(at), &hosts(&["a.example"]), &hosts(&["a.example"]))
        };
        assert_eq!(claim("acme", "east"), None);
        assert!(claim("globex", "west").is_some());
    }
}
