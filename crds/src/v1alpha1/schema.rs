//! The CRDs as Kubernetes takes them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps,
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
    [Tenant::crd(), App::crd(), SearchIndex::crd()].map(with_initial_status).into()
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

/// Without this default, kstatus reads an object that no operator has seen yet as current.
fn with_initial_status(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let initial = JSON(serde_json::json!({"observedGeneration": -1}));
    for status in crd
        .spec
        .versions
        .iter_mut()
        .filter_map(|version| status_of(version.schema.as_mut()?.open_api_v3_schema.as_mut()?))
    {
        status.default = Some(initial.clone());
    }
    crd
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
