//! The end of a tenant's pass, for the rollouts that it was part of.

use tenantry_crds::{names::AppName, v1alpha1::InstalledApp};

use super::journal;
use crate::{backend::postgres::Cell, context::Context, error::Error};

/// Notes in the tenant's cell how the pass over it ended, with which apps installed, and lets the next tenants go.
///
/// # Errors
/// When the registry cannot be told that a failure is gone: the pass is to be repeated, since the rollout waits for that. A
/// failure that cannot be noted is known in memory and noted by the next attempt.
pub async fn conclude(
    ctx: &Context,
    cell: &Cell,
    tenant: &str,
    end: Result<&[InstalledApp], &Error>,
) -> Result<(), Error> {
    let ended = ctx.rollouts.ended(tenant, end);
    let mut moved = ended.moved;
    let mut unsaid = Ok(());
    for verdict in ended.verdicts {
        match journal::write(cell, tenant, &verdict).await {
            Ok(()) if ctx.rollouts.settled(tenant, &verdict) => moved.push(verdict.app),
            Ok(()) => {}
            Err(error) => unsaid = Err(error),
        }
    }
    if !moved.is_empty() {
        ended.apps.iter().for_each(|app| admit(ctx, app));
        ctx.touched.moved(moved.iter().map(ToString::to_string));
    }
    unsaid
}

/// Lets all tenants go that may.
pub fn admit(ctx: &Context, app: &AppName) {
    for tenant in ctx.rollouts.advance(app) {
        tracing::debug!(%tenant, %app, "admitted to the rollout");
        ctx.lanes.tenants.call(&tenant);
    }
}
