//! A tenant that begins as a snapshot: nothing else is made of it before its rows are there.

use std::time::Duration;

use tenantry_crds::{
    reason::Reason,
    v1alpha1::{Tenant, TenantSpec},
};
use tenantry_migrations::{logins::LoginShard, registry::Placement};

use super::{
    desired::{Desired, Manifest},
    plan::{self, Around},
};
use crate::{
    backend::{
        Placed,
        postgres::{
            Cell,
            change::Identity,
            observe::{Observed, Restored},
        },
    },
    context::Context,
    driver::Progress,
    error::Error,
    killpoint::killpoint,
    snapshot::{Job, Step, format::Reference},
};

/// The end of a restore wakes the tenant, so this only bounds what a lost wake costs.
const RECHECK: Duration = Duration::from_secs(30);

/// What a pass has to wait for: nothing once the rows are there, or where none were asked for.
///
/// # Errors
/// When the restore failed or cannot begin.
pub fn pending(
    object: &Tenant,
    ctx: &Context,
    placed: &Placed<'_>,
    tenant: &Identity,
    observed: &Observed,
) -> Result<Option<Progress>, Error> {
    let Some(from) = &object.spec.restore_from else { return Ok(None) };
    let from = Reference::parse(&from.snapshot)?;
    match observed.restored {
        Some(Restored::Recorded) => return Ok(None),
        // The tables are the restore's own.
        Some(Restored::Loaded) => {}
        None => refuse_tables(observed)?,
    }
    ctx.snapshots.store()?;
    let job = Job::Restore {
        tenant: tenant.clone(),
        placement: placed.placement.clone(),
        object: Box::new(object.clone()),
        from: from.clone(),
    };
    let after = match ctx.snapshots.step(job) {
        Step::Running => RECHECK,
        Step::Ended(Err(error)) => return Err(error),
        Step::Ended(Ok(_)) => Duration::ZERO,
    };
    Ok(Some(Progress::Pending {
        reason: Reason::Restoring,
        message: format!(
            "the tables are being filled from snapshot {from}; nothing is served before they are"
        ),
        after,
    }))
}

/// Makes roles and the empty schema, and the registry's row, by which the tenant is not served yet.
///
/// # Errors
/// When something of these names is not the tenant's, or has tables.
pub async fn prepare(
    cell: &Cell,
    placement: &Placement,
    tenant: &Identity,
    object: &Tenant,
    observed: &Observed,
) -> Result<LoginShard, Error> {
    plan::refuse_foreign_objects(tenant, observed)?;
    refuse_tables(observed)?;
    let generation = object.metadata.generation.unwrap_or_default();
    // Hosts are claimed by the passes, over all instances.
    let spec = TenantSpec { hosts: Vec::new(), ..object.spec.clone() };
    let desired = Desired::of(Manifest { tenant, generation, spec: &spec, placement }, &[], &[])?;
    let shard = cell.shard_of(tenant.uid, observed.shard()).await?;
    let changes = plan::plan(&desired, observed, shard, &Around::default())?.changes;
    killpoint!("restore.prepare", cell.apply(shard, tenant, &changes).await)?;
    cell.bound(tenant.uid).await;
    Ok(shard)
}

fn refuse_tables(observed: &Observed) -> Result<(), Error> {
    if observed.tables.is_empty() {
        return Ok(());
    }
    Err(Error::blocked(
        Reason::InvalidSpec,
        "spec.restoreFrom: the tenant has tables already; a snapshot is restored into a new tenant only",
    ))
}
