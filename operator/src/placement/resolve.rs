//! The instances of a tenant, for a pass.

use kube::{Resource, ResourceExt};
use tenantry_crds::{
    names::InstanceName,
    reason::Reason,
    v1alpha1::{PlacementSpec, Tenant},
};
use tenantry_migrations::registry::Placement;
use uuid::Uuid;

use super::{
    choice::{Load, choose},
    directory::{Backend, Resident},
    residence::{Decided, Known, decided},
};
use crate::{backend::Placed, context::Context, error::Error};

/// Where a tenant is, decided once and for all. Nothing is made yet when this returns.
///
/// # Errors
/// PlacementImmutable, InstanceNotFound and CapacityExhausted when a person must act; [`Error::Waiting`] while it is not known
/// whether the tenant is placed already.
pub async fn resolve<'a>(object: &Tenant, ctx: &'a Context) -> Result<Placed<'a>, Error> {
    let name = object.name_any();
    let chosen = is_choice(&object.spec.placement, ctx);
    if !ctx.directory.residents(&name).is_empty() {
        let (_, decided) = look_up(object, ctx)?;
        return ctx.backends.placed(complete(&decided, [None, None, None]), chosen);
    }
    let _turn = ctx.directory.placing().await;
    let (uid, decided) = look_up(object, ctx)?;
    let placement = place(&decided, ctx).await.inspect_err(|error| {
        if error.reason() == Reason::CapacityExhausted {
            ctx.directory.waits_for_room(&name);
        }
    })?;
    let placed = ctx.backends.placed(placement, chosen)?;
    ctx.directory.settle(&name, Resident { uid, placement: placed.placement.clone() });
    Ok(placed)
}

/// Whether the manifest leaves anything to choose.
fn is_choice(spec: &PlacementSpec, ctx: &Context) -> bool {
    let open =
        [(Backend::Postgres, &spec.postgres), (Backend::Redis, &spec.redis), (Backend::Search, &spec.search)];
    open.into_iter().any(|(backend, asked)| asked.is_none() && ctx.backends.capacities(backend).count() > 1)
}

/// The instance of a backend that has no other.
fn only(backend: Backend, ctx: &Context) -> Option<InstanceName> {
    let mut instances = ctx.backends.capacities(backend);
    let (first, second) = (instances.next(), instances.next());
    first.filter(|_| second.is_none()).map(|(name, _)| name.clone())
}

/// Where the data of a tenant is, without choosing anything: of one that is being deleted, or only looked at. Nothing when it
/// was never placed.
///
/// # Errors
/// As [`resolve`], but for capacity.
pub fn resident<'a>(object: &Tenant, ctx: &'a Context) -> Result<Option<Placed<'a>>, Error> {
    let (_, decided) = look_up(object, ctx)?;
    // A pass that had nothing to choose makes streams before the registry or the status tell of the tenant, and may have died.
    let undecided = [Backend::Postgres, Backend::Redis, Backend::Search].map(|backend| only(backend, ctx));
    if decided.postgres.is_none() && undecided[0].is_none() {
        return Ok(None);
    }
    match ctx.backends.placed(complete(&decided, undecided), false) {
        // Only asked for, and no pass came any further than this.
        Err(error) if error.reason() == Reason::InstanceNotFound && !is_placed(object, ctx) => Ok(None),
        placed => placed.map(Some),
    }
}

fn is_placed(object: &Tenant, ctx: &Context) -> bool {
    let status = object.status.as_ref().and_then(|status| status.placement.as_ref());
    status.is_some() || !ctx.directory.residents(&object.name_any()).is_empty()
}

fn look_up(object: &Tenant, ctx: &Context) -> Result<(Uuid, Decided), Error> {
    let uid = object.meta().uid.as_deref().unwrap_or_default();
    let uid = uid.parse().map_err(Error::data("reading metadata.uid"))?;
    let deleting = object.meta().deletion_timestamp.is_some();
    // The place of a tenant that goes is where it is, whatever the manifest says by now.
    let nothing = PlacementSpec::default();
    let status = object.status.as_ref().and_then(|status| status.placement.as_ref());
    let residents = ctx.directory.residents(&object.name_any());
    let decided = decided(&Known {
        uid,
        spec: if deleting && is_placed(object, ctx) { &nothing } else { &object.spec.placement },
        // The API server counts a deletion as a change.
        first_generation: object.metadata.generation.unwrap_or_default() <= if deleting { 2 } else { 1 },
        status,
        residents: &residents,
        unread: &ctx.directory.unread(),
    })?;
    Ok((uid, decided))
}

/// What is decided, and chosen instances for the rest.
async fn place(decided: &Decided, ctx: &Context) -> Result<Placement, Error> {
    let postgres = loads(ctx, Backend::Postgres);
    let (redis, search) = (loads(ctx, Backend::Redis), loads(ctx, Backend::Search));
    let chosen = [
        match &decided.postgres {
            Some(name) => with_room("Postgres", &postgres, name)?,
            None => Some(choose_cell(ctx, &postgres).await?),
        },
        one_of("Redis", &redis, decided.redis.as_ref())?,
        // Without any search engine a tenant waits for one when it needs it, and not before.
        if search.is_empty() { None } else { one_of("search", &search, decided.search.as_ref())? },
    ];
    Ok(complete(decided, chosen))
}

fn complete(decided: &Decided, chosen: [Option<InstanceName>; 3]) -> Placement {
    let [postgres, redis, search] = chosen;
    let one = |decided: &Option<InstanceName>, chosen: Option<InstanceName>| {
        decided.clone().or(chosen).unwrap_or_default()
    };
    Placement {
        postgres: one(&decided.postgres, postgres),
        redis: one(&decided.redis, redis),
        search: one(&decided.search, search),
    }
}

fn one_of(kind: &str, loads: &[Load], decided: Option<&InstanceName>) -> Result<Option<InstanceName>, Error> {
    match decided {
        Some(name) => with_room(kind, loads, name),
        None => choose(loads).cloned().map(Some).ok_or_else(|| full(kind, loads)),
    }
}

/// A name that is asked for must have room, too. One that is not configured is told apart by [`crate::backend::Backends`].
fn with_room(kind: &str, loads: &[Load], name: &InstanceName) -> Result<Option<InstanceName>, Error> {
    match loads.iter().find(|load| load.name == *name) {
        Some(load) if !load.has_room() => Err(full(kind, std::slice::from_ref(load))),
        _ => Ok(Some(name.clone())),
    }
}

/// The Postgres instance with the most room of those that answer: a new tenant need not wait for one that is down.
async fn choose_cell(ctx: &Context, loads: &[Load]) -> Result<InstanceName, Error> {
    let mut left = loads.to_vec();
    let mut down = Vec::new();
    while let Some(name) = choose(&left).cloned() {
        let only = loads.len() == 1;
        if only || ctx.backends.cell(&name)?.answers().await {
            return Ok(name);
        }
        left.retain(|load| load.name != name);
        down.push(name);
    }
    if down.is_empty() {
        return Err(full("Postgres", loads));
    }
    Err(Error::waiting(
        Reason::BackendUnavailable,
        format!("no Postgres instance with room answers; down: {}", super::residence::names(&down)),
    ))
}

fn loads(ctx: &Context, backend: Backend) -> Vec<Load> {
    let load = |(name, capacity): (&InstanceName, Option<u32>)| Load {
        tenants: ctx.directory.tenants(backend, name),
        name: name.clone(),
        capacity,
    };
    ctx.backends.capacities(backend).map(load).collect()
}

fn full(kind: &str, loads: &[Load]) -> Error {
    let loads: Vec<_> = loads.iter().map(Load::describe).collect();
    Error::blocked(
        Reason::CapacityExhausted,
        format!(
            "no {kind} instance has room ({}); raise its capacity in the settings, add an instance, or delete a tenant",
            loads.join(", ")
        ),
    )
}
