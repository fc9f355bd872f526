//! Makes a new tenant of a snapshot.
//!
//! Roles and the empty schema come first, as for any tenant. Then one transaction makes the tables as the snapshot had them,
//! fills them, compares them with the manifest, and says so in the registry; a crash leaves an empty schema, and the next pass
//! begins again. What the definitions want beyond that, as indexes and foreign keys, the passes add as they do to any tables.

use bytes::Bytes;
use futures::{TryStreamExt as _, stream::BoxStream};
use tenantry_crds::{
    names::AppName,
    reason::Reason,
    v1alpha1::{AppSpec, Tenant},
};
use tenantry_migrations::registry::Placement;
use tokio_util::sync::CancellationToken;

use super::{
    export::fingerprint,
    format::{self, App, Manifest, Reference, Table},
    store::Store,
};
use crate::{
    app,
    backend::postgres::{Cell, change::Identity, observe::observe, transfer::Transfer},
    catalog::{PublishedApp, Version},
    context::Context,
    error::Error,
    tenant,
};

/// The longest definition that is read; the API server takes none that is longer.
const DEFINITION_MAX_BYTES: u64 = 3 * 1024 * 1024;

/// The tenant that is made.
#[derive(Debug, Clone, Copy)]
pub struct Into<'a> {
    /// Whose names.
    pub tenant: &'a Identity,
    /// Where.
    pub placement: &'a Placement,
    /// The Tenant.
    pub object: &'a Tenant,
}

/// Fills the tables of a tenant that has none; the rows that it has then. Does nothing where that was done before.
///
/// # Errors
/// When the snapshot is missing or not what its manifest says, when an app version is missing, and when the tenant has tables.
pub async fn restore(
    ctx: &Context,
    store: &Store,
    into: &Into<'_>,
    from: &Reference,
    unwanted: &CancellationToken,
) -> Result<u64, Error> {
    let text = store.manifest(from).await?.ok_or_else(|| {
        let message = format!("spec.restoreFrom: there is no snapshot {}", store.location(from));
        Error::blocked(Reason::SnapshotFailed, message)
    })?;
    let manifest = Manifest::read(from, &text)?;
    refuse_odd_types(from, &manifest)?;
    let Into { tenant, placement, object } = *into;
    let cell = ctx.backends.cell(&placement.postgres)?;
    for app in &manifest.apps {
        publish(ctx, cell, store, from, app).await?;
    }
    still_wanted(unwanted)?;
    let observed = observe(cell.database(), tenant, &object.spec.hosts).await?;
    if observed.restored.is_some() {
        return Ok(manifest.rows());
    }
    let shard = tenant::prepare_for_restore(cell, placement, tenant, object, &observed).await?;
    let connection = cell.transfer(shard, ctx.snapshots.limit()).await?;
    let mut transfer = Transfer::writing(connection, tenant).await?;
    // First, so that a second attempt at the same time waits here and then fails.
    claim(&mut transfer, tenant, from, &manifest).await?;
    transfer.as_owner().await?;
    for table in &manifest.tables {
        still_wanted(unwanted)?;
        ctx.leadership.check()?;
        load(&mut transfer, store, from, table).await?;
    }
    for sequence in &manifest.sequences {
        transfer.make_sequence(sequence).await?;
    }
    transfer.as_provisioner().await?;
    still_wanted(unwanted)?;
    migrated(ctx, &mut transfer, tenant, &manifest).await?;
    installed(&mut transfer, tenant, &manifest, cell.epoch()?).await?;
    transfer.commit().await?;
    Ok(manifest.rows())
}

fn still_wanted(unwanted: &CancellationToken) -> Result<(), Error> {
    if unwanted.is_cancelled() {
        return Err(Error::waiting(Reason::Deleting, "the Tenant was deleted while it was restored"));
    }
    Ok(())
}

fn refuse_odd_types(from: &Reference, manifest: &Manifest) -> Result<(), Error> {
    let columns = manifest
        .tables
        .iter()
        .flat_map(|table| table.structure.columns.iter().map(move |column| (&table.structure.name, column)));
    for (table, column) in columns {
        if !format::is_type_name(&column.sql_type) {
            return Err(Error::blocked(
                Reason::SnapshotFailed,
                format!("snapshot {from}: {table}.{} has a type that is none", column.name),
            ));
        }
    }
    Ok(())
}

/// The version must be published here, with the same definition. One that is older than what is published, or of an app that
/// nobody declares, is published from the snapshot: that changes no other tenant.
async fn publish(
    ctx: &Context,
    cell: &Cell,
    store: &Store,
    from: &Reference,
    app: &App,
) -> Result<(), Error> {
    let refused = |why: String| {
        let message = format!("snapshot {from} holds app {} {}, {why}", app.name, app.version);
        Error::blocked(Reason::AppVersionNotFound, message)
    };
    let (name, version) = (AppName::new(&app.name)?, Version::new(&app.version));
    if let Some(published) = ctx.catalog.version(&name, &version) {
        return if published.digest == app.digest {
            app::publish(cell, &published).await
        } else {
            Err(refused("which is published here with another definition".to_owned()))
        };
    }
    if let Some(newest) = ctx.catalog.newest(&name)
        && newest.version < version
    {
        return Err(refused(format!("which is newer than {} here; publish it first", newest.version)));
    }
    if app.file.bytes > DEFINITION_MAX_BYTES {
        return Err(refused("whose definition is longer than any can be".to_owned()));
    }
    let text = collect(store.read(from, &app.file).await?).await?;
    let spec: AppSpec =
        serde_json::from_slice(&text).map_err(Error::data("reading a definition of a snapshot"))?;
    let published = PublishedApp::compile(&name, &spec)?;
    if published.digest != app.digest || published.version != version {
        return Err(refused("whose definition is not the one that was published".to_owned()));
    }
    app::publish(cell, &published).await?;
    ctx.catalog.publish(published);
    Ok(())
}

async fn collect(mut parts: BoxStream<'static, Result<Bytes, Error>>) -> Result<Vec<u8>, Error> {
    let mut text = Vec::new();
    while let Some(part) = parts.try_next().await? {
        text.extend_from_slice(&part);
    }
    Ok(text)
}

async fn claim(
    transfer: &mut Transfer<'_>,
    tenant: &Identity,
    from: &Reference,
    manifest: &Manifest,
) -> Result<(), Error> {
    sqlx::query("INSERT INTO tenantry.restored (tenant, snapshot, rows) VALUES ($1, $2, $3)")
        .bind(tenant.name.as_str())
        .bind(from.to_string())
        .bind(i64::try_from(manifest.rows()).unwrap_or(i64::MAX))
        .execute(transfer.connection())
        .await
        .map(|_| ())
        .map_err(Error::database("claiming the restore"))
}

/// Makes and fills a table, and compares it with the manifest: the same rows give the same digest.
async fn load(
    transfer: &mut Transfer<'_>,
    store: &Store,
    from: &Reference,
    table: &Table,
) -> Result<(), Error> {
    let structure = &table.structure;
    transfer.make_table(structure).await?;
    transfer.fill(structure, store.read(from, &table.file).await?).await?;
    let (rows, digest) = fingerprint(transfer, structure).await?;
    if (rows, &digest) == (table.rows, &table.file.sha256) {
        return Ok(());
    }
    Err(Error::blocked(
        Reason::SnapshotFailed,
        format!(
            "table {} of snapshot {from} has {} rows, and {rows} were restored, with {} digest",
            structure.name,
            table.rows,
            if rows == table.rows { "another" } else { "a different" }
        ),
    ))
}

/// Rows at a version have been through all migrations of that version, and may not go through them again.
async fn migrated(
    ctx: &Context,
    transfer: &mut Transfer<'_>,
    tenant: &Identity,
    manifest: &Manifest,
) -> Result<(), Error> {
    for app in &manifest.apps {
        let name = AppName::new(&app.name)?;
        let published = ctx.catalog.version(&name, &Version::new(&app.version));
        for migration in published.iter().flat_map(|published| &published.definition.migrations) {
            sqlx::query(
                "INSERT INTO tenantry.tenant_migration (tenant, app, name, checksum, ran_at) \
                 VALUES ($1, $2, $3, $4, now()) ON CONFLICT DO NOTHING",
            )
            .bind(tenant.name.as_str())
            .bind(&app.name)
            .bind(&migration.name)
            .bind(&migration.checksum)
            .execute(transfer.connection())
            .await
            .map_err(Error::database("recording the migrations of a snapshot"))?;
        }
    }
    Ok(())
}

/// The registry learns what the tables are at, in the transaction that made them. The fence comes last: it holds up a takeover
/// for as long as it is held.
async fn installed(
    transfer: &mut Transfer<'_>,
    tenant: &Identity,
    manifest: &Manifest,
    epoch: i64,
) -> Result<(), Error> {
    let doing = "recording the restore";
    for app in &manifest.apps {
        sqlx::query(
            "INSERT INTO tenantry.tenant_app (tenant, app, version, state) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (tenant, app) DO UPDATE SET version = excluded.version, state = excluded.state",
        )
        .bind(tenant.name.as_str())
        .bind(&app.name)
        .bind(&app.version)
        .bind(&app.state)
        .execute(transfer.connection())
        .await
        .map_err(Error::database(doing))?;
    }
    sqlx::query("SELECT tenantry.fence($1)")
        .bind(epoch)
        .execute(transfer.connection())
        .await
        .map_err(Error::database(doing))?;
    let same = sqlx::query("UPDATE tenantry.tenant SET revision = revision + 1 WHERE name = $1 AND uid = $2")
        .bind(tenant.name.as_str())
        .bind(tenant.uid)
        .execute(transfer.connection())
        .await
        .map_err(Error::database(doing))?;
    if same.rows_affected() == 1 { Ok(()) } else { Err(Error::Raced { doing }) }
}
