//! The version that tenants are to have: the one that the App named last.

use tenantry_crds::names::AppName;

use crate::{
    backend::postgres::Cell,
    catalog::{Catalog, Version},
    context::Context,
    error::Error,
    killpoint::killpoint,
};

/// From now on tenants are to have `version`. Noted in every cell that can be reached; the highest revision counts, so one that
/// is away now misleads nobody.
///
/// # Errors
/// When no cell can be told.
pub(super) async fn aim(ctx: &Context, app: &AppName, version: &Version) -> Result<(), Error> {
    let revision = ctx.catalog.revision(app).saturating_add(1);
    let told = ctx.backends.cells().map(|cell| note(cell, app, version, revision));
    let (mut any, mut failure) = (false, None);
    for outcome in futures::future::join_all(told).await {
        match outcome {
            Ok(()) => any = true,
            Err(error) => failure = Some(error),
        }
    }
    if let (false, Some(error)) = (any, failure) {
        return Err(error);
    }
    ctx.catalog.aim(app, version, revision);
    for tenant in ctx.rollouts.retarget(app) {
        ctx.lanes.tenants.call(&tenant);
    }
    Ok(())
}

/// Tells the cells that do not know it yet, which have the version: they were away, or the operator died in the middle.
pub(super) async fn spread(ctx: &Context, app: &AppName) -> Vec<Error> {
    let (Some(version), revision) = (ctx.catalog.aimed_at(app), ctx.catalog.revision(app)) else {
        return Vec::new();
    };
    let lacks = |cell: &&Cell| cell.target(app) != Some(revision) && cell.published(app, &version).is_some();
    let told = ctx.backends.cells().filter(lacks).map(|cell| note(cell, app, &version, revision));
    futures::future::join_all(told).await.into_iter().filter_map(Result::err).collect()
}

async fn note(cell: &Cell, app: &AppName, version: &Version, revision: i64) -> Result<(), Error> {
    let doing = "noting the version that tenants are to have";
    let mut transaction = cell.fenced().await?;
    sqlx::query(
        "INSERT INTO tenantry.app_target (app, version, revision) VALUES ($1, $2, $3) \
         ON CONFLICT (app) DO UPDATE SET version = excluded.version, revision = excluded.revision",
    )
    .bind(app.as_str())
    .bind(version.as_str())
    .bind(revision)
    .execute(&mut *transaction)
    .await
    .map_err(Error::database(doing))?;
    // What failed on the way to another version says nothing about this one.
    sqlx::query(
        "UPDATE tenantry.tenant_app SET failed_version = NULL, failure_reason = NULL, failure = NULL \
         WHERE app = $1 AND failed_version <> $2",
    )
    .bind(app.as_str())
    .bind(version.as_str())
    .execute(&mut *transaction)
    .await
    .map_err(Error::database(doing))?;
    killpoint!("app.target", transaction.commit().await).map_err(Error::database(doing))?;
    cell.note_target(app, Some(revision));
    Ok(())
}

/// Tells `catalog` what a cell's registry has.
///
/// # Errors
/// When Postgres fails.
pub async fn load(cell: &Cell, catalog: &Catalog) -> Result<(), Error> {
    let rows: Vec<(String, String, i64)> =
        sqlx::query_as("SELECT app, version, revision FROM tenantry.app_target")
            .fetch_all(cell.database())
            .await
            .map_err(Error::database("reading the versions that tenants are to have"))?;
    for (app, version, revision) in rows {
        let app = AppName::new(&app)?;
        cell.note_target(&app, Some(revision));
        catalog.aim(&app, &Version::new(&version), revision);
    }
    Ok(())
}
