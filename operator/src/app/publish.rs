//! Published versions in the registry. A version never changes once it is there.

use tenantry_crds::{
    core_app,
    names::{AppName, InstanceName},
    reason::Reason,
};
use tenantry_migrations::registry::{self, Of};

use crate::{
    backend::{Backends, postgres::Cell},
    catalog::{Catalog, PublishedApp, Version},
    error::Error,
    killpoint::killpoint,
    leader::fenced,
};

/// What has to happen so that a version is what tenants are to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Publication {
    /// It already is.
    InPlace,
    /// It is new, or tenants are to have another one.
    New,
    /// Another definition has this version.
    Changed,
}

pub(super) fn publication(
    published: Option<&PublishedApp>,
    aimed_at: Option<&Version>,
    digest: &str,
) -> Publication {
    match published {
        Some(published) if published.digest != digest => Publication::Changed,
        Some(published) if aimed_at == Some(&published.version) => Publication::InPlace,
        _ => Publication::New,
    }
}

/// Publishes `app` in one cell, unless it is there.
///
/// # Errors
/// When Postgres fails, or another definition has this version there.
pub async fn publish(cell: &Cell, app: &PublishedApp) -> Result<(), Error> {
    match cell.published(&app.name, &app.version) {
        Some(digest) if digest == app.digest => Ok(()),
        Some(_) => Err(differs(cell, app)),
        None => publish_as(cell, cell.epoch()?, app).await,
    }
}

async fn publish_as(cell: &Cell, epoch: i64, app: &PublishedApp) -> Result<(), Error> {
    let doing = "publishing an app version";
    let definition = serde_json::to_value(&*app.spec).map_err(Error::data(doing))?;
    let mut transaction = fenced(cell.database(), epoch).await.map_err(|error| error.at(cell.name()))?;
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
        return Err(differs(cell, app));
    }
    killpoint!("app.publish", transaction.commit().await).map_err(Error::database(doing))?;
    cell.note_published(&app.name, &app.version, &app.digest);
    Ok(())
}

/// Publishes `app` in every cell that lacks it. In those that are away it is published when they are back.
///
/// # Errors
/// When no cell has it now. What failed in some of them is in what comes back.
pub(super) async fn publish_everywhere(backends: &Backends, app: &PublishedApp) -> Result<Vec<Error>, Error> {
    let cells: Vec<_> = backends.cells().collect();
    let outcomes = futures::future::join_all(cells.iter().map(|cell| publish(cell, app))).await;
    let has_any = outcomes.iter().any(Result::is_ok);
    let failures: Vec<Error> = outcomes.into_iter().filter_map(Result::err).collect();
    if has_any {
        return Ok(failures);
    }
    Err(failures.into_iter().next().unwrap_or(Error::Fenced))
}

fn differs(cell: &Cell, app: &PublishedApp) -> Error {
    if *cell.name() == InstanceName::default() {
        return changed(&app.name, &app.version);
    }
    Error::blocked(
        Reason::VersionImmutable,
        format!(
            "Postgres instance {} has {} {} with another definition; raise spec.version to publish this one",
            cell.name(),
            app.name,
            app.version
        ),
    )
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
    sqlx::query("DELETE FROM tenantry.app_target WHERE app = $1")
        .bind(app.as_str())
        .execute(&mut *transaction)
        .await
        .map_err(Error::database(doing))?;
    let versions: Vec<String> = sqlx::query_scalar(
        "DELETE FROM tenantry.app_version v WHERE app = $1 AND NOT EXISTS \
             (SELECT FROM tenantry.tenant_app t WHERE t.app = v.app AND t.version = v.version) \
         RETURNING version",
    )
    .bind(app.as_str())
    .fetch_all(&mut *transaction)
    .await
    .map_err(Error::database(doing))?;
    killpoint!("app.withdraw", transaction.commit().await).map_err(Error::database(doing))?;
    let versions: Vec<_> = versions.iter().map(|version| Version::new(version)).collect();
    versions.iter().for_each(|version| cell.note_withdrawn(app, version));
    cell.note_target(app, None);
    Ok(versions)
}

/// Publishes the built-in app in one cell, at the version that this operator carries.
///
/// # Errors
/// When Postgres fails, or this build changed the app without raising its version.
pub async fn publish_core(cell: &Cell, epoch: i64) -> Result<(), Error> {
    publish_as(cell, epoch, &PublishedApp::compile(&core_app::name(), core_app::spec())?).await
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
        let app = PublishedApp::read(row)?;
        cell.note_published(&app.name, &app.version, &app.digest);
        match catalog.version(&app.name, &app.version) {
            // Only something outside of Tenantry, or an App that was made anew while this cell was away. Its tenants say so.
            Some(other) if other.digest != app.digest => {
                tracing::error!(instance = %cell.name(), app = %app.name, version = %app.version, "differs between instances");
            }
            Some(_) => {}
            None => catalog.publish(app),
        }
    }
    Ok(())
}
