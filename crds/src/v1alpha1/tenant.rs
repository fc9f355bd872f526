//! `Tenant`: who uses which apps.

use k8s_openapi::apimachinery::pkg::{
    api::resource::Quantity,
    apis::meta::v1::{Condition, Time},
};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{schema::any_object, tenant_auth::AuthSpec};

/// A tenant of the platform: a schema with roles and tables, streams and search indexes for the apps it uses.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[kube(
    group = "tenantry.dev",
    version = "v1alpha1",
    kind = "Tenant",
    shortname = "ten",
    category = "tenantry",
    status = "TenantStatus",
    derive = "PartialEq",
    doc = "A tenant of the platform: who uses which apps",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Apps", type_ = "string", json_path = ".status.appsInstalled"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Message", type_ = "string", priority = 1, json_path = ".status.conditions[?(@.type==\"Ready\")].message"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([a-z0-9-]{0,46}[a-z0-9])?$')")
        .message("metadata.name: use at most 48 lower-case letters, digits and inner '-', starting with a letter"),
    validation = Rule::new("!(self.metadata.name in ['admin', 'api', 'default', 'public', 'system', 'tenantry', 'www'])")
        .message("metadata.name: admin, api, default, public, system, tenantry and www are reserved"),
    validation = Rule::new("!self.metadata.name.endsWith('-owner')")
        .message("metadata.name: must not end in '-owner', the suffix of owner roles"),
    validation = Rule::new("has(self.spec.restoreFrom) == has(oldSelf.spec.restoreFrom)")
        .message("spec.restoreFrom: cannot be added or removed once the Tenant is there"),
    validation = Rule::new("(!has(oldSelf.spec.placement) || !has(oldSelf.spec.placement.postgres) || (has(self.spec.placement) && has(self.spec.placement.postgres))) && (!has(oldSelf.spec.placement) || !has(oldSelf.spec.placement.redis) || (has(self.spec.placement) && has(self.spec.placement.redis))) && (!has(oldSelf.spec.placement) || !has(oldSelf.spec.placement.search) || (has(self.spec.placement) && has(self.spec.placement.search)))")
        .message("spec.placement: a tenant cannot be moved in this release, so what is set stays"),
)]
#[serde(rename_all = "camelCase")]
pub struct TenantSpec {
    /// The name that people read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 140))]
    pub display_name: Option<String>,

    /// Host names under which this tenant is served. Each belongs to one tenant only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        inner(
            length(max = 253),
            regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$")
        )
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub hosts: Vec<String>,

    /// Whether traffic is served (Active) or answered with 503 (Suspended).
    #[serde(default)]
    pub state: TenantState,

    /// What callers of a suspended tenant read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub suspended_message: Option<String>,

    /// The apps this tenant uses. The built-in app `core` is always there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub apps: Vec<TenantApp>,

    /// The backend instances that hold this tenant, by the names that the settings give them. What is left out is chosen once,
    /// by free capacity. Cannot be changed in this release.
    #[serde(default, skip_serializing_if = "PlacementSpec::is_empty")]
    pub placement: PlacementSpec,

    /// Limits on what this tenant may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quotas: Option<QuotaSpec>,

    /// Who may sign in, and how. Without it, only users that administrators make.
    #[serde(default, skip_serializing_if = "AuthSpec::is_default")]
    pub auth: AuthSpec,
    /// Which web pages of other origins may call this tenant. Without it, none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<CorsSpec>,

    /// Database logins for direct SQL.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub access: Vec<AccessSpec>,

    /// What happens to the data when the Tenant is deleted. Retain keeps and marks it; Delete leaves no residue.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,

    /// While true, the Tenant cannot be deleted: the data stays even if the object is on its way out.
    #[serde(default)]
    pub deletion_protection: bool,

    /// Take back the data that a deleted Tenant of the same name left under Retain.
    #[serde(default)]
    pub adopt_retained: bool,

    /// Start with the data of a snapshot. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.restoreFrom: cannot be changed"))]
    pub restore_from: Option<RestoreSpec>,
}

/// The snapshot that a tenant starts with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreSpec {
    /// The snapshot as `status.snapshot.name` said it: `{tenant}/{uid}`.
    #[schemars(length(max = 100), regex(pattern = "^[a-z][a-z0-9-]*/[0-9a-f-]{36}$"))]
    pub snapshot: String,
}

/// Whether a tenant is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum TenantState {
    /// Traffic is served.
    #[default]
    Active,
    /// Traffic is answered with 503.
    Suspended,
}

/// What happens to a tenant's data when its Tenant is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// The data stays and is marked.
    #[default]
    Retain,
    /// The data is exported, then dropped.
    Snapshot,
    /// The data is dropped.
    Delete,
}

/// An app that a tenant uses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantApp {
    /// The App's name.
    #[schemars(length(max = 20), regex(pattern = "^[a-z][a-z0-9]*$"))]
    #[x_kube(validation = Rule::new("self != 'core'").message("spec.apps: core is built in and always installed; leave it out"))]
    pub name: String,

    /// Stay at this published version, whatever the App is at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = r"^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$"))]
    pub version: Option<String>,

    /// Settings of the app for this tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub settings: Option<serde_json::Value>,
}

/// Where a tenant is served from. Instances that are left out are placed by free capacity; `status.placement` says where.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlacementSpec {
    /// The Postgres instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), regex(pattern = "^[a-z]([a-z0-9-]*[a-z0-9])?$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.placement.postgres: a tenant cannot be moved in this release"))]
    pub postgres: Option<String>,
    /// The Redis instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), regex(pattern = "^[a-z]([a-z0-9-]*[a-z0-9])?$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.placement.redis: a tenant cannot be moved in this release"))]
    pub redis: Option<String>,
    /// The search instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), regex(pattern = "^[a-z]([a-z0-9-]*[a-z0-9])?$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.placement.search: a tenant cannot be moved in this release"))]
    pub search: Option<String>,
    /// By which login the tenant is served. One that can hold code of its own has connections of its own in any case; `Dedicated`
    /// asks for them always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<TenantConnections>,
}

/// By which login a tenant is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TenantConnections {
    /// By one that serves many, while nothing in the tenant's schema can be code.
    Shared,
    /// By one that is a member of this tenant's role alone.
    Dedicated,
}

impl PlacementSpec {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Web pages that may call a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CorsSpec {
    /// Origins, as in `https://app.example.com`, or `*` alone for all.
    #[schemars(
        length(min = 1, max = 32),
        inner(length(max = 300), regex(pattern = r"^(\*|https?://[a-z0-9.\[\]:-]+)$"))
    )]
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = Rule::new("self.size() == 1 || !('*' in self)")
            .message("spec.cors.allowedOrigins: '*' stands alone")
    )]
    pub allowed_origins: Vec<String>,
}

/// Limits on what a tenant may use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuotaSpec {
    /// Requests a minute over all of the tenant's users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000000000))]
    pub requests_per_minute: Option<u32>,
    /// Milliseconds that the database may work on one statement of a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 8000))]
    pub statement_timeout_milliseconds: Option<u32>,
    /// Bytes that the tenant's schema may take, as in `1Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bytes")]
    pub storage_bytes: Option<Quantity>,
}

fn bytes(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "x-kubernetes-int-or-string": true,
        "pattern": r"^[0-9]+([.][0-9]+)?([KMGTPE]i|[kMGTPE])?$",
        "maxLength": 20,
        "minimum": 1,
        "description": "Bytes that the tenant's schema may take, as in `1Gi`.",
    })
}

/// A database login for direct SQL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessSpec {
    /// A name for this access, unique in the tenant.
    #[schemars(length(max = 20), regex(pattern = "^[a-z]([a-z0-9-]*[a-z0-9])?$"))]
    pub name: String,
    /// What the login may do.
    pub level: AccessLevel,
    /// Where the credentials go: this Secret for Postgres, `{name}-redis` and `{name}-search` for the others.
    pub secret_ref: SecretReference,
    /// The backends that the credentials are for.
    #[serde(default = "default_backends")]
    #[schemars(length(min = 1, max = 3))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub backends: Vec<AccessBackend>,
    /// Change the password by itself. Without it, only the annotation `tenantry.dev/rotate` does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationSpec>,
}

fn default_backends() -> Vec<AccessBackend> {
    vec![AccessBackend::Postgres]
}

/// A backend that credentials are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum AccessBackend {
    /// A login for the tenant's schema.
    Postgres,
    /// An ACL user for the tenant's streams.
    Redis,
    /// A key for the tenant's search indexes.
    Search,
}

/// When credentials change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.overlapSeconds < self.everySeconds")
    .message("spec.access[].rotation: overlapSeconds must be less than everySeconds"))]
pub struct RotationSpec {
    /// Seconds between two rotations.
    #[schemars(range(min = 2, max = 315360000))]
    pub every_seconds: u64,
    /// Seconds that the old credentials still work after a rotation.
    #[serde(default = "default_overlap_seconds")]
    #[schemars(range(min = 1, max = 31536000))]
    pub overlap_seconds: u64,
}

const fn default_overlap_seconds() -> u64 {
    3600
}

/// What a direct login may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AccessLevel {
    /// Read tables.
    Read,
    /// Read and change rows.
    Write,
    /// Everything in the tenant's schema.
    Owner,
}

/// A Secret by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// The Secret's name.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: String,
    /// The Secret's namespace.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: String,
}

/// What the operator found and did.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantStatus {
    /// The generation that this status speaks of; -1 before the first pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling, Stalled and one for each backend.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The Postgres schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The apps and the versions that the tables are at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub apps: Vec<InstalledApp>,
    /// The same in one line, for `kubectl get`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apps_installed: Option<String>,
    /// The instances that hold the tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<PlacementSpec>,
    /// Credentials for direct access. Never holds a secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub access: Vec<AccessStatus>,
    /// What would change, while the annotation `tenantry.dev/plan` asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanStatus>,
    /// The export of the data, under the deletion policy Snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotStatus>,
    /// The value of the annotation `tenantry.dev/reconcile-at` that was acted on last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// Fields of the spec that this release accepts but does not act on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_supported: Vec<String>,
}

/// Credentials for direct access.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessStatus {
    /// The name of the access.
    pub name: String,
    /// The user that the Secret names now.
    pub username: String,
    /// When its password was made.
    pub rotated_at: Time,
    /// When the next one is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_rotation_at: Option<Time>,
    /// Until when the user before this one still works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_until: Option<Time>,
    /// The value of the annotation `tenantry.dev/rotate` that was acted on last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_rotate: Option<String>,
}

/// What a pass would change.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanStatus {
    /// The statements for Postgres, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sql: Vec<String>,
    /// What would change in Redis and in the search engine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
    /// What stands in the way of the change, as far as it can be told without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Statements that found no room here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<i64>,
}

/// An export of a tenant's data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotStatus {
    /// `{tenant}/{uid}`, as `spec.restoreFrom.snapshot` takes it.
    pub name: String,
    /// When it was complete and verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,
    /// Tables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tables: Option<i64>,
    /// Rows of all tables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<i64>,
}

/// An app as it is installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstalledApp {
    /// The App's name.
    pub name: String,
    /// The version that the tables are at.
    pub version: String,
    /// The version that the tables are being brought to, if that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}
