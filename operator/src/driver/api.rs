//! The driver's writes to the Kubernetes API: the finalizer and the status.

use std::{sync::Arc, time::Duration};

use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tenantry_crds::labels::{OPERATOR_FIELD_MANAGER, STATUS_FIELD_MANAGER};

use super::kind::Kind;
use crate::{error::Error, killpoint::killpoint};

/// The client's own timeouts are per read; this bounds the whole call, connecting included.
const LIMIT: Duration = Duration::from_secs(15);

/// Puts `finalizer` on `object`, if it is not there, and gives back the object as it is then.
///
/// The uid makes it fail for an object that was re-created under the name, and for one that is gone.
pub(super) async fn add_finalizer<K: Kind>(
    client: &Client,
    object: &Arc<K>,
    finalizer: &str,
) -> Result<Arc<K>, Error> {
    let body = json!({
        "apiVersion": K::api_version(&()), "kind": K::kind(&()),
        "metadata": {"name": object.name_any(), "uid": object.uid(), "finalizers": [finalizer]},
    });
    let parameters = PatchParams::apply(OPERATOR_FIELD_MANAGER).force();
    let api = Api::<K>::all(client.clone());
    let added = killpoint!(
        "finalizer.add",
        call("adding the finalizer", api.patch(&object.name_any(), &parameters, &Patch::Apply(body))).await
    )?;
    Ok(Arc::new(added))
}

/// Takes `finalizer` off `object`. A JSON patch, since whoever else applied the finalizer would keep it alive under server-side
/// apply. Fine when the object is gone.
pub(super) async fn remove_finalizer<K: Kind>(
    client: &Client,
    object: &K,
    finalizer: &str,
) -> Result<(), Error> {
    let Some(index) = object.finalizers().iter().position(|f| f == finalizer) else { return Ok(()) };
    let path = format!("/metadata/finalizers/{index}");
    let patch = json!([
        {"op": "test", "path": "/metadata/uid", "value": object.uid()},
        {"op": "test", "path": path, "value": finalizer},
        {"op": "remove", "path": path},
    ]);
    let patch: Patch<Value> =
        Patch::Json(serde_json::from_value(patch).map_err(Error::data("removing the finalizer"))?);
    let api = Api::<K>::all(client.clone());
    let removed = killpoint!(
        "finalizer.remove",
        call(
            "removing the finalizer",
            api.patch_metadata(&object.name_any(), &PatchParams::default(), &patch),
        )
        .await
    );
    match removed {
        Ok(_) => Ok(()),
        Err(error) if error.is_gone() => Ok(()),
        Err(error) if error.is_refused() => Err(Error::Raced { doing: "removing the finalizer" }),
        Err(error) => Err(error),
    }
}

/// Writes `status`; `None` when the object is gone or was re-created under the name.
#[allow(clippy::disallowed_methods, reason = "this is the driver")]
pub(super) async fn save_status<K: Kind>(
    client: &Client,
    object: &K,
    status: &K::Status,
) -> Result<Option<K>, Error> {
    let body = json!({
        "apiVersion": K::api_version(&()), "kind": K::kind(&()),
        "metadata": {"name": object.name_any(), "uid": object.uid()},
        "status": status,
    });
    let parameters = PatchParams::apply(STATUS_FIELD_MANAGER).force();
    let api = Api::<K>::all(client.clone());
    let saved = killpoint!(
        "status.write",
        call("writing the status", api.patch_status(&object.name_any(), &parameters, &Patch::Apply(body)))
            .await
    );
    match saved {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.is_gone() => Ok(None),
        Err(error) => Err(error),
    }
}

/// A request with a limit of time; `doing` says what was attempted, as in `writing the status`.
///
/// # Errors
/// When the API server refuses or does not answer.
pub async fn call<T>(
    doing: &'static str,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, Error> {
    tokio::time::timeout(LIMIT, request)
        .await
        .map_err(|_| Error::Timeout { doing, limit: LIMIT })?
        .map_err(Error::kube(doing))
}
