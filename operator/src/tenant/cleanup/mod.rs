//! The end of a tenant, by its deletion policy.
//!
//! First the tenant stops being served, then its data goes (or is marked as kept), then what can be derived from it, and
//! last the rows of the registry: they are the ledger of what is left to do, so a crash at any point leaves nothing that the
//! next pass does not find. Nothing goes that does not bear this very object's uid.

mod plan;
#[cfg(test)]
mod tests;

use std::time::Duration;

use kube::{Api, Resource, ResourceExt};
use tenantry_crds::{
    conditions::ConditionType,
    names::{AppName, QueueName, RedisKey},
    reason::Reason,
    v1alpha1::{DeletionPolicy, Tenant, TenantStatus},
};
use tenantry_migrations::{logins::LoginShard, registry::StreamBindingRecord};

use self::plan::{CleanupPlan, Policy};
use super::{
    converge, identity,
    search::{self, Work},
};
use crate::{
    backend::{
        Placed,
        postgres::{
            change::{Changes, Identity, RowChange},
            observe::observe,
        },
    },
    context::Context,
    driver::{Cleanup, Pass},
    error::Error,
    placement,
};

/// The end of a search task wakes the tenant, so this only bounds what a lost wake costs.
const TASK_RECHECK: Duration = Duration::from_secs(10);

/// One pass over a Tenant that is being deleted.
pub async fn cleanup(
    object: &Tenant,
    ctx: &Context,
    pass: &mut Pass<TenantStatus>,
) -> Result<Cleanup, Error> {
    let tenant = identity(object)?;
    let Some(live) = confirmed(object, ctx).await? else { return Ok(Cleanup::Done) };
    let policy = match live.spec.deletion_policy {
        DeletionPolicy::Retain => Policy::Retain,
        DeletionPolicy::Delete => Policy::Delete,
        // The CRD refuses it; data that cannot be exported must not go.
        DeletionPolicy::Snapshot => {
            let message =
                "spec.deletionPolicy Snapshot is not supported in this release; set Retain or Delete";
            return Err(Error::Invalid(message.to_owned()));
        }
    };
    let placed = placement::resolve_for_cleanup(&live, ctx);
    let Some(placed) = &placed.map_err(|e| pass.fails(ConditionType::DatabaseReady, e))? else {
        // It was never placed, so nothing was made for it.
        return Ok(Cleanup::Done);
    };
    let cell = placed.cell;
    let observed = observe(cell.database(), &tenant, &[])
        .await
        .map_err(|e| pass.fails(ConditionType::DatabaseReady, e))?;
    let plan = plan::plan(&tenant, policy, &observed);
    let shard = observed.shard();

    for changes in &plan.data {
        apply(placed, &tenant, shard, changes)
            .await
            .map_err(|e| pass.fails(ConditionType::DatabaseReady, e))?;
    }
    if let (true, Some(shard)) = (plan.purge, shard) {
        placed
            .cell
            .purge_journals(shard, &tenant)
            .await
            .map_err(|e| pass.fails(ConditionType::DatabaseReady, e))?;
    }
    if policy == Policy::Delete && plan.owns_name {
        remove_streams(&live, ctx, placed, &tenant, &observed.streams)
            .await
            .map_err(|e| pass.fails(ConditionType::StreamsReady, e))?;
    }
    let pending = remove_searches(ctx, placed, &tenant, shard, &plan)
        .await
        .map_err(|e| pass.fails(ConditionType::SearchReady, e))?;
    if !pending.is_empty() {
        return Ok(Cleanup::Waiting {
            reason: Reason::Deleting,
            message: format!("the search engine is still removing {}", pending.join(", ")),
            after: TASK_RECHECK,
        });
    }
    apply(placed, &tenant, shard, &plan.last)
        .await
        .map_err(|e| pass.fails(ConditionType::DatabaseReady, e))?;
    cell.released(tenant.uid, shard.filter(|_| plan.frees_roles)).await;
    match &observed.record {
        Some(record) if policy == Policy::Retain || record.uid != tenant.uid => {
            ctx.directory.release_hosts(tenant.name.as_str(), cell.name(), &record.hosts);
        }
        _ => ctx.left(tenant.name.as_str(), cell.name()),
    }
    tracing::info!(tenant = %tenant.name, ?policy, "cleaned up");
    Ok(Cleanup::Done)
}

/// The object as it is now, read past the cache; nothing when it is gone or another one bears its name by now.
async fn confirmed(object: &Tenant, ctx: &Context) -> Result<Option<Tenant>, Error> {
    let live = Api::<Tenant>::all(ctx.client.clone())
        .get_opt(&object.name_any())
        .await
        .map_err(Error::kube("reading the Tenant before its cleanup"))?;
    Ok(live.filter(|live| live.meta().uid == object.meta().uid && live.meta().deletion_timestamp.is_some()))
}

async fn apply(
    placed: &Placed<'_>,
    tenant: &Identity,
    shard: Option<LoginShard>,
    changes: &Changes,
) -> Result<(), Error> {
    let (false, Some(_)) = (changes.is_empty(), shard) else { return Ok(()) };
    let shard = placed.cell.shard_of(tenant.uid, shard).await?;
    placed.cell.apply(shard, tenant, changes).await
}

/// The keys of every queue that the registry knows, and of those that a pass may have made just before a crash.
async fn remove_streams(
    object: &Tenant,
    ctx: &Context,
    placed: &Placed<'_>,
    tenant: &Identity,
    bindings: &[StreamBindingRecord],
) -> Result<(), Error> {
    let mut keys = Vec::new();
    for binding in bindings {
        let (app, queue) = (AppName::new(&binding.app)?, QueueName::new(&binding.queue)?);
        keys.extend(RedisKey::all(&tenant.name, &app, &queue));
    }
    // A composition that cannot be resolved never made a stream that the registry does not know.
    if let Ok(desired) = converge::compose(object, ctx, tenant, &placed.placement) {
        let streams = desired.streams.iter();
        keys.extend(streams.flat_map(|stream| RedisKey::all(&tenant.name, &stream.app, &stream.queue)));
    }
    keys.sort_unstable();
    keys.dedup();
    ctx.leadership.check()?;
    placed.redis.remove(&keys).await
}

/// Asks for the end of the indexes; those that are not gone yet.
async fn remove_searches(
    ctx: &Context,
    placed: &Placed<'_>,
    tenant: &Identity,
    shard: Option<LoginShard>,
    plan: &CleanupPlan,
) -> Result<Vec<String>, Error> {
    let work = plan.searches.iter().cloned().map(Work::Remove).collect();
    let outcome = search::advance(ctx, placed, tenant.name.as_str(), work, &[]).await;
    let rows: Vec<RowChange> = outcome.rows;
    apply(placed, tenant, shard, &Changes { rows, ..Changes::default() }).await?;
    outcome.failure.map_or(Ok(outcome.pending), Err)
}
