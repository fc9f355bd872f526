//! A document type as it stands in an App.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::field::FieldSpec;

/// A document type: a table, an API and permissions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DocTypeSpec {
    /// The name, in the singular.
    #[schemars(length(max = 39), regex(pattern = "^[a-z]([a-z0-9_]*[a-z0-9])?$"))]
    pub name: String,
    /// The plural, as it stands in URLs; the name + `s` unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), regex(pattern = "^[a-z]([a-z0-9_]*[a-z0-9])?$"))]
    pub plural: Option<String>,
    /// What the document type is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,
    /// How a document gets its id.
    #[serde(default)]
    pub naming: NamingSpec,
    /// The fields.
    #[serde(default)]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub fields: Vec<FieldSpec>,
    /// Who may do what. Nobody but the tenant's admins may do anything that is not listed.
    #[serde(default)]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub permissions: Vec<PermissionSpec>,
}

/// How a document gets its id.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("(self.strategy == 'Series') == has(self.pattern)")
    .message("naming.pattern: needed with strategy Series, and only there"))]
#[x_kube(validation = Rule::new("(self.strategy == 'Field') == has(self.field)")
    .message("naming.field: needed with strategy Field, and only there"))]
#[serde(rename_all = "camelCase")]
pub struct NamingSpec {
    /// The strategy.
    #[serde(default)]
    pub strategy: NamingStrategy,
    /// For Series: a prefix, a `.`, and one `#` for each digit, as in `SO-.#####`. More digits are taken when needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), regex(pattern = "^[A-Za-z0-9_-]{0,20}[.]#{1,12}$"))]
    pub pattern: Option<String>,
    /// For Field: the required, unique field that holds the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 39))]
    pub field: Option<String>,
}

/// Where the id of a document comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum NamingStrategy {
    /// A UUID of version 7: unique everywhere, ordered by time.
    #[default]
    Uuid,
    /// A number that counts up, with a prefix.
    Series,
    /// The value of a field.
    Field,
}

/// What a role may do with documents of a type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
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
    /// `{created_by: "@user"}` unless given.
    #[serde(default, rename = "match", skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "row_match")]
    pub row_match: BTreeMap<String, String>,
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
