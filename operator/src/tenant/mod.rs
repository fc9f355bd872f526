//! Tenant: observe, plan, apply, status.
//!
//! - [`mod@desired`]: what a tenant should be, composed of its manifest, apps and search indexes
//! - [`plan`]: what has to change in Postgres
//! - [`preview`]: tells it, for who asks first
//! - [`converge`]: makes it so in every backend
//! - [`evolve`]: changes of tables that hold rows, beside the passes
//! - [`search`]: the search indexes
//! - [`restore`]: a tenant that begins as a snapshot
//! - [`cleanup`]: the end of a tenant, by its deletion policy
//! - [`report`], [`status`]: what a pass tells

mod cleanup;
mod connections;
mod converge;
pub mod desired;
mod evolve;
#[cfg(test)]
pub mod fixtures;
mod plan;
mod preview;
mod report;
mod restore;
mod search;
mod status;

pub use evolve::Evolutions;
pub use restore::prepare as prepare_for_restore;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Resource, ResourceExt};
use tenantry_crds::{
    labels::{PLAN_ANNOTATION, TENANT_FINALIZER},
    names::TenantName,
    v1alpha1::{Tenant, TenantStatus},
};
use tenantry_migrations::{
    logins::LoginShard,
    registry::{Connections, Placement},
};

pub use self::desired::Desired;
use self::plan::Turn;
use crate::{
    backend::postgres::{
        change::{Changes, Identity, RoleChange},
        observe::Observed,
    },
    context::Context,
    driver::{Cleanup, Kind, Lane, Pass, Progress},
    error::Error,
};

pub use status::count;

/// Whether the tenant is to tell what would change, and change nothing.
pub fn asks_for_plan(tenant: &Tenant) -> bool {
    tenant.annotations().get(PLAN_ANNOTATION).is_some_and(|value| value == "true")
}

impl Kind for Tenant {
    const NAME: &'static str = "tenant";
    const FINALIZER: Option<&'static str> = Some(TENANT_FINALIZER);
    const SCANNED: bool = true;
    type Status = TenantStatus;

    /// Direct access: passwords rotate, and what hands them out may have gone while no operator ran.
    fn is_timed(&self) -> bool {
        !self.spec.access.is_empty() || self.status.as_ref().is_some_and(|status| !status.access.is_empty())
    }

    fn status(&self) -> Option<&TenantStatus> {
        self.status.as_ref()
    }

    fn conditions(status: &TenantStatus) -> &[Condition] {
        &status.conditions
    }

    fn settle(status: &mut TenantStatus, generation: i64, conditions: Vec<Condition>) {
        status.observed_generation = Some(generation);
        status.conditions = conditions;
    }

    fn lane(ctx: &Context) -> &Lane<Self> {
        &ctx.lanes.tenants
    }

    async fn converge(&self, ctx: &Context, pass: &mut Pass<TenantStatus>) -> Result<Progress, Error> {
        converge::converge(self, ctx, pass).await
    }

    async fn preview(&self, ctx: &Context, pass: &mut Pass<TenantStatus>) -> Result<bool, Error> {
        preview::preview(self, ctx, pass).await.map(|()| true)
    }

    async fn cleanup(&self, ctx: &Context, pass: &mut Pass<TenantStatus>) -> Result<Cleanup, Error> {
        cleanup::cleanup(self, ctx, pass).await
    }
}

/// For the goldens of what the plan becomes in SQL.
#[cfg(test)]
pub fn new_tenant_changes(desired: &Desired, observed: &Observed) -> Changes {
    due(desired, observed).unwrap().changes
}

/// What the tenant should be.
///
/// # Errors
/// When its apps cannot be composed.
pub fn desired(
    object: &Tenant,
    ctx: &Context,
    tenant: &Identity,
    placement: &Placement,
) -> Result<Desired, Error> {
    converge::compose(object, ctx, tenant, placement)
}

/// What a pass over a tenant would do.
#[derive(Debug)]
pub struct Due {
    /// In Postgres, tables taken for empty.
    pub changes: Changes,
    /// There is more, as a migration or a search index with other settings than before: it comes of a new definition, or of
    /// lost rows of the registry.
    pub more: bool,
    /// The tenant's connections are not yet what they can be. That is no drift.
    pub turns: bool,
}

impl Due {
    /// Whether everything is in place.
    pub fn is_nothing(&self) -> bool {
        self.changes.is_empty() && !self.more && !self.turns
    }
}

/// What a pass over the tenant would do, if Redis and the search engine lack nothing. Pure.
///
/// # Errors
/// When something stands in the way of a plan.
pub fn due(desired: &Desired, observed: &Observed) -> Result<Due, Error> {
    let indexes = desired.searches.iter().map(|search| search.index.as_str().to_owned()).collect();
    // What would be done in steps is lacking as much as the rest: taken for empty, every table gets all at once.
    let empty_tables = observed.tables.keys().cloned().collect();
    let around = plan::Around {
        streams_in_place: true,
        absent_indexes: indexes,
        empty_tables,
        ..plan::Around::default()
    };
    // Whoever has neither role nor row is bound to a shard by its pass; there is more to do than that.
    let shard = observed.shard().unwrap_or(LoginShard::new(0));
    let plan = plan::plan(desired, observed, shard, &around)?;
    let settled = |work: &search::Work| matches!(work, search::Work::Verify(_));
    let searches_differ = !search::work(desired, &observed.searches).iter().all(settled);
    let more = !plan.steps.is_empty() || plan.drops_follow || searches_differ;
    let mut changes = plan.changes;
    let shares =
        observed.record.as_ref().is_some_and(|r| Connections::of(&r.connections) == Connections::Shared);
    if plan.turn == Turn::Share && shares {
        changes.roles.push(RoleChange::AllowTraffic(shard));
    }
    Ok(Due { changes, more, turns: plan.turn != Turn::Stay })
}

/// Whose names and uid the object stands for.
///
/// # Errors
/// When they cannot be ours.
pub fn identity(tenant: &Tenant) -> Result<Identity, Error> {
    let name = TenantName::new(&tenant.name_any())?;
    let uid = tenant.meta().uid.as_deref().unwrap_or_default();
    let uid = uid.parse().map_err(Error::data("reading metadata.uid"))?;
    Ok(Identity::new(name, uid))
}
