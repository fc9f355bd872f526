//! A document type as it stands in an App.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{field::FieldSpec, permission::PermissionSpec, schema::is_false};

/// A document type: a table, an API and permissions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("!has(self.ttl) || !has(self.ttl.field) || self.ttl.field in ['created_at', 'updated_at'] || self.fields.exists(f, f.name == self.ttl.field && f.type == 'DateTime')")
    .message("docTypes: ttl.field must be created_at, updated_at or a field of type DateTime"))]
#[x_kube(validation = Rule::new("!has(self.softDelete) || !self.softDelete || !self.fields.exists(f, f.name == 'deleted_at')")
    .message("docTypes: with softDelete, deleted_at is a reserved name"))]
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
    /// Whether documents may have an `extra`: an object with whatever the definition does not declare.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_extra: bool,
    /// Whether every version of a document is kept, to be read and compared.
    #[serde(default, skip_serializing_if = "is_false")]
    pub track_changes: bool,
    /// Whether a deleted document is only marked: it can be restored until it is purged.
    #[serde(default, skip_serializing_if = "is_false")]
    pub soft_delete: bool,
    /// When documents go by themselves; never unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<TtlSpec>,
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
#[x_kube(validation = Rule::new("!has(self.gapless) || !self.gapless || self.strategy == 'Series'")
    .message("naming.gapless: belongs to strategy Series"))]
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
    /// For Series: no number is ever left out. Each new document then waits for the one before it to be committed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub gapless: bool,
}

/// When documents of a type go by themselves: so many seconds after a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TtlSpec {
    /// What holds the moment: a field of type DateTime, or `created_at` (unless given) or `updated_at`. A document without a
    /// moment stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 39))]
    pub field: Option<String>,
    /// Seconds from that moment on; 0 is the moment itself.
    #[schemars(range(min = 0, max = 3153600000i64))]
    pub seconds: i64,
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
