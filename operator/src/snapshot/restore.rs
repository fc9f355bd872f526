//! Makes a new tenant of a snapshot.
//!
//! Roles and the empty schema come first, as for any tenant. Then one transaction of the tenant's migrator makes the tables as
//! the snapshot had them, fills them and compares them with the manifest. Before it is committed, the registry is told which
//! one it is; after, what the tables are at. So a crash leaves an empty schema, and the next pass begins again, or tables of
//! which Postgres tells that they are complete, and the next pass says so. What the definitions want beyond
//! that, as indexes and foreign keys, the passes add as they do to any tables.

use bytes::Bytes;
use futures::{TryStreamExt as _, stream::BoxStream};
use tenantry_crds::{
    names::{AppName, TableName},
    reason::Reason,
    v1alpha1::{AppSpec, Tenant},
};
use tenantry_migrations::{
    layout::{Column, Composition},
    logins::LoginShard,
    registry::Placement,
};
use tokio_util::sync::CancellationToken;

use super::{
    export::fingerprint,
    factors,
    format::{self, App, Manifest, Reference, Table},
    store::Store,
};
use crate::{
    app,
    backend::postgres::{
        Cell,
        change::{Changes, Identity, RowChange},
        migrator::Migrator,
        observe::{Restored, observe},
        transfer::Transfer,
    },
    catalog::{PublishedApp, Version},
    context::Context,
    error::Error,
    killpoint::killpoint,
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
    let shard = match observed.restored {
        Some(Restored::Recorded) => return Ok(manifest.rows()),
        Some(Restored::Loaded) => {
            observed.shard().ok_or(Error::Raced { doing: "going on with a restore" })?
        }
        None => {
            let shard = tenant::prepare_for_restore(cell, placement, tenant, object, &observed).await?;
            let migrator = cell.open_migrator(shard, tenant).await?;
            let filling = Filling { ctx, store, cell, shard, tenant, from, manifest: &manifest, unwanted };
            let filled = filling.carry_out(&migrator).await;
            let closed = cell.close_migrator(shard, tenant).await;
            filled?;
            closed?;
            shard
        }
    };
    still_wanted(unwanted)?;
    // Before anybody can sign in.
    if let Some(taken) = &manifest.factors {
        factors::restore(ctx, store, (cell, shard), (from, taken), tenant).await?;
    }
    let rows = installed(ctx, &manifest)?;
    let end = Changes { rows, ..Changes::default() };
    killpoint!("restore.end", cell.apply(shard, tenant, &end).await)?;
    Ok(manifest.rows())
}

/// The transaction that fills the tables.
struct Filling<'a> {
    ctx: &'a Context,
    store: &'a Store,
    cell: &'a Cell,
    shard: LoginShard,
    tenant: &'a Identity,
    from: &'a Reference,
    manifest: &'a Manifest,
    unwanted: &'a CancellationToken,
}

impl Filling<'_> {
    async fn carry_out(&self, migrator: &Migrator) -> Result<(), Error> {
        // The migrator before this one has no session any more, so what it was about to commit is decided now.
        if observe(self.cell.database(), self.tenant, &[]).await?.restored.is_some() {
            return Ok(());
        }
        let connection = migrator.transfer(self.ctx.snapshots.limit()).await?;
        let (mut transfer, transaction) = Transfer::writing(connection, self.tenant).await?;
        for table in &self.manifest.tables {
            still_wanted(self.unwanted)?;
            self.ctx.leadership.check()?;
            load(&mut transfer, self.store, self.from, table).await?;
        }
        for sequence in &self.manifest.sequences {
            transfer.make_sequence(sequence).await?;
        }
        for (table, column) in self.checks()? {
            transfer.add_check(&table, &column).await?;
        }
        still_wanted(self.unwanted)?;
        // Fenced: a leader that is none any more does not come to its commit.
        let begun = RowChange::BeginRestore {
            snapshot: self.from.to_string(),
            rows: self.manifest.rows(),
            transaction,
        };
        let begun = Changes { rows: vec![begun], ..Changes::default() };
        killpoint!("restore.begin", self.cell.apply(self.shard, self.tenant, &begun).await)?;
        killpoint!("restore.commit", transfer.commit().await)
    }

    /// The texts that the snapshot's versions allow. Without these checks the next version would seem to take values away.
    /// A pass validates them: no row is refused here.
    fn checks(&self) -> Result<Vec<(TableName, Column)>, Error> {
        let mut checks = Vec::new();
        let mut definitions = Vec::new();
        for app in &self.manifest.apps {
            let version = self.ctx.catalog.version(&AppName::new(&app.name)?, &Version::new(&app.version));
            definitions.extend(version.map(|published| published.definition.clone()));
        }
        let composition = Composition(&definitions);
        let types = definitions.iter().flat_map(|app| app.doc_types.iter().map(move |of| (app, of)));
        // One that refers to what is not there is told by the passes.
        for layout in types.filter_map(|(app, doc_type)| composition.table(app, doc_type).ok()) {
            let made = self.manifest.tables.iter().find(|made| made.structure.name == layout.table.as_str());
            let made = made.map_or(&[][..], |made| &made.structure.columns);
            for column in layout.columns.iter().filter(|column| column.one_of.is_some()) {
                if made.iter().any(|made| made.name == column.name) {
                    checks.push((layout.table.clone(), column.clone()));
                }
            }
        }
        Ok(checks)
    }
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

/// What the registry learns of the tables. Rows at a version have been through all migrations of that version, and may not go
/// through them again.
fn installed(ctx: &Context, manifest: &Manifest) -> Result<Vec<RowChange>, Error> {
    let mut rows = Vec::new();
    for app in &manifest.apps {
        let name = AppName::new(&app.name)?;
        let published = ctx.catalog.version(&name, &Version::new(&app.version));
        for migration in published.iter().flat_map(|published| &published.definition.migrations) {
            let (migration, checksum) = (migration.name.clone(), migration.checksum.clone());
            rows.push(RowChange::TakeMigrationAsRun(name.clone(), migration, checksum));
        }
        rows.push(RowChange::InstallApp(name, app.version.clone()));
        if app.state != "Installed" {
            rows.push(RowChange::RemoveApp(app.name.clone()));
        }
    }
    rows.push(RowChange::TakeOrigin(manifest.origin()));
    rows.push(RowChange::EndRestore);
    Ok(rows)
}
