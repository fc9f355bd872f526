//! Brings every backend to what a tenant should be.
//!
//! Streams come before the Postgres transaction, so that one transaction makes the tables and says that the tenant can be
//! served. A crash between the two leaves empty streams under derived names; the next pass or the cleanup meets them. A
//! backend that is down does not hold up the others.

use std::time::{Duration, Instant};

use tenantry_crds::{
    conditions::ConditionType,
    reason::Reason,
    v1alpha1::{Tenant, TenantState, TenantStatus},
};
use tenantry_migrations::registry::Placement;

use super::{
    desired::{Desired, Manifest},
    identity,
    plan::{self, Around},
    restore,
    search::{self, Outcome},
    status,
};
use crate::{
    app,
    backend::{
        Placed,
        postgres::{
            change::{Changes, Identity, RowChange},
            observe::{self, Observed},
        },
    },
    catalog::Version,
    context::Context,
    driver::{Pass, Progress},
    error::Error,
    placement,
    search_index::effective_for,
};

/// The end of a search task wakes the tenant, so this only bounds what a lost wake costs.
const TASK_RECHECK: Duration = Duration::from_secs(30);

/// One pass.
pub async fn converge(
    object: &Tenant,
    ctx: &Context,
    pass: &mut Pass<TenantStatus>,
) -> Result<Progress, Error> {
    let tenant = identity(object)?;
    pass.status.not_supported = status::not_supported(&object.spec);
    let placed =
        &placement::resolve(object, ctx).await.map_err(|e| pass.fails(ConditionType::DatabaseReady, e))?;
    pass.status.placement = Some(placed.status());
    let observed =
        look(object, placed, &tenant).await.map_err(|e| pass.fails(ConditionType::DatabaseReady, e))?;
    if let Some(progress) = restore::pending(object, ctx, placed, &tenant, &observed)? {
        return Ok(progress);
    }
    let desired = compose(object, ctx, &tenant, &placed.placement)
        .map_err(|e| pass.fails(ConditionType::AppsReady, e))?;
    let apps = status::count(object.spec.apps.len(), "app", "apps");
    pass.holds(ConditionType::AppsReady, Reason::Succeeded, format!("{apps} resolved"));

    let observed = prepare(object, ctx, placed, &desired, observed)
        .await
        .map_err(|e| pass.fails(ConditionType::DatabaseReady, e))?;
    let (streams, claimable) =
        tokio::join!(ensure_streams(ctx, placed, &desired), search::claimable(placed, &desired, &observed));
    let around = Around {
        streams_in_place: streams.is_ok(),
        absent_indexes: claimable.as_ref().cloned().unwrap_or_default(),
    };
    let changes = provision(placed, &desired, &observed, &around)
        .await
        .map_err(|e| pass.fails(ConditionType::DatabaseReady, e))?;
    report_database(pass, &desired);
    let streams = report_streams(pass, &desired, streams);
    let search = searches(ctx, placed, &desired, &observed, &changes, claimable).await;
    let search = report_search(pass, &desired, search);
    streams?;
    let pending = search?;
    if pending.is_empty() {
        return Ok(Progress::Ready(format!("{apps}, {}", tables(&desired))));
    }
    Ok(Progress::Pending {
        reason: Reason::TaskPending,
        message: format!("the search engine is still at work on {}", pending.join(", ")),
        after: TASK_RECHECK,
    })
}

/// What the tenant should be.
pub(super) fn compose(
    object: &Tenant,
    ctx: &Context,
    tenant: &Identity,
    placement: &Placement,
) -> Result<Desired, Error> {
    let apps = ctx.catalog.composition(&object.spec.apps)?;
    let indexes = effective_for(object, &apps, &ctx.stores.search_indexes.state());
    let generation = object.metadata.generation.unwrap_or_default();
    let manifest = Manifest { tenant, generation, spec: &object.spec, placement };
    Desired::of(manifest, &apps, &indexes)
}

/// What is there. A tenant that is to be suspended is so from here on.
async fn look(object: &Tenant, placed: &Placed<'_>, tenant: &Identity) -> Result<Observed, Error> {
    let cell = placed.cell;
    // Not before the cell is taken over: an older leader may still be at work there.
    cell.epoch()?;
    let mut observed = observe::observe(cell.database(), tenant, &object.spec.hosts)
        .await
        .map_err(|error| error.at(cell.name()))?;
    if object.spec.adopt_retained
        && let (Some(changes), Some(shard)) = (plan::adoption(tenant, &observed), observed.shard())
    {
        let shard = cell.shard_of(tenant.uid, Some(shard)).await?;
        cell.apply(shard, tenant, &changes).await?;
        tracing::info!(tenant = %tenant.name, uid = %tenant.uid, "took over retained data");
        observed = observe::observe(cell.database(), tenant, &object.spec.hosts)
            .await
            .map_err(|error| error.at(cell.name()))?;
    }
    plan::refuse_foreign_objects(tenant, &observed)?;
    if let (Some(change), Some(shard)) = (plan::state(&object.spec, &observed), observed.shard()) {
        let changes = Changes { rows: vec![change], ..Changes::default() };
        let shard = cell.shard_of(tenant.uid, Some(shard)).await?;
        cell.apply(shard, tenant, &changes).await?;
        if let Some(record) = &mut observed.record {
            let suspended = object.spec.state == TenantState::Suspended;
            record.state = if suspended { "Suspended" } else { "Active" }.to_owned();
            record.suspended_message.clone_from(&object.spec.suspended_message);
        }
    }
    Ok(observed)
}

/// What must hold before anything is made outside of the tenant's Postgres instance.
async fn prepare(
    object: &Tenant,
    ctx: &Context,
    placed: &Placed<'_>,
    desired: &Desired,
    observed: Observed,
) -> Result<Observed, Error> {
    let (tenant, cell) = (&desired.tenant, placed.cell);
    let served = observed.record.as_ref().map(|record| record.hosts.as_slice()).unwrap_or_default();
    let rival = ctx.directory.claim_hosts(tenant.name.as_str(), cell.name(), &object.spec.hosts, served);
    if let Some((host, rival)) = rival {
        return Err(plan::host_conflict(&host, &rival));
    }
    let dropped: Vec<_> = served.iter().filter(|host| !desired.hosts.contains(*host)).cloned().collect();
    ctx.directory.release_hosts(tenant.name.as_str(), cell.name(), &dropped);
    for app in &desired.apps {
        if let Some(published) = ctx.catalog.version(&app.name, &Version::new(&app.version)) {
            app::publish(cell, &published).await?;
        }
    }
    if !placed.chosen || observed.record.is_some() {
        return Ok(observed);
    }
    // Streams and indexes are made in instances that were chosen; a leader that knew of none would choose again.
    provision(placed, desired, &observed, &Around::default()).await?;
    look(object, placed, tenant).await
}

async fn ensure_streams(ctx: &Context, placed: &Placed<'_>, desired: &Desired) -> Result<(), Error> {
    ctx.leadership.check()?;
    let keys: Vec<_> = desired.streams.iter().map(|stream| &stream.key).collect();
    placed.redis.ensure_streams(&keys).await
}

/// Everything in Postgres, in one transaction; what was changed.
async fn provision(
    placed: &Placed<'_>,
    desired: &Desired,
    observed: &Observed,
    around: &Around,
) -> Result<Changes, Error> {
    let (tenant, cell) = (&desired.tenant, placed.cell);
    let shard = cell.shard_of(tenant.uid, observed.shard()).await?;
    let changes = plan::plan(desired, observed, shard, around)?;
    if changes.is_empty() {
        return Ok(changes);
    }
    let started = Instant::now();
    cell.apply(shard, tenant, &changes).await?;
    cell.bound(tenant.uid).await;
    tracing::info!(
        tenant = %tenant.name,
        roles = changes.roles.len(),
        objects = changes.objects.len(),
        rows = changes.rows.len(),
        took = ?started.elapsed(),
        "changed"
    );
    Ok(changes)
}

/// Brings the engine on and lets the registry say what it has; the indexes that are still being worked on.
async fn searches(
    ctx: &Context,
    placed: &Placed<'_>,
    desired: &Desired,
    observed: &Observed,
    changes: &Changes,
    claimable: Result<Vec<String>, Error>,
) -> Result<Vec<String>, Error> {
    let work = search::work(desired, &observed.searches);
    if work.is_empty() {
        return Ok(Vec::new());
    }
    let claimed = changes.rows.iter().filter_map(|row| match row {
        RowChange::PutSearch(row) => Some(row.index.as_str().to_owned()),
        _ => None,
    });
    let claimed: Vec<String> = claimed.collect();
    let name = desired.tenant.name.as_str();
    let Outcome { rows, pending, failure } = search::advance(ctx, placed, name, work, &claimed).await;
    let tenant = &desired.tenant;
    let shard = placed.cell.shard_of(tenant.uid, observed.shard()).await?;
    placed.cell.apply(shard, tenant, &Changes { rows, ..Changes::default() }).await?;
    claimable?;
    failure.map_or(Ok(pending), Err)
}

fn report_database(pass: &mut Pass<TenantStatus>, desired: &Desired) {
    pass.status.schema = Some(desired.tenant.schema.as_str().to_owned());
    status::installed(&mut pass.status, desired);
    let message = format!("schema {} with {}", desired.tenant.schema, tables(desired));
    pass.holds(ConditionType::DatabaseReady, Reason::Succeeded, message);
}

fn report_streams(
    pass: &mut Pass<TenantStatus>,
    desired: &Desired,
    outcome: Result<(), Error>,
) -> Result<(), Error> {
    outcome.map_err(|error| pass.fails(ConditionType::StreamsReady, error))?;
    match desired.streams.len() {
        0 => pass.holds(ConditionType::StreamsReady, Reason::NotRequired, "no app has a queue"),
        number => pass.holds(
            ConditionType::StreamsReady,
            Reason::Succeeded,
            format!("{} in place", status::count(number, "queue", "queues")),
        ),
    }
    Ok(())
}

fn report_search(
    pass: &mut Pass<TenantStatus>,
    desired: &Desired,
    outcome: Result<Vec<String>, Error>,
) -> Result<Vec<String>, Error> {
    use tenantry_crds::conditions::{Finding, Truth};
    let pending = outcome.map_err(|error| pass.fails(ConditionType::SearchReady, error))?;
    let finding = |truth, reason, message| Finding::new(ConditionType::SearchReady, truth, reason, message);
    let number = desired.searches.len();
    pass.find(if !pending.is_empty() {
        let message = format!("the search engine is still at work on {}", pending.join(", "));
        finding(Truth::False, Reason::TaskPending, message)
    } else if number == 0 {
        finding(Truth::True, Reason::NotRequired, "no SearchIndex selects this tenant".to_owned())
    } else {
        let message = format!("{} in place", status::count(number, "index", "indexes"));
        finding(Truth::True, Reason::Succeeded, message)
    });
    Ok(pending)
}

fn tables(desired: &Desired) -> String {
    status::count(desired.tables().count(), "table", "tables")
}
