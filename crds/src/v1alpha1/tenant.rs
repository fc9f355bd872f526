//! `Tenant`: who uses which apps.

use k8s_openapi::apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::Condition};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::any_object;

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
    cel,
    doc = "A tenant of the platform: who uses which apps",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Apps", type_ = "string", json_path = ".status.appsInstalled"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([a-z0-9-]{0,46}[a-z0-9])?$')")
        .message("metadata.name: use at most 48 lower-case letters, digits and inner '-', starting with a letter"),
    validation = Rule::new("!(self.metadata.name in ['admin', 'api', 'default', 'public', 'system', 'tenantry', 'www'])")
        .message("metadata.name: admin, api, default, public, system, tenantry and www are reserved"),
    validation = Rule::new("!self.metadata.name.endsWith('-owner')")
        .message("metadata.name: must not end in '-owner', the suffix of owner roles"),
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

    /// The backend instances that hold this tenant.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self.postgres == 'default' && self.redis == 'default' && self.search == 'default'")
        .message("spec.placement: only 'default' is supported in this release"))]
    pub placement: PlacementSpec,

    /// Limits on what this tenant may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quotas: Option<QuotaSpec>,

    /// Database logins for direct SQL.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub access: Vec<AccessSpec>,

    /// What happens to the data when the Tenant is deleted. Retain keeps and marks it; Delete leaves no residue.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self != 'Snapshot'")
        .message("spec.deletionPolicy: Snapshot is not supported in this release; use Retain or Delete"))]
    pub deletion_policy: DeletionPolicy,
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

    /// Stay at this published version instead of the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = r"^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$"))]
    pub version: Option<String>,

    /// Settings of the app for this tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub settings: Option<serde_json::Value>,
}

/// Names of backend instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlacementSpec {
    /// The Postgres instance.
    #[serde(default = "default_instance")]
    #[schemars(length(max = 63))]
    pub postgres: String,
    /// The Redis instance.
    #[serde(default = "default_instance")]
    #[schemars(length(max = 63))]
    pub redis: String,
    /// The search instance.
    #[serde(default = "default_instance")]
    #[schemars(length(max = 63))]
    pub search: String,
}

impl Default for PlacementSpec {
    fn default() -> Self {
        Self { postgres: default_instance(), redis: default_instance(), search: default_instance() }
    }
}

fn default_instance() -> String {
    "default".to_owned()
}

/// Limits on what a tenant may use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuotaSpec {
    /// Requests a minute over all of the tenant's users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000000000))]
    pub requests_per_minute: Option<u32>,
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
    /// Where the credentials go.
    pub secret_ref: SecretReference,
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
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The Secret's namespace.
    #[schemars(length(min = 1, max = 63))]
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
    /// Fields of the spec that this release accepts but does not act on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_supported: Vec<String>,
}

/// An app as it is installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstalledApp {
    /// The App's name.
    pub name: String,
    /// The version that the tables are at.
    pub version: String,
}
