//! The CRDs as Kubernetes takes them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use schemars::{Schema, SchemaGenerator, json_schema};

use super::{App, SearchIndex, Tenant};

/// A CRD could not be written.
#[derive(Debug, thiserror::Error)]
#[error("writing the CRD {name} as YAML")]
pub struct Error {
    name: String,
    source: serde_yaml::Error,
}

/// The CRDs of all kinds.
pub fn definitions() -> Vec<CustomResourceDefinition> {
    [Tenant::crd(), App::crd(), SearchIndex::crd()].map(finish).into()
}

/// The file name and the text of each CRD.
///
/// # Errors
/// When a definition cannot be written as YAML.
pub fn yaml() -> Result<Vec<(String, String)>, Error> {
    definitions()
        .into_iter()
        .map(|crd| {
            let name = crd.spec.names.plural.clone();
            match serde_yaml::to_string(&crd) {
                Ok(text) => Ok((format!("{name}.yaml"), text)),
                Err(source) => Err(Error { name, source }),
            }
        })
        .collect()
}

/// What the derived schema cannot say.
fn finish(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    // Without this default, kstatus reads an object that no operator has seen yet as current.
    let initial = JSON(serde_json::json!({"observedGeneration": -1}));
    for root in crd
        .spec
        .versions
        .iter_mut()
        .filter_map(|version| version.schema.as_mut()?.open_api_v3_schema.as_mut())
    {
        if let Some(status) = status_of(root) {
            status.default = Some(initial.clone());
        }
        settle_nulls_and_formats(root);
    }
    crd
}

/// An optional field is absent or has a value: not `nullable`, so the API server drops a null, and neither CEL's `has()`
/// nor a GitOps diff meets a third state. Formats that Kubernetes does not know only make it warn at each apply.
fn settle_nulls_and_formats(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema.format.take_if(|format| format.starts_with("uint"));
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        settle_nulls_and_formats(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        settle_nulls_and_formats(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        settle_nulls_and_formats(values);
    }
}

fn status_of(root: &mut JSONSchemaProps) -> Option<&mut JSONSchemaProps> {
    root.properties.as_mut()?.get_mut("status")
}

/// Any JSON value, kept as it is.
pub(super) fn any_value(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"x-kubernetes-preserve-unknown-fields": true})
}

/// Any JSON object, kept as it is.
pub(super) fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// For flags that came after the first release: left out while they are not set, so that a published definition keeps its
/// digest.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(super) fn is_false(flag: &bool) -> bool {
    !*flag
}
