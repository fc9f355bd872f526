//! Permissions as they stand in an App.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::any_value;

/// What a role may do with documents of a type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PermissionSpec {
    /// A role of the app; or `owner`, which every user is of the documents that `match` selects; or `admin`.
    #[schemars(length(max = 39))]
    pub role: String,
    /// The actions.
    #[schemars(length(min = 1, max = 4))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allow: Vec<Action>,
    /// Only documents with these values. `@user` stands for the caller's id. For `owner` it is
    /// `{created_by: "@user"}` unless `match` or `where` is given.
    #[serde(default, rename = "match", skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "row_match")]
    pub row_match: BTreeMap<String, String>,
    /// Only documents for which all of these hold, besides `match`.
    #[serde(default, rename = "where", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub conditions: Vec<ConditionSpec>,
    /// The fields that are read, of the documents above; all of them unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100), inner(length(max = 39)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub readable: Option<Vec<String>>,
    /// The fields that may be set, of the documents above; all of them unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100), inner(length(max = 39)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub writable: Option<Vec<String>>,
}

/// A comparison; or several, of which one must hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.field) != has(self.any)")
    .message("permissions.where: give either a field with its value, or any"))]
#[serde(rename_all = "camelCase")]
pub struct ConditionSpec {
    /// A field, `created_at`, `updated_at`, `created_by` or `updated_by`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 39))]
    pub field: Option<String>,
    /// How it is compared.
    #[serde(default)]
    pub op: Operator,
    /// What it is compared with: a value, or for In and NotIn a list. `@user` stands for the caller's id, `@now` for this moment,
    /// `@claims.NAME` for a claim of the caller's token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_value")]
    pub value: Option<serde_json::Value>,
    /// One of these must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub any: Vec<AlternativeSpec>,
}

/// A comparison; or several that must all hold. A type of its own, since a CRD's schema cannot recurse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.field) != has(self.all)")
    .message("permissions.where.any: give either a field with its value, or all"))]
#[serde(rename_all = "camelCase")]
pub struct AlternativeSpec {
    /// A field, `created_at`, `updated_at`, `created_by` or `updated_by`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 39))]
    pub field: Option<String>,
    /// How it is compared.
    #[serde(default)]
    pub op: Operator,
    /// What it is compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_value")]
    pub value: Option<serde_json::Value>,
    /// All of these must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub all: Vec<ComparisonSpec>,
}

/// A comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComparisonSpec {
    /// A field, `created_at`, `updated_at`, `created_by` or `updated_by`.
    #[schemars(length(max = 39))]
    pub field: String,
    /// How it is compared.
    #[serde(default)]
    pub op: Operator,
    /// What it is compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_value")]
    pub value: Option<serde_json::Value>,
}

/// How a value is compared. A field without a value meets only IsNull.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Operator {
    /// Equal.
    #[default]
    Eq,
    /// Not equal.
    Neq,
    /// Greater.
    Gt,
    /// Greater or equal.
    Gte,
    /// Less.
    Lt,
    /// Less or equal.
    Lte,
    /// One of a list.
    In,
    /// None of a list.
    NotIn,
    /// Without a value.
    IsNull,
    /// With a value.
    NotNull,
}

fn row_match(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 8,
        "additionalProperties": {"type": "string", "maxLength": 140},
        "description": "Only documents with these values. `@user` stands for the caller's id."
    })
}

/// What can be done with a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Action {
    /// Read and search.
    Read,
    /// Create.
    Create,
    /// Change.
    Update,
    /// Delete.
    Delete,
}
