//! What tenants go through while the operator dies.

use std::path::Path;

use kube::{Api, ResourceExt, api::DeleteParams};
use serde_json::{Value, json};
use tenantry_crds::v1alpha1::{App, SearchIndex, Tenant};
use tenantry_e2e::cluster::Cluster;
use tenantry_e2e::manifests::{customer, search_of, shop, uses};
use tenantry_rig::ClusterKind;
use tenantry_rig::kstatus::{Computed, compute};

/// The accesses of a tenant, each on all three backends.
pub const ACCESSES: [&str; 2] = ["site", "gone"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scenario {
    Create,
    /// A Tenant takes over what was retained.
    Adopt,
    /// A Tenant begins as a snapshot.
    Restore,
    /// An access becomes the tenant's owner.
    Entrust,
    /// An access is the tenant's owner no more.
    Distrust,
    /// A tenant with connections of its own is suspended.
    Suspend,
    /// Hosts, search settings, a rotation, and an access less.
    Update,
    /// A version with a migration, an index and a required field, for tables that hold rows.
    Rollout,
    /// A version whose migration fails.
    Stumble,
    Delete,
    /// Deleted under the policy Snapshot.
    Archive,
    /// Deleted while Redis is gone for good.
    Release,
}

impl Scenario {
    /// Those of a group are under way together, so one death meets several tenants, each somewhere else. Redis is gone for all
    /// of a group or for none.
    pub const GROUPS: [&[Self]; 3] = [
        &[Self::Create, Self::Adopt, Self::Restore, Self::Entrust, Self::Distrust, Self::Suspend],
        &[Self::Update, Self::Rollout, Self::Stumble, Self::Delete, Self::Archive],
        &[Self::Release],
    ];

    /// What differs from the usual settings of an operator.
    pub fn environment(self) -> &'static [(&'static str, &'static str)] {
        if self == Self::Release { &[("TENANTRY__REDIS__URL", "redis://127.0.0.1:1/")] } else { &[] }
    }

    /// Makes what is there before it begins, if anything is.
    pub async fn make(self, cluster: &Cluster, name: &str) {
        let policy = match self {
            Self::Create => return,
            Self::Adopt => "Retain",
            Self::Restore | Self::Archive => "Snapshot",
            Self::Entrust
            | Self::Distrust
            | Self::Suspend
            | Self::Update
            | Self::Rollout
            | Self::Stumble
            | Self::Delete
            | Self::Release => "Delete",
        };
        create(cluster, name, policy).await;
        match self {
            Self::Distrust => drop(cluster.tenant(name, with_owner(name)).await),
            Self::Suspend => drop(cluster.tenant(name, dedicated(name, "Active")).await),
            _ => {}
        }
    }

    /// Goes on from there, once that is Ready and while an operator runs.
    pub async fn settle(self, cluster: &Cluster, name: &str) {
        if matches!(self, Self::Create) {
            return;
        }
        let schema = format!("tenant_{name}");
        let rows = format!(
            "INSERT INTO {schema}.{name}_customer (id, name, created_by, updated_by)
               SELECT gen_random_uuid(), 'Ada ' || n, 'u', 'u' FROM generate_series(1, 3) n"
        );
        cluster.run_sql(&rows).await;
        if matches!(self, Self::Adopt | Self::Restore) {
            cluster.delete::<Tenant>(name).await;
        }
    }

    /// What the user does. `snapshots` is where they are.
    pub async fn begin(self, cluster: &Cluster, name: &str, snapshots: &Path) {
        match self {
            Self::Create => create(cluster, name, "Delete").await,
            Self::Adopt => {
                let mut spec = spec_of(name, "Delete");
                spec["adoptRetained"] = json!(true);
                cluster.tenant(name, spec).await;
            }
            Self::Restore => {
                let mut taken = std::fs::read_dir(snapshots.join(name)).unwrap();
                let uid = taken.next().unwrap().unwrap().file_name().into_string().unwrap();
                let mut spec = spec_of(name, "Delete");
                spec["restoreFrom"] = json!({"snapshot": format!("{name}/{uid}")});
                cluster.tenant(name, spec).await;
            }
            Self::Entrust => drop(cluster.tenant(name, with_owner(name)).await),
            Self::Distrust => drop(cluster.tenant(name, spec_of(name, "Delete")).await),
            Self::Suspend => drop(cluster.tenant(name, dedicated(name, "Suspended")).await),
            Self::Update => {
                let mut search = search_of(name);
                search["searchable"] = json!(["name"]);
                cluster.search_index(name, search).await;
                let mut spec = spec_of(name, "Delete");
                spec["hosts"] = json!([format!("{name}.example.com")]);
                spec["access"] = json!([access(name, ACCESSES[0])]);
                let metadata = json!({"name": name, "annotations": {"tenantry.dev/rotate": "now"}});
                let manifest = json!({
                    "apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "metadata": metadata, "spec": spec,
                });
                cluster.apply::<Tenant>(manifest).await;
            }
            Self::Rollout => {
                let mut fields = customer();
                fields.as_array_mut().unwrap().extend([
                    json!({"name": "phone", "type": "String", "index": true}),
                    json!({"name": "visits", "type": "Integer", "required": true}),
                ]);
                // Of a column that holds rows: built beside the traffic.
                fields[0]["index"] = json!(true);
                let mut next = shop("1.1.0", fields);
                next["queues"].as_array_mut().unwrap().push(json!({"name": "mail", "class": "Fast"}));
                // Twice would be seen.
                let sql = format!("UPDATE {name}_customer SET visits = coalesce(visits, 0) + 1");
                next["migrations"] = json!([{"name": "visits", "sql": sql}]);
                cluster.app(name, next).await;
            }
            Self::Stumble => {
                let mut next = shop("1.1.0", customer());
                next["migrations"] = json!([{"name": "never", "sql": "SELECT 1 / 0"}]);
                cluster.app(name, next).await;
            }
            Self::Delete | Self::Archive => remove(cluster, name).await,
            Self::Release => {
                cluster.annotate(name, "tenantry.dev/force-release", "redis").await;
                remove(cluster, name).await;
            }
        }
    }

    /// Whether that is done.
    pub async fn is_done(self, cluster: &Cluster, name: &str) -> Result<(), String> {
        let found = objects(cluster, name).await.map_err(|error| error.to_string())?;
        if matches!(self, Self::Delete | Self::Archive | Self::Release) {
            return if found.is_empty() { Ok(()) } else { Err(format!("still there: {found:?}")) };
        }
        if self == Self::Stumble {
            return stumbled(cluster, name, &found).await;
        }
        are_current(&found)?;
        // The App is Ready before its tenants have the version.
        let version = if self == Self::Rollout { "1.1.0" } else { "1.0.0" };
        let has = found.iter().any(|object| object["status"]["appsInstalled"] == format!("{name} {version}"));
        if !has {
            return Err(format!("not at {version}: {found:?}"));
        }
        self.has_its_connections(cluster, name).await?;
        // A rotation is done when the credentials before it are gone.
        let rows = format!(
            "SELECT concat_ws(' ', access, backend, serial, state, previous_until) FROM tenantry.access
             WHERE tenant = '{name}' ORDER BY 1"
        );
        let rows = cluster.texts(&rows).await;
        let rotated = ["site Postgres 2 Applied", "site Redis 2 Applied", "site Search 2 Applied"];
        if self == Self::Update && rows != rotated { Err(format!("{rows:?}")) } else { Ok(()) }
    }

    /// By which login the tenant is served, and whether that one may log in.
    async fn has_its_connections(self, cluster: &Cluster, name: &str) -> Result<(), String> {
        let own = format!("(SELECT rolcanlogin::text FROM pg_roles WHERE rolname = 'tenant_{name}-traffic')");
        let found = format!(
            "SELECT connections || ' ' || coalesce({own}, 'none') || ' ' || coalesce((SELECT level FROM tenantry.access a
             WHERE a.tenant = t.name AND access = 'site' AND backend = 'Postgres'), 'none')
             FROM tenantry.tenant t WHERE name = '{name}'"
        );
        let found = cluster.texts(&found).await.join(", ");
        let right = match self {
            Self::Entrust => found == "Dedicated true Owner",
            Self::Distrust => found == "Shared none Write",
            Self::Suspend => found == "Dedicated false Write",
            Self::Rollout => found.starts_with("Shared none"),
            _ => true,
        };
        if right { Ok(()) } else { Err(found) }
    }

    /// What it leaves behind on purpose goes.
    pub async fn clear(self, cluster: &Cluster, name: &str, snapshots: &Path) {
        // Not all have taken one.
        let _ = std::fs::remove_dir_all(snapshots.join(name));
        if self != Self::Release {
            return;
        }
        for key in cluster.keys(name).await {
            cluster.redis_command(&["DEL", &key]).await;
        }
        for user in super::dump::redis_users(cluster, name).await {
            cluster.redis_command(&["ACL", "DELUSER", &user]).await;
        }
        cluster.run_sql(&format!("DELETE FROM tenantry.orphan WHERE tenant = '{name}'")).await;
    }
}

/// The failure is told, and noted for those who lead next.
async fn stumbled(cluster: &Cluster, name: &str, found: &[Value]) -> Result<(), String> {
    let reason = |object: &Value, kind: &str| {
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.into_iter().find(|one| one["type"] == kind && one["status"] == "True");
        found.map(|one| one["reason"].to_string()).unwrap_or_default()
    };
    let tenant = found.iter().find(|object| object["kind"] == "Tenant").ok_or("no Tenant")?;
    let app = found.iter().find(|object| object["kind"] == "App").ok_or("no App")?;
    let failed =
        format!("SELECT failed_version FROM tenantry.tenant_app WHERE tenant = '{name}' AND app = '{name}'");
    let noted = cluster.texts(&format!("SELECT coalesce(({failed}), 'none')")).await;
    let stage = app["status"]["rollout"]["stage"].as_str().unwrap_or_default();
    if reason(tenant, "Stalled") == "\"MigrationFailed\"" && noted == ["1.1.0"] && stage == "Paused" {
        return Ok(());
    }
    Err(format!("{noted:?} {stage} {}", tenant["status"]))
}

/// All three are there and what they should be.
pub fn are_current(found: &[Value]) -> Result<(), String> {
    match found.iter().find(|object| compute(object) != Computed::Current) {
        Some(object) => Err(format!("{} {}", object["kind"], object["status"])),
        None if found.len() == 3 => Ok(()),
        None => Err(format!("only {} objects", found.len())),
    }
}

pub async fn create(cluster: &Cluster, name: &str, policy: &str) {
    cluster.app(name, shop("1.0.0", customer())).await;
    cluster.search_index(name, search_of(name)).await;
    cluster.tenant(name, spec_of(name, policy)).await;
}

/// A tenant with direct access, where the others of the sweep are.
pub fn spec_of(name: &str, policy: &str) -> Value {
    let mut spec = uses(name, policy);
    spec["placement"] = json!({"postgres": "default", "redis": "default", "search": "default"});
    spec["access"] = ACCESSES.iter().map(|one| access(name, one)).collect();
    spec
}

/// With an access that is the tenant's owner.
fn with_owner(name: &str) -> Value {
    let mut spec = spec_of(name, "Delete");
    spec["access"][0]["level"] = json!("Owner");
    spec
}

/// With connections of its own.
fn dedicated(name: &str, state: &str) -> Value {
    let mut spec = spec_of(name, "Delete");
    spec["placement"]["connections"] = json!("Dedicated");
    spec["state"] = json!(state);
    spec
}

fn access(name: &str, access: &str) -> Value {
    json!({
        "name": access, "level": "Write", "backends": ["Postgres", "Redis", "Search"],
        "secretRef": {"name": format!("{name}-{access}"), "namespace": "default"},
        "rotation": {"everySeconds": 100_000_000, "overlapSeconds": 1},
    })
}

pub async fn remove(cluster: &Cluster, name: &str) {
    let client = cluster.kube();
    let how = DeleteParams::default();
    // Those that a case has removed already are fine.
    let _ = Api::<Tenant>::all(client.clone()).delete(name, &how).await;
    let _ = Api::<SearchIndex>::all(client.clone()).delete(name, &how).await;
    let _ = Api::<App>::all(client).delete(name, &how).await;
}

/// The App, the SearchIndex and the Tenant of that name, as far as they are there.
pub async fn objects(cluster: &Cluster, name: &str) -> kube::Result<Vec<Value>> {
    async fn one<K: ClusterKind>(client: kube::Client, name: &str) -> kube::Result<Option<Value>> {
        let found = Api::<K>::all(client).get_opt(name).await?;
        Ok(found.map(|mut object| {
            object.managed_fields_mut().clear();
            serde_json::to_value(object).unwrap()
        }))
    }
    let client = cluster.kube();
    let found = [
        one::<App>(client.clone(), name).await?,
        one::<SearchIndex>(client.clone(), name).await?,
        one::<Tenant>(client, name).await?,
    ];
    Ok(found.into_iter().flatten().collect())
}
