//! Brings every backend to what a tenant should be.
//!
//! Streams come before the Postgres transaction, so that one transaction makes the tables and says that the tenant can be
//! served. A crash between the two leaves empty streams under derived names; the next pass or the cleanup meets them. A
//! backend that is down does not hold up the others.

use std::{
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use futures::FutureExt;
use kube::ResourceExt;
use tenantry_crds::{
    conditions::ConditionType,
    reason::Reason,
    v1alpha1::{Tenant, TenantState, TenantStatus},
};
use tenantry_migrations::{logins::LoginShard, registry::Placement};

use super::{
    asks_for_plan, connections,
    desired::{Desired, Manifest},
    evolve::{Evolution, waited_for},
    identity,
    plan::{self, Around, Plan, Turn, connections::Cause},
    report::{self, UnderWay},
    restore,
    search::{self, Outcome},
    status,
};
use crate::{
    access, app,
    backend::{
        Placed,
        postgres::{
            Cell,
            change::{Changes, Identity, RoleChange, RowChange},
            observe::{self, Observed},
            step::Step,
        },
    },
    catalog::Version,
    context::Context,
    driver::{Pass, Progress},
    error::Error,
    killpoint::killpoint,
    placement, rollout,
    search_index::effective_for,
};

/// The end of a search task wakes the tenant, so this only bounds what a lost wake costs.
const TASK_RECHECK: Duration = Duration::from_secs(30);

/// The end of the steps wakes the tenant, too.
const STEPS_RECHECK: Duration = Duration::from_secs(30);

/// By then every replica of the control plane serves the new version.
const OLD_VERSION_GONE: Duration = Duration::from_secs(5);

/// One pass, which may be part of rollouts.
pub async fn converge(
    object: &Tenant,
    ctx: &Context,
    pass: &mut Pass<TenantStatus>,
) -> Result<Progress, Error> {
    let name = object.name_any();
    let placed =
        placement::resolve(object, ctx).await.map_err(|e| pass.fails(ConditionType::DatabaseReady, e))?;
    pass.status.placement = Some(placed.status());
    ctx.rollouts.begin(&name, &object.spec);
    // A panic is a failure of the version, too: a rollout that does not hear of it would wait for ever.
    let work = AssertUnwindSafe(bring(object, ctx, &placed, pass)).catch_unwind().await;
    let work = work.unwrap_or(Err(Error::Panicked));
    if work.is_err() {
        status::aims(&mut pass.status, &ctx.rollouts.aims(&name));
    }
    let end = work.as_ref().map(|_| pass.status.apps.as_slice());
    let noted = rollout::conclude(ctx, placed.cell, &name, end).await;
    work.and_then(|progress| noted.map(|()| progress))
}

/// Brings the tenant to the versions that it is to have.
async fn bring(
    object: &Tenant,
    ctx: &Context,
    placed: &Placed<'_>,
    pass: &mut Pass<TenantStatus>,
) -> Result<Progress, Error> {
    let tenant = identity(object)?;
    pass.status.not_supported = status::not_supported(&object.spec);
    pass.status.plan = None;
    let seen = ctx.metrics.call("postgres", "look", look(object, placed, &tenant)).await;
    let observed = seen.map_err(|e| pass.fails(ConditionType::DatabaseReady, e))?;
    if let Some(progress) = restore::pending(object, ctx, placed, &tenant, &observed)? {
        return Ok(progress);
    }
    let moved = ctx.rollouts.learn(tenant.name.as_str(), &object.spec, &observed.apps);
    if !moved.is_empty() {
        ctx.touched.moved(moved.iter().map(ToString::to_string));
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
        ..Around::default()
    };
    // As they are, until it is known what they are to be: a pass that fails on the way says so as well.
    report::connections(pass, &plan::connections::standing(&desired, &observed));
    let Provisioned { changes, under_way, causes, again } =
        provision(ctx, placed, &desired, &observed, around)
            .await
            .map_err(|e| pass.fails(ConditionType::DatabaseReady, e))?;
    report::database(pass, &desired, &changes, &observed, &under_way);
    report::connections(pass, &causes);
    report::foreign_objects(object, ctx, &causes);
    let streams = report::streams(pass, &desired, streams);
    let search = searches(ctx, placed, &desired, &observed, &changes, claimable).await;
    let search = report::searches(pass, &desired, search);
    let access = access::converge(object, ctx, placed, &desired, &observed, pass).await;
    streams?;
    let pending = search?;
    let quiet = [access?, again].into_iter().flatten().min();
    if let UnderWay::Steps(what) = under_way {
        let (reason, message) = (Reason::WorkPending, format!("under way: {what}"));
        return Ok(Progress::Pending { reason, message, after: STEPS_RECHECK });
    }
    if under_way == UnderWay::Drops {
        let message =
            "what the definition does not have any more goes once no replica serves the version before";
        let message = message.to_owned();
        return Ok(Progress::Pending { reason: Reason::WorkPending, message, after: OLD_VERSION_GONE });
    }
    if pending.is_empty() {
        let message = format!("{apps}, {}", report::tables(&desired));
        return Ok(quiet.map_or_else(
            || Progress::Ready(message.clone()),
            |quiet| Progress::ReadyFor(message.clone(), quiet),
        ));
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
    let apps = if asks_for_plan(object) {
        ctx.rollouts.compose_complete(&object.spec)?
    } else {
        ctx.rollouts.compose(tenant.name.as_str(), &object.spec)?
    };
    let indexes = effective_for(object, &apps, &ctx.stores.search_indexes.state());
    let generation = object.metadata.generation.unwrap_or_default();
    let manifest = Manifest { tenant, generation, spec: &object.spec, placement };
    let mut desired = Desired::of(manifest, &apps, &indexes)?;
    for app in &mut desired.apps {
        app.allowed = ctx.catalog.acknowledged(&app.name);
    }
    Ok(desired)
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
        killpoint!("tenant.adopt", cell.apply(shard, tenant, &changes).await)?;
        tracing::info!(tenant = %tenant.name, uid = %tenant.uid, "took over retained data");
        observed = observe::observe(cell.database(), tenant, &object.spec.hosts)
            .await
            .map_err(|error| error.at(cell.name()))?;
    }
    plan::refuse_foreign_objects(tenant, &observed)?;
    if let (Some(change), Some(shard)) = (plan::state(&object.spec, &observed), observed.shard()) {
        let shard = cell.shard_of(tenant.uid, Some(shard)).await?;
        cell.apply(shard, tenant, &Changes { rows: vec![change], ..Changes::default() }).await?;
        if let Some(record) = &mut observed.record {
            let suspended = object.spec.state == TenantState::Suspended;
            record.state = if suspended { "Suspended" } else { "Active" }.to_owned();
            record.suspended_message.clone_from(&object.spec.suspended_message);
        }
    }
    if object.spec.state == TenantState::Suspended {
        connections::close(cell, tenant, &mut observed).await?;
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
    provision(ctx, placed, desired, &observed, Around::default()).await?;
    look(object, placed, tenant).await
}

async fn ensure_streams(ctx: &Context, placed: &Placed<'_>, desired: &Desired) -> Result<(), Error> {
    ctx.leadership.check()?;
    let keys: Vec<_> = desired.streams.iter().map(|stream| &stream.key).collect();
    placed.redis.ensure_streams(&keys).await
}

/// What a pass did in Postgres.
#[derive(Debug, Default)]
struct Provisioned {
    changes: Changes,
    under_way: UnderWay,
    /// Why the tenant has connections of its own.
    causes: Vec<Cause>,
    /// When to look at its connections again, while they are not the shared ones.
    again: Option<Duration>,
}

/// Everything in Postgres: what can be made at once in one transaction, the rest in steps; what was changed.
async fn provision(
    ctx: &Context,
    placed: &Placed<'_>,
    desired: &Desired,
    observed: &Observed,
    around: Around,
) -> Result<Provisioned, Error> {
    let (tenant, cell) = (&desired.tenant, placed.cell);
    let shard = cell.shard_of(tenant.uid, observed.shard()).await?;
    ctx.rollouts.bound(tenant.name.as_str(), shard);
    let own_door_closed = observed.traffic.as_ref().is_some_and(|traffic| traffic.opens)
        && plan::connections::may_hold_code(tenant, observed)
        && !cell.own_door_opens(tenant).await;
    let around = Around { own_door_closed, ..around };
    let plan = plan_knowing_rows(cell, desired, observed, shard, around).await?;
    let causes = plan::connections::causes(desired, observed, &plan.steps);
    let again = connections::look_again(&causes, observed, plan.turn);
    if plan.is_empty() {
        return Ok(Provisioned { causes, again, ..Provisioned::default() });
    }
    let Plan { changes, steps, drops_follow, turn } = plan;
    // Steps that run see the tables as the pass that began them left them.
    let touches = !changes.roles.is_empty() || !changes.objects.is_empty() || turn != Turn::Stay;
    if ctx.evolutions.is_running(&tenant.name) && touches {
        let what = "changes that were begun before".to_owned();
        return Ok(Provisioned { under_way: UnderWay::Steps(what), causes, ..Provisioned::default() });
    }
    make(cell, tenant, shard, &changes, plan::connections::may_hold_code(tenant, observed)).await?;
    if !steps.is_empty() {
        let what = status::sample(&steps);
        let evolution = Evolution { tenant: tenant.clone(), cell: cell.name().clone(), shard, steps };
        if let Some(outcome) = ctx.evolutions.advance(evolution).await {
            outcome?;
        }
        return Ok(Provisioned { changes, under_way: UnderWay::Steps(what), causes, again });
    }
    if drops_follow {
        return Ok(Provisioned { changes, under_way: UnderWay::Drops, causes, again });
    }
    connections::turn(ctx, cell, desired, shard, turn).await?;
    Ok(Provisioned { changes, under_way: UnderWay::Nothing, causes, again })
}

/// The plan, made again with a look at the files of the tables that it wants to change by steps: one without rows needs none.
pub(super) async fn plan_knowing_rows(
    cell: &Cell,
    desired: &Desired,
    observed: &Observed,
    shard: LoginShard,
    around: Around,
) -> Result<Plan, Error> {
    let plan = plan::plan(desired, observed, shard, &around)?;
    let mut tables: Vec<String> =
        plan.steps.iter().filter_map(Step::table).map(|table| table.as_str().to_owned()).collect();
    tables.dedup();
    if tables.is_empty() {
        return Ok(plan);
    }
    let empty_tables = observe::empty_tables(cell.database(), &desired.tenant, &tables).await?;
    plan::plan(desired, observed, shard, &Around { empty_tables, ..around })
}

async fn make(
    cell: &Cell,
    tenant: &Identity,
    shard: LoginShard,
    changes: &Changes,
    may_hold_code: bool,
) -> Result<(), Error> {
    if changes.is_empty() {
        return Ok(());
    }
    let started = Instant::now();
    let made = if may_hold_code && !changes.objects.is_empty() {
        make_apart(cell, tenant, shard, changes).await
    } else {
        cell.apply(shard, tenant, changes).await
    };
    if let Err(error) = made {
        return Err(waited_for(cell, tenant, error).await);
    }
    if changes.roles.iter().any(|change| matches!(change, RoleChange::Dedicate { .. })) {
        killpoint!("connections.dedicate", cell.shut_shared(shard, tenant).await)?;
    }
    cell.bound(tenant.uid).await;
    tracing::info!(
        tenant = %tenant.name,
        roles = changes.roles.len(),
        objects = changes.objects.len(),
        rows = changes.rows.len(),
        took = ?started.elapsed(),
        "changed"
    );
    Ok(())
}

/// The same for a tenant that may hold code: no session that can become another tenant touches its relations. The registry says what
/// is there when it is there.
async fn make_apart(
    cell: &Cell,
    tenant: &Identity,
    shard: LoginShard,
    changes: &Changes,
) -> Result<(), Error> {
    let Changes { roles, objects, rows } = changes;
    cell.apply(shard, tenant, &Changes { roles: roles.clone(), ..Changes::default() }).await?;
    cell.apply_as_owner(shard, tenant, objects).await?;
    cell.apply(shard, tenant, &Changes { rows: rows.clone(), ..Changes::default() }).await
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
