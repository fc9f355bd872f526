//! The manifests of the checkout that this crate was built from.

use std::path::{Path, PathBuf};

use tenantry_rig::{Endpoints, RigError};

/// Applies the generated CustomResourceDefinitions and waits until the API serves them.
pub async fn apply_crds(endpoints: &Endpoints) -> Result<(), RigError> {
    let folder = in_checkout("crds/generated").display().to_string();
    endpoints.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &folder]).await?;
    endpoints.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "-f", &folder]).await?;
    Ok(())
}

/// Applies the sample manifests.
pub async fn apply_samples(endpoints: &Endpoints) -> Result<(), RigError> {
    let folder = in_checkout("config/samples").display().to_string();
    endpoints.kubectl(&["apply", "--server-side", "-f", &folder]).await.map(|_| ())
}

/// Waits until all of the samples are Ready.
pub async fn samples_are_ready(endpoints: &Endpoints) -> Result<(), RigError> {
    let folder = in_checkout("config/samples").display().to_string();
    endpoints.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "-f", &folder]).await.map(|_| ())
}

/// A file of the checkout.
pub fn in_checkout(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
