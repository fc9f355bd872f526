//! `SearchIndex`: how a document type is searched.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a document type of an app is searched, for all or some of the tenants that use the app.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "tenantry.dev",
    version = "v1alpha1",
    kind = "SearchIndex",
    plural = "searchindexes",
    shortname = "si",
    category = "tenantry",
    status = "SearchIndexStatus",
    derive = "PartialEq",
    doc = "How a document type is searched",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "App", type_ = "string", json_path = ".spec.app"),
    printcolumn(name = "DocType", type_ = "string", json_path = ".spec.docType"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        priority = 1,
        json_path = ".status.conditions[?(@.type==\"Ready\")].message"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct SearchIndexSpec {
    /// The App that has the document type.
    #[schemars(length(max = 20), regex(pattern = "^[a-z][a-z0-9]*$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.app is immutable; create another SearchIndex"))]
    pub app: String,

    /// The document type.
    #[schemars(length(max = 39), regex(pattern = "^[a-z]([a-z0-9_]*[a-z0-9])?$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.docType is immutable; create another SearchIndex"))]
    pub doc_type: String,

    /// Which tenants get the index. Empty: all that use the app.
    #[serde(default)]
    pub tenants: TenantSelector,

    /// What answers searches.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self != 'Postgres'")
        .message("spec.engine: Postgres is not supported in this release; use Auto or Meilisearch"))]
    pub engine: SearchEngine,

    /// Whether each tenant has an index of its own.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self != 'Shared'")
        .message("spec.isolation: Shared is not supported in this release; use Dedicated"))]
    pub isolation: Isolation,

    /// Fields that the text of a search is looked up in, most important first.
    #[schemars(length(min = 1, max = 64), inner(length(max = 39)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub searchable: Vec<String>,

    /// Fields that may stand in filters and facets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 39)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub filterable: Vec<String>,

    /// Fields that results may be ordered by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 39)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub sortable: Vec<String>,
}

/// Some of the tenants. Empty selects all; names and labels together select what matches both.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantSelector {
    /// Labels that a Tenant must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Names, one of which a Tenant must have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(length(max = 48)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub names: Vec<String>,
}

impl TenantSelector {
    /// Whether a tenant with this name and these labels is selected.
    pub fn selects(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        (self.names.is_empty() || self.names.iter().any(|n| n == name))
            && self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
    }
}

/// What answers searches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum SearchEngine {
    /// Chosen by the number of documents and searches.
    #[default]
    Auto,
    /// Full-text search in the tenant's schema.
    Postgres,
    /// An index in Meilisearch.
    Meilisearch,
}

/// Whether each tenant has an index of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Isolation {
    /// One index for each tenant.
    #[default]
    Dedicated,
    /// One index for all tenants, read through tenant tokens.
    Shared,
}

/// What the operator found.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SearchIndexStatus {
    /// The generation that this status speaks of; -1 before the first pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling and Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Fields of the spec that this release accepts but does not act on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_supported: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_selector_selects_all_and_a_full_one_only_what_matches_both() {
        let canary = BTreeMap::from([("ring".to_owned(), "canary".to_owned())]);
        assert!(TenantSelector::default().selects("acme", &BTreeMap::new()));
        let both = TenantSelector { match_labels: canary.clone(), names: vec!["acme".into()] };
        assert!(both.selects("acme", &canary));
        assert!(!both.selects("globex", &canary));
        assert!(!both.selects("acme", &BTreeMap::new()));
    }
}
