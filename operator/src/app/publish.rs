//! Published versions in the registry. A version never changes once it is there.

use tenantry_crds::{core_app, names::AppName, reason::Reason, v1alpha1::AppSpec};
use tenantry_migrations::registry::{self, Of};

use crate::{
    backend::postgres::Cell,
    catalog::{Catalog, PublishedApp, Version},
    error::Error,
};

/// What has to happen so that a version is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Publication {
    /// It already is.
    InPlace,
    /// It is new.
    New,
    /// Another definition has this version.
    Changed,
}

pub(super) fn publication(published: Option<&PublishedApp>, digest: &str) -> Publication {
    match published {
        None => Publication::New,
        Some(published) if published.digest == digest => Publication::InPlace,
        Some(_) => Publication::Changed,
    }
}

/// Publishes `app`, compiled from `spec`, in one cell.
///
/// # Errors
/// When Postgres fails, or another definition has this version.
pub(super) async fn publish(cell: &Cell, app: &PublishedApp, spec: &AppSpec) -> Result<(), Error> {
    let doing = "publishing an app version";
    let definition = serde_json::to_value(spec).map_err(Error::data(doing))?;
    let mut transaction = cell.fenced().await?;
    // The row may be there already: an answer to COMMIT can get lost.
    let digest: Option<String> = sqlx::query_scalar(
        "WITH made AS ( \
             INSERT INTO tenantry.app_version (app, version, digest, definition) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (app, version) DO NOTHING RETURNING digest) \
         SELECT digest FROM made \
         UNION ALL SELECT digest FROM tenantry.app_version WHERE app = $1 AND version = $2 LIMIT 1",
    )
    .bind(app.name.as_str())
    .bind(app.version.as_str())
    .bind(&app.digest)
    .bind(definition)
    .fetch_optional(&mut *transaction)
    .await
    .map_err(Error::database(doing))?;
    if digest.as_deref() != Some(&app.digest) {
        return Err(changed(&app.name, &app.version));
    }
    transaction.commit().await.map_err(Error::database(doing))
}

/// The definition changed under a published version.
pub(super) fn changed(app: &AppName, version: &Version) -> Error {
    Error::blocked(
        Reason::VersionImmutable,
        format!(
            "spec.version: {app} {version} is published with another definition; \
             raise spec.version to publish this one. Tenants keep the published one"
        ),
    )
}

/// Takes every version of `app` that no tenant's tables are at out of a cell's registry, and says which.
///
/// # Errors
/// When Postgres fails.
pub(super) async fn withdraw(cell: &Cell, app: &AppName) -> Result<Vec<Version>, Error> {
    let doing = "withdrawing app versions";
    let mut transaction = cell.fenced().await?;
    let versions: Vec<String> = sqlx::query_scalar(
        "DELETE FROM tenantry.app_version v WHERE app = $1 AND NOT EXISTS \
             (SELECT FROM tenantry.tenant_app t WHERE t.app = v.app AND t.version = v.version) \
         RETURNING version",
    )
    .bind(app.as_str())
    .fetch_all(&mut *transaction)
    .await
    .map_err(Error::database(doing))?;
    transaction.commit().await.map_err(Error::database(doing))?;
    Ok(versions.iter().map(|version| Version::new(version)).collect())
}

/// Publishes the built-in app in one cell, at the version that this operator carries.
///
/// # Errors
/// When Postgres fails, or this build changed the app without raising its version.
pub async fn publish_core(cell: &Cell) -> Result<(), Error> {
    let core = PublishedApp::compile(&core_app::name(), core_app::spec())?;
    publish(cell, &core, core_app::spec()).await
}

/// Puts every version that is published in a cell into `catalog`.
///
/// # Errors
/// When Postgres fails, or a definition cannot be read by this release.
pub async fn load(cell: &Cell, catalog: &Catalog) -> Result<(), Error> {
    let rows = registry::app_versions(cell.database(), Of::Every)
        .await
        .map_err(Error::database("reading the published apps"))?;
    for row in rows {
        catalog.publish(PublishedApp::read(row)?);
    }
    Ok(())
}
