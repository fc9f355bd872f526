//! The snapshot that must be there before the data goes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tenantry_crds::{
    reason::Reason,
    v1alpha1::{SnapshotStatus, TenantStatus},
};

use super::{Deletion, waiting};
use crate::{
    backend::postgres::{
        change::{Changes, RowChange, SnapshotRow},
        observe::Observed,
    },
    driver::{Cleanup, Pass},
    error::Error,
    killpoint::killpoint,
    snapshot::{Job, Step, export::Taken, jobs::Done},
};

/// Brings the export on; nothing once it was verified and the registry knows of it.
pub(super) async fn step(
    deletion: Deletion<'_>,
    observed: &Observed,
    pass: &mut Pass<TenantStatus>,
) -> Result<Option<Cleanup>, Error> {
    let Some(shard) = observed.shard() else { return Ok(None) };
    let tenant = deletion.tenant;
    let name = || format!("{}/{}", tenant.name, tenant.uid);
    let job = Job::Export {
        tenant: tenant.clone(),
        cell: deletion.placed.cell.name().clone(),
        shard,
        object: Box::new(deletion.live.clone()),
    };
    let taken = match deletion.ctx.snapshots.step(job) {
        Step::Ended(Ok(Done::Exported(taken))) => taken,
        Step::Ended(Err(error)) => return Err(error),
        Step::Running | Step::Ended(Ok(Done::Restored(_))) => {
            pass.status.snapshot =
                Some(SnapshotStatus { name: name(), completed_at: None, tables: None, rows: None });
            let message = format!(
                "a snapshot of schema {} is being written; nothing is dropped before it was read back",
                tenant.schema
            );
            return Ok(Some(waiting(Reason::SnapshotRunning, message)));
        }
    };
    let Taken { location, manifest_sha256, taken_at, tables, rows, bytes } = taken;
    pass.status.snapshot = Some(SnapshotStatus {
        name: name(),
        completed_at: Some(Time(taken_at)),
        tables: i64::try_from(tables).ok(),
        rows: i64::try_from(rows).ok(),
    });
    let note = format!("snapshot {location} holds {rows} rows; sha256 of its manifest {manifest_sha256}");
    let row = SnapshotRow { location, manifest_sha256, rows, bytes };
    let changes = Changes { rows: vec![RowChange::SnapshotTaken(row)], ..Changes::default() };
    killpoint!("snapshot.taken", deletion.apply(Some(shard), &changes).await)?;
    deletion.ctx.events.told(deletion.live, Reason::SnapshotTaken, &note);
    Ok(None)
}
