//! The Secrets in the cluster.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tenantry_crds::{
    labels::{ACCESS_ANNOTATION, ACCESS_FIELD_MANAGER, MANAGED_BY, MANAGED_BY_LABEL, TENANT_LABEL},
    reason::Reason,
};

use super::{
    desired::SecretName,
    secret::{Contents, GENERATION},
};
use crate::{
    backend::postgres::{access::RowKey, change::Identity},
    driver::call,
    error::Error,
    killpoint::killpoint,
};

/// Reads and writes the Secrets of one tenant.
#[derive(Clone, Copy)]
pub struct Secrets<'a> {
    /// Never the one for watches.
    pub client: &'a Client,
    /// The namespaces that the operator may write to; `*` for all.
    pub namespaces: &'a [String],
    /// Whose.
    pub tenant: &'a Identity,
}

/// A Secret that is ours.
pub struct Found {
    uid: String,
    complete: bool,
    /// What is in it.
    pub values: BTreeMap<String, SecretString>,
}

impl Found {
    /// Which credentials are in it.
    pub fn serial(&self) -> Option<i64> {
        self.values.get(GENERATION)?.expose_secret().parse().ok()
    }
}

impl Secrets<'_> {
    /// The Secret of these credentials; nothing when there is none.
    ///
    /// # Errors
    /// SecretConflict when it is not ours, or the operator may not write there.
    pub async fn read(&self, name: &SecretName, key: &RowKey) -> Result<Option<Found>, Error> {
        if !self.may_write(&name.namespace) {
            let message = format!(
                "spec.access[{}].secretRef: the operator may write no Secrets in namespace {}; add it to \
                 operator.secretNamespaces of the chart, or name another namespace",
                key.access, name.namespace
            );
            return Err(Error::blocked(Reason::SecretConflict, message));
        }
        let Some(secret) = self.get(name).await? else { return Ok(None) };
        if !self.is_ours(&secret, key) {
            let message = format!(
                "spec.access[{}].secretRef: Secret {name} exists and is not this access's; remove it, or name another",
                key.access
            );
            return Err(Error::blocked(Reason::SecretConflict, message));
        }
        Ok(Some(self.found(secret)))
    }

    /// Brings the Secret to these contents. It is made empty first: its values are then our manager's alone, so that one
    /// that is left out later goes, and one that someone else added stays.
    ///
    /// # Errors
    /// NamespaceNotFound when there is no such namespace.
    pub async fn write(
        &self,
        name: &SecretName,
        key: &RowKey,
        found: Option<&Found>,
        contents: &Contents,
    ) -> Result<(), Error> {
        if found.is_some_and(|found| found.complete && contents.are_in(&found.values)) {
            return Ok(());
        }
        let mut body = json!({
            "apiVersion": "v1", "kind": "Secret", "type": contents.kind,
            "metadata": {
                "name": name.name, "namespace": name.namespace,
                "labels": self.labels(),
                "annotations": {ACCESS_ANNOTATION: self.mark(key)},
            },
        });
        let uid = match found {
            Some(found) => found.uid.clone(),
            None => self.create(name, &body).await?,
        };
        let data: BTreeMap<&str, ByteString> =
            contents.values().map(|(key, value)| (key, ByteString(value.as_bytes().to_vec()))).collect();
        body["metadata"]["uid"] = uid.into();
        body["data"] = serde_json::to_value(data).map_err(Error::data("writing a Secret"))?;
        let parameters = PatchParams::apply(ACCESS_FIELD_MANAGER).force();
        killpoint!(
            "access.write_secret",
            call("writing a Secret", self.api(name).patch(&name.name, &parameters, &Patch::Apply(body)))
                .await
        )?;
        Ok(())
    }

    /// Removes the Secret if it is ours.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn remove(&self, name: &SecretName, key: &RowKey) -> Result<(), Error> {
        if !self.may_write(&name.namespace) {
            return Err(Error::blocked(
                Reason::SecretConflict,
                format!(
                    "Secret {name} is to go, and the operator may write no Secrets there; add the namespace to \
                     operator.secretNamespaces of the chart"
                ),
            ));
        }
        let Some(secret) = self.get(name).await? else { return Ok(()) };
        if !self.is_ours(&secret, key) {
            return Ok(());
        }
        let only = Preconditions { uid: secret.metadata.uid, resource_version: None };
        let parameters = DeleteParams { preconditions: Some(only), ..DeleteParams::default() };
        let removed = killpoint!(
            "access.remove_secret",
            call("removing a Secret", self.api(name).delete(&name.name, &parameters)).await
        );
        match removed {
            Err(error) if !error.is_gone() => Err(error),
            _ => Ok(()),
        }
    }

    async fn create(&self, name: &SecretName, body: &serde_json::Value) -> Result<String, Error> {
        let empty: Secret = serde_json::from_value(body.clone()).map_err(Error::data("writing a Secret"))?;
        let parameters =
            PostParams { field_manager: Some(ACCESS_FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let made = killpoint!(
            "access.make_secret",
            call("creating a Secret", self.api(name).create(&parameters, &empty)).await
        );
        match made {
            Ok(made) => Ok(made.metadata.uid.unwrap_or_default()),
            Err(error) if error.is_gone() => Err(Error::blocked(
                Reason::NamespaceNotFound,
                format!("namespace {} of Secret {name} does not exist; create it", name.namespace),
            )),
            Err(error) => Err(error),
        }
    }

    async fn get(&self, name: &SecretName) -> Result<Option<Secret>, Error> {
        call("reading a Secret", self.api(name).get_opt(&name.name)).await
    }

    fn api(&self, name: &SecretName) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &name.namespace)
    }

    fn may_write(&self, namespace: &str) -> bool {
        self.namespaces.iter().any(|allowed| allowed == "*" || allowed == namespace)
    }

    fn labels(&self) -> serde_json::Value {
        json!({
            MANAGED_BY_LABEL: MANAGED_BY,
            "app.kubernetes.io/name": "tenantry",
            "app.kubernetes.io/component": "access",
            TENANT_LABEL: self.tenant.name.as_str(),
        })
    }

    fn mark(&self, key: &RowKey) -> String {
        format!("{}/{}/{:?}", self.tenant.uid, key.access, key.backend)
    }

    fn is_ours(&self, secret: &Secret, key: &RowKey) -> bool {
        let annotations = secret.metadata.annotations.as_ref();
        annotations.and_then(|all| all.get(ACCESS_ANNOTATION)).is_some_and(|mark| *mark == self.mark(key))
    }

    fn found(&self, secret: Secret) -> Found {
        let labels = secret.metadata.labels.unwrap_or_default();
        let label = |key: &str| labels.get(key).map(String::as_str);
        let complete = label(MANAGED_BY_LABEL) == Some(MANAGED_BY)
            && label(TENANT_LABEL) == Some(self.tenant.name.as_str());
        let values = secret.data.unwrap_or_default().into_iter().filter_map(|(key, value)| {
            // A value of ours is text; one that is not is no value of ours any more.
            Some((key, SecretString::from(String::from_utf8(value.0).ok()?)))
        });
        Found { uid: secret.metadata.uid.unwrap_or_default(), complete, values: values.collect() }
    }
}
