//! Rows as entries. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Weak},
};

use tenantry_crds::{
    definition::AppDefinition,
    names::{AppName, DocTypeName, QueueName, RedisKey, SchemaName, TenantName, TenantRole},
    v1alpha1::AppSpec,
};
use tenantry_migrations::{
    logins::LoginShard,
    registry::{
        AppVersionRecord, Connections, SearchBindingRecord, StreamBindingRecord, TenantAppRecord,
        TenantRecord,
    },
};

use super::entry::{Availability, InstalledApps, SearchBinding, StreamBinding, TenantEntry};
use crate::{auth::AuthPolicy, instances::Homes};

/// The rows of some tenants, read in one transaction.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub tenants: Vec<TenantRecord>,
    pub apps: Vec<TenantAppRecord>,
    pub search: Vec<SearchBindingRecord>,
    pub streams: Vec<StreamBindingRecord>,
}

/// Published definitions, compiled once, and the sets of them that tenants share.
#[derive(Debug, Default)]
pub(super) struct Compositions {
    homes: Homes,
    definitions: HashMap<(String, String), Arc<AppDefinition>>,
    // Weak, so that a set which no tenant uses any more goes away with its last snapshot.
    sets: HashMap<Vec<(String, String)>, Weak<InstalledApps>>,
}

/// A row that does not follow the contract, which only a program of another release can have written. The tenant is left
/// out rather than served wrongly.
#[derive(Debug, thiserror::Error)]
#[error("tenant {tenant}: {problem}")]
pub(super) struct Unreadable {
    tenant: String,
    problem: String,
}

impl Compositions {
    /// Composes the tenants of these homes.
    pub(super) fn new(homes: Homes) -> Self {
        Self { homes, ..Self::default() }
    }

    /// Takes published versions in. A version is immutable, so a known one is not compiled again.
    pub(super) fn publish(&mut self, versions: Vec<AppVersionRecord>) {
        for record in versions {
            let key = (record.app, record.version);
            if self.definitions.contains_key(&key) {
                continue;
            }
            match compile(&key.0, record.definition) {
                Ok(definition) => {
                    self.definitions.insert(key, Arc::new(definition));
                }
                Err(problem) => {
                    tracing::error!(app = key.0, version = key.1, problem, "published app cannot be read");
                }
            }
        }
    }

    /// Whether every installed app of `rows` is known.
    pub(super) fn covers(&self, rows: &Rows) -> bool {
        rows.apps.iter().all(|app| self.definitions.contains_key(&(app.app.clone(), app.version.clone())))
    }

    /// The entries of `rows`.
    pub(super) fn entries(&mut self, rows: Rows) -> Vec<TenantEntry> {
        self.sets.retain(|_, set| set.strong_count() > 0);
        let mut apps = group(rows.apps, |row| row.tenant.clone());
        let mut search = group(rows.search, |row| row.tenant.clone());
        let mut streams = group(rows.streams, |row| row.tenant.clone());
        let mut entries = Vec::with_capacity(rows.tenants.len());
        for tenant in rows.tenants {
            let name = tenant.name.clone();
            let entry = self.entry(
                tenant,
                apps.remove(&name).unwrap_or_default(),
                search.remove(&name).unwrap_or_default(),
                streams.remove(&name).unwrap_or_default(),
            );
            match entry {
                Ok(entry) => entries.push(entry),
                Err(error) => tracing::error!(%error, "tenant cannot be served"),
            }
        }
        entries
    }

    fn entry(
        &mut self,
        tenant: TenantRecord,
        apps: Vec<TenantAppRecord>,
        search: Vec<SearchBindingRecord>,
        streams: Vec<StreamBindingRecord>,
    ) -> Result<TenantEntry, Unreadable> {
        let unreadable =
            |problem: &dyn ToString| Unreadable { tenant: tenant.name.clone(), problem: problem.to_string() };
        let name = TenantName::new(&tenant.name).map_err(|error| unreadable(&error))?;
        let (schema, role) = (SchemaName::of(&name), TenantRole::of(&name));
        if schema.as_str() != tenant.schema_name || role.as_str() != tenant.tenant_role {
            return Err(unreadable(&"its schema or role is not the one that its name stands for"));
        }
        let availability = match (tenant.state.as_str(), tenant.ready) {
            ("Active", true) => Availability::Serving,
            ("Suspended", _) => Availability::Suspended(tenant.suspended_message.clone()),
            ("Retained", _) => Availability::Retained,
            _ => Availability::NotReady,
        };
        let mut bound = HashMap::with_capacity(search.len());
        for row in search {
            let key = (
                AppName::new(&row.app).map_err(|error| unreadable(&error))?,
                DocTypeName::new(&row.doc_type).map_err(|error| unreadable(&error))?,
            );
            let settings = serde_json::from_value(row.settings).map_err(|error| unreadable(&error))?;
            bound.insert(key, SearchBinding { index_uid: row.index_uid, settings, live: row.live });
        }
        let mut queues = HashMap::with_capacity(streams.len());
        for row in streams {
            let app = AppName::new(&row.app).map_err(|error| unreadable(&error))?;
            let queue = QueueName::new(&row.queue).map_err(|error| unreadable(&error))?;
            let binding = StreamBinding {
                stream: RedisKey::queue(&name, &app, &queue),
                delayed: RedisKey::delayed(&name, &app, &queue),
                dead: RedisKey::dead(&name, &app, &queue),
                max_attempts: row.max_attempts.unsigned_abs(),
                lease_seconds: row.lease_seconds.unsigned_abs(),
                max_length: row.max_length.unsigned_abs(),
            };
            if binding.stream.as_str() != row.stream_key {
                return Err(unreadable(&"the stream of a queue is not the one that its name stands for"));
            }
            queues.insert((app, queue), binding);
        }
        Ok(TenantEntry {
            uid: tenant.uid,
            origin: tenant.origin,
            schema,
            role,
            login_shard: LoginShard::new(tenant.login_shard),
            connections: Connections::of(&tenant.connections),
            home: self.homes.of(&tenant.placement).map_err(|error| unreadable(&error))?,
            availability,
            auth: AuthPolicy::read(&tenant.auth).map_err(|error| unreadable(&error))?,
            quotas: serde_json::from_value(tenant.quotas.clone()).map_err(|error| unreadable(&error))?,
            cors: serde_json::from_value(tenant.cors.clone()).map_err(|error| unreadable(&error))?,
            hosts: tenant.hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
            apps: self.set(&name, apps),
            search: bound,
            streams: queues,
            name,
        })
    }

    fn set(&mut self, tenant: &TenantName, apps: Vec<TenantAppRecord>) -> Arc<InstalledApps> {
        let mut key: Vec<_> = apps
            .into_iter()
            .filter(|row| row.state == "Installed")
            .map(|row| (row.app, row.version))
            .collect();
        key.sort();
        if let Some(set) = self.sets.get(&key).and_then(Weak::upgrade) {
            return set;
        }
        let definitions: Vec<_> = key
            .iter()
            .filter_map(|version| {
                let known = self.definitions.get(version).cloned();
                if known.is_none() {
                    tracing::error!(%tenant, app = version.0, version = version.1, "installed app is not published");
                }
                known
            })
            .collect();
        let complete = definitions.len() == key.len();
        let set = Arc::new(InstalledApps::new(definitions));
        if complete {
            self.sets.insert(key, Arc::downgrade(&set));
        }
        set
    }
}

fn compile(app: &str, definition: serde_json::Value) -> Result<AppDefinition, String> {
    let name = AppName::new(app).map_err(|error| error.to_string())?;
    let spec: AppSpec = serde_json::from_value(definition).map_err(|error| error.to_string())?;
    AppDefinition::compile(&name, &spec).map_err(|error| error.to_string())
}

fn group<T>(rows: Vec<T>, tenant: impl Fn(&T) -> String) -> BTreeMap<String, Vec<T>> {
    let mut groups: BTreeMap<String, Vec<T>> = BTreeMap::new();
    for row in rows {
        groups.entry(tenant(&row)).or_default().push(row);
    }
    groups
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn tenant(name: &str) -> TenantRecord {
        let name = TenantName::new(name).unwrap();
        TenantRecord {
            name: name.to_string(),
            uid: Uuid::now_v7(),
            origin: Uuid::now_v7(),
            state: "Active".into(),
            suspended_message: None,
            schema_name: SchemaName::of(&name).to_string(),
            tenant_role: TenantRole::of(&name).to_string(),
            login_shard: 0,
            placement: json!({}),
            quotas: json!({}),
            auth: json!({}),
            cors: json!({}),
            generation: 1,
            ready: true,
            connections: "Shared".into(),
            revision: 1,
            hosts: vec![format!("{name}.Example.com")],
        }
    }

    fn installed(tenant: &str, app: &str) -> TenantAppRecord {
        TenantAppRecord {
            tenant: tenant.into(),
            app: app.into(),
            version: "1.0.0".into(),
            state: "Installed".into(),
        }
    }

    fn published() -> Compositions {
        let mut compositions = Compositions::default();
        compositions.publish(vec![AppVersionRecord {
            app: "crm".into(),
            version: "1.0.0".into(),
            digest: String::new(),
            definition: json!({"version": "1.0.0", "docTypes": [{"name": "customer"}]}),
        }]);
        compositions
    }

    #[test]
    fn tenants_with_the_same_apps_share_one_set() {
        let rows = Rows {
            tenants: vec![tenant("acme"), tenant("globex")],
            apps: vec![installed("acme", "crm"), installed("globex", "crm")],
            ..Rows::default()
        };
        let entries = published().entries(rows);
        assert_eq!(entries.len(), 2);
        assert!(Arc::ptr_eq(&entries[0].apps, &entries[1].apps));
        assert!(entries[0].apps.get("crm").is_some());
        assert_eq!(entries[0].hosts, ["acme.example.com"]);
    }

    #[test]
    fn a_removed_app_is_not_served() {
        let removed = TenantAppRecord { state: "Removed".into(), ..installed("acme", "crm") };
        let rows = Rows { tenants: vec![tenant("acme")], apps: vec![removed], ..Rows::default() };
        assert!(published().entries(rows)[0].apps.get("crm").is_none());
    }

    #[test]
    fn availability_follows_state_and_ready() {
        let of = |state: &str, ready| {
            let record = TenantRecord { state: state.into(), ready, ..tenant("acme") };
            let rows = Rows { tenants: vec![record], ..Rows::default() };
            published().entries(rows).remove(0).availability
        };
        assert_eq!(of("Active", true), Availability::Serving);
        assert_eq!(of("Active", false), Availability::NotReady);
        assert_eq!(of("Suspended", true), Availability::Suspended(None));
        assert_eq!(of("Retained", true), Availability::Retained);
        assert_eq!(of("SomethingNew", true), Availability::NotReady);
    }

    #[test]
    fn a_row_whose_schema_is_of_another_tenant_is_never_served() {
        let record = TenantRecord { schema_name: "tenant_globex".into(), ..tenant("acme") };
        let rows = Rows { tenants: vec![record], ..Rows::default() };
        assert!(published().entries(rows).is_empty());
    }
}
