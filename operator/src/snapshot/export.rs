//! Writes a snapshot, and reads it back.

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt as _;
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tenantry_crds::v1alpha1::Tenant;
use tenantry_migrations::{logins::LoginShard, registry};
use uuid::Uuid;

use super::{
    factors,
    format::{
        App, FORMAT_VERSION, File, MANIFEST, Manifest, Reference, Sequence, TENANT, Table, TableStructure,
    },
    store::{Store, hexadecimal},
};
use crate::{
    backend::postgres::{Cell, change::Identity, migrator::Migrator, transfer::Transfer},
    context::Context,
    error::Error,
};

/// Rows are written in pieces of about this size.
const PIECE_BYTES: usize = 256 * 1024;

/// A snapshot that was read back and is what its manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Where it is, for people.
    pub location: String,
    /// The digest of its manifest.
    pub manifest_sha256: String,
    /// When its tables were read.
    pub taken_at: Timestamp,
    /// Tables.
    pub tables: usize,
    /// Rows of all tables.
    pub rows: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Takes a snapshot of a tenant that is not served any more. Repeating it writes the same files again.
///
/// # Errors
/// When Postgres or the store fails, or what is read back is not what was written.
pub async fn export(
    ctx: &Context,
    store: &Store,
    cell: &Cell,
    tenant: &Identity,
    shard: LoginShard,
    object: &Tenant,
) -> Result<Taken, Error> {
    let reference = Reference { tenant: tenant.name.clone(), uid: tenant.uid };
    let apps = apps(cell, store, &reference).await?;
    let object = store.put(&reference, TENANT, manifest_of(object)?).await?;
    // Making it ends the one before it with its sessions, so no migration writes any more.
    let migrator = cell.open_migrator(shard, tenant).await?;
    let read = read(ctx, store, &reference, &migrator, tenant).await;
    let closed = cell.close_migrator(shard, tenant).await;
    let Read { taken_at, tables, sequences } = read?;
    closed?;
    let factors = factors::export(ctx, store, cell, &reference, tenant).await?;
    let manifest = Manifest {
        format_version: FORMAT_VERSION,
        tenant: tenant.name.as_str().to_owned(),
        uid: tenant.uid,
        origin: Some(origin_of(cell, tenant).await?),
        taken_at,
        object,
        apps,
        tables,
        sequences,
        factors: Some(factors),
    };
    let text = serde_json::to_vec_pretty(&manifest).map_err(Error::data("writing a snapshot's manifest"))?;
    for file in manifest.files() {
        store.verify(&reference, file).await?;
    }
    ctx.leadership.check()?;
    let written = store.put(&reference, MANIFEST, text).await?;
    let found = store.manifest(&reference).await?.unwrap_or_default();
    store.verify(&reference, &written).await?;
    if Manifest::read(&reference, &found)? != manifest {
        return Err(Error::waiting(
            tenantry_crds::reason::Reason::SnapshotRunning,
            format!("the manifest of snapshot {reference} reads back as another one"),
        ));
    }
    Ok(Taken {
        location: store.location(&reference),
        manifest_sha256: hexadecimal(Sha256::new_with_prefix(&found)),
        taken_at: manifest.taken_at,
        tables: manifest.tables.len(),
        rows: manifest.rows(),
        bytes: manifest.bytes(),
    })
}

/// The uid of the Tenant object that first had the data.
async fn origin_of(cell: &Cell, tenant: &Identity) -> Result<Uuid, Error> {
    let records = registry::tenants(cell.database(), registry::Of::One(tenant.name.as_str()))
        .await
        .map_err(Error::database("reading the tenant's origin"))?;
    let own = records.into_iter().find(|record| record.uid == tenant.uid);
    Ok(own.map_or(tenant.uid, |record| record.origin))
}

/// What the tables held at one moment.
struct Read {
    taken_at: Timestamp,
    tables: Vec<Table>,
    sequences: Vec<Sequence>,
}

async fn read(
    ctx: &Context,
    store: &Store,
    reference: &Reference,
    migrator: &Migrator,
    tenant: &Identity,
) -> Result<Read, Error> {
    let connection = migrator.transfer(ctx.snapshots.limit()).await?;
    let mut transfer = Transfer::reading(connection, tenant).await?;
    let (taken_at, structure) = (Timestamp::now(), transfer.structure().await?);
    let sequences = transfer.sequences().await?;
    let mut tables = Vec::new();
    for structure in structure {
        ctx.leadership.check()?;
        let (rows, file) = table(&mut transfer, store, reference, &structure).await?;
        tables.push(Table { structure, rows, file });
    }
    transfer.commit().await?;
    Ok(Read { taken_at, tables, sequences })
}

/// The definitions of the tenant's apps, as they were published.
async fn apps(cell: &Cell, store: &Store, reference: &Reference) -> Result<Vec<App>, Error> {
    let mut rows = registry::tenant_apps(cell.database(), registry::Of::One(reference.tenant.as_str()))
        .await
        .map_err(Error::database("reading the tenant's apps"))?;
    rows.sort_by(|a, b| a.app.cmp(&b.app));
    let mut apps = Vec::new();
    for row in rows {
        let (digest, definition): (String, Value) = sqlx::query_as(
            "SELECT digest, definition FROM tenantry.app_version WHERE app = $1 AND version = $2",
        )
        .bind(&row.app)
        .bind(&row.version)
        .fetch_one(cell.database())
        .await
        .map_err(Error::database("reading a published definition"))?;
        let text = serde_json::to_vec_pretty(&definition).map_err(Error::data("writing a definition"))?;
        let file = store.put(reference, &format!("apps/{}.json", row.app), text).await?;
        apps.push(App { name: row.app, version: row.version, digest, state: row.state, file });
    }
    Ok(apps)
}

/// The Tenant as somebody would apply it.
fn manifest_of(object: &Tenant) -> Result<Vec<u8>, Error> {
    let doing = "writing the Tenant";
    let mut value = serde_json::to_value(object).map_err(Error::data(doing))?;
    if let Some(all) = value.as_object_mut() {
        all.remove("status");
        if let Some(metadata) = all.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|key, _| ["name", "uid", "labels", "annotations"].contains(&key.as_str()));
        }
    }
    serde_json::to_vec_pretty(&value).map_err(Error::data(doing))
}

async fn table(
    transfer: &mut Transfer<'_>,
    store: &Store,
    reference: &Reference,
    structure: &TableStructure,
) -> Result<(u64, File), Error> {
    let mut writing = store.create(reference, &format!("tables/{}.ndjson", structure.name));
    let mut rows = 0;
    let mut piece = BytesMut::with_capacity(PIECE_BYTES);
    let mut lines = transfer.rows(structure).await?;
    while let Some(line) = lines.try_next().await.map_err(Error::database("reading a table's rows"))? {
        rows += 1;
        piece.extend_from_slice(&line);
        if piece.len() >= PIECE_BYTES {
            writing.write(piece.split().freeze()).await?;
        }
    }
    writing.write(piece.freeze()).await?;
    Ok((rows, writing.finish().await?))
}

/// The number and the digest of a table's rows, as [`export`] would write them.
///
/// # Errors
/// When Postgres fails.
pub(super) async fn fingerprint(
    transfer: &mut Transfer<'_>,
    structure: &TableStructure,
) -> Result<(u64, String), Error> {
    let (mut rows, mut digest) = (0, Sha256::new());
    let mut lines = transfer.rows(structure).await?;
    while let Some(line) = lines.try_next().await.map_err(Error::database("reading a table's rows"))? {
        let line: Bytes = line;
        rows += 1;
        digest.update(&line);
    }
    Ok((rows, hexadecimal(digest)))
}
