//! `App`: what an application is made of.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{doc_type::DocTypeSpec, schema::any_object};

/// What an application is made of: document types, roles, queues, schedules and migrations. `Tenant.spec.apps` installs it.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "tenantry.dev",
    version = "v1alpha1",
    kind = "App",
    category = "tenantry",
    status = "AppStatus",
    derive = "PartialEq",
    doc = "What an application is made of",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.publishedVersion"),
    printcolumn(name = "Updated", type_ = "string", json_path = ".status.rollout.progress"),
    printcolumn(name = "Tenants", type_ = "integer", json_path = ".status.tenants"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Message", type_ = "string", priority = 1, json_path = ".status.conditions[?(@.type==\"Ready\")].message"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z][a-z0-9]{0,19}$')")
        .message("metadata.name: use at most 20 lower-case letters and digits, starting with a letter"),
    validation = Rule::new("self.metadata.name != 'core'")
        .message("metadata.name: core is built in and cannot be changed"),
)]
#[x_kube(validation = Rule::new("self.schedules.all(s, self.queues.exists(q, q.name == s.queue))")
    .message("spec.schedules: each schedule must name a queue of spec.queues"))]
#[x_kube(validation = Rule::new("self.docTypes.all(d, d.permissions.all(p, p.role in ['admin', 'owner'] || self.roles.exists(r, r.name == p.role)))")
    .message("spec.docTypes: each permission must name a role of spec.roles, or the built-in roles admin or owner"))]
#[serde(rename_all = "camelCase")]
pub struct AppSpec {
    /// The version, as in semantic versioning. A changed definition needs a new one.
    #[schemars(length(max = 64), regex(pattern = r"^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$"))]
    pub version: String,

    /// The title that people read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 140))]
    pub title: Option<String>,

    /// Apps that this one builds on.
    #[serde(default)]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["app".into()]))]
    pub requires: Vec<AppRequirement>,

    /// Roles that users of a tenant can have in this app.
    #[serde(default)]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub roles: Vec<RoleSpec>,

    /// Document types: a table, an API and permissions each.
    #[serde(default)]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub doc_types: Vec<DocTypeSpec>,

    /// Job queues.
    #[serde(default)]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub queues: Vec<QueueSpec>,

    /// Jobs enqueued at fixed times.
    #[serde(default)]
    #[schemars(length(max = 50))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub schedules: Vec<ScheduleSpec>,

    /// Versioned SQL for data changes, run once per tenant as its owner role.
    #[serde(default)]
    #[schemars(length(max = 200))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub migrations: Vec<MigrationSpec>,

    /// How a new version reaches the tenants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutSpec>,

    /// Destructive changes that are acknowledged, each by its exact name: `drop-field DOCTYPE.FIELD`,
    /// `drop-doc-type DOCTYPE` or `narrow DOCTYPE.FIELD`. Not part of a version: it can be added to a published one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 100),
        inner(
            length(max = 100),
            regex(
                pattern = r"^((drop-field|narrow) [a-z][a-z0-9_]{0,38}\.[a-z][a-z0-9_]{0,38}|drop-doc-type [a-z][a-z0-9_]{0,38})$"
            )
        )
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allow_destructive: Vec<String>,
}

/// An app that another one builds on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppRequirement {
    /// The App's name.
    #[schemars(length(max = 20), regex(pattern = "^[a-z][a-z0-9]*$"))]
    pub app: String,
    /// The oldest version that will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = r"^[0-9]+\.[0-9]+\.[0-9]+$"))]
    pub min_version: Option<String>,
}

/// A role that users can have in an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleSpec {
    /// The role's name. A token names it `{app}:{role}`.
    #[schemars(length(max = 39), regex(pattern = "^[a-z]([a-z0-9_]*[a-z0-9])?$"))]
    #[x_kube(validation = Rule::new("!(self in ['admin', 'owner'])").message("spec.roles: admin and owner are built in"))]
    pub name: String,
    /// What the role is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,
}

/// A job queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueSpec {
    /// The queue's name.
    #[schemars(length(max = 20), regex(pattern = "^[a-z]([a-z0-9-]*[a-z0-9])?$"))]
    pub name: String,
    /// What a job survives.
    #[serde(default)]
    pub class: QueueClass,
    /// Attempts before a job goes to the dead letters.
    #[serde(default = "default_max_attempts")]
    #[schemars(range(min = 1, max = 100))]
    pub max_attempts: u32,
    /// Seconds that a worker holds a job without a sign of life.
    #[serde(default = "default_lease_seconds")]
    #[schemars(range(min = 1, max = 86400))]
    pub lease_seconds: u32,
    /// Jobs, waiting and leased, above which new ones are refused with 429.
    #[serde(default = "default_max_length")]
    #[schemars(range(min = 1, max = 1000000))]
    pub max_length: u32,
}

const fn default_max_attempts() -> u32 {
    5
}

const fn default_lease_seconds() -> u32 {
    30
}

const fn default_max_length() -> u32 {
    10_000
}

/// What a job survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum QueueClass {
    /// The loss of Redis.
    #[default]
    Durable,
    /// A restart of Redis, short of the last second.
    Fast,
}

/// A job enqueued at fixed times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleSpec {
    /// The schedule's name.
    #[schemars(length(max = 39), regex(pattern = "^[a-z]([a-z0-9-]*[a-z0-9])?$"))]
    pub name: String,
    /// When, in the five fields of cron, UTC.
    #[schemars(length(min = 9, max = 100))]
    pub cron: String,
    /// The queue that the job goes to.
    #[schemars(length(max = 20))]
    pub queue: String,
    /// The job's type.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 100))]
    pub job_type: String,
    /// The job's payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub payload: Option<serde_json::Value>,
    /// What happens to fire times that nobody was there for.
    #[serde(default)]
    pub missed: MissedFire,
}

/// What happens to fire times that nobody was there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum MissedFire {
    /// Nothing.
    Skip,
    /// One job for all of them.
    #[default]
    FireOnce,
    /// A job for each.
    FireAll,
}

/// A versioned data change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MigrationSpec {
    /// The migration's name; migrations run in the order of the list.
    #[schemars(length(max = 63), regex(pattern = "^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$"))]
    pub name: String,
    /// The SQL.
    #[schemars(length(min = 1, max = 65536))]
    pub sql: String,
}

/// How a new version reaches the tenants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutSpec {
    /// The tenants that go first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// Tenants that change at the same time.
    #[serde(default = "default_max_parallel")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_parallel: u32,
    /// Stop when a tenant fails.
    #[serde(default = "default_true")]
    pub pause_on_failure: bool,
}

const fn default_max_parallel() -> u32 {
    20
}

const fn default_true() -> bool {
    true
}

/// The tenants that go first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Canary {
    /// Labels that a Tenant must have.
    #[serde(default)]
    pub match_labels: BTreeMap<String, String>,
}

/// What the operator found.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppStatus {
    /// The generation that this status speaks of; -1 before the first pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling and Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The version that tenants get: the last one that `spec.version` named and that could be published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_version: Option<String>,
    /// The digest of that version's definition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_digest: Option<String>,
    /// Tenants that list the app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenants: Option<i64>,
    /// How far the version that tenants get has reached them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
    /// Fields of the spec that this release accepts but does not act on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_supported: Vec<String>,
}

/// How far a version has reached the tenants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// The version.
    pub version: String,
    /// Where the rollout is.
    pub stage: RolloutStage,
    /// Tenants whose tables are at the version.
    pub updated: i64,
    /// Tenants that are to get it.
    pub total: i64,
    /// The same as `updated/total`, for `kubectl get`.
    pub progress: String,
    /// Tenants that could not get it, and why. A bounded sample.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["tenant".into()]))]
    pub failed: Vec<RolloutFailure>,
}

/// Where a rollout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RolloutStage {
    /// The canary tenants get the version.
    Canary,
    /// The others get it, some at a time.
    Waves,
    /// A tenant failed; no other gets the version.
    Paused,
    /// Every tenant has it.
    Complete,
}

/// A tenant that could not get a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutFailure {
    /// The tenant.
    pub tenant: String,
    /// The reason of its condition.
    pub reason: String,
    /// Its message.
    pub message: String,
}
