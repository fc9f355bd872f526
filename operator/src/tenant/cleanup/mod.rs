//! The end of a tenant, by its deletion policy.
//!
//! First the tenant stops being served, then its data goes (or is exported before, or marked as kept), then what can be derived
//! from it, and last the rows of the registry: they are the ledger of what is left to do, so a crash at any point leaves nothing
//! that the next pass does not find. Nothing goes that does not bear this very object's uid.
//!
//! - [`plan`]: what goes, and in which order
//! - [`export`]: the snapshot that must be there first
//! - [`streams`]: the keys of the queues
//! - [`release`], [`orphan`]: a backend that is gone for good

mod export;
mod orphan;
mod plan;
mod release;
mod streams;
#[cfg(test)]
mod tests;

use std::time::Duration;

use kube::{Api, Resource, ResourceExt};
use tenantry_crds::{
    conditions::ConditionType,
    reason::Reason,
    v1alpha1::{DeletionPolicy, Tenant, TenantStatus},
};
use tenantry_migrations::logins::LoginShard;

use self::{
    orphan::Orphans,
    plan::{CleanupPlan, Policy},
    release::{Backend, Release, stuck},
};
use super::{
    converge, identity,
    search::{self, Work},
};
use crate::{
    access,
    backend::{
        Placed,
        postgres::{
            change::{Changes, Identity, SearchKey},
            observe::{Observed, observe},
        },
    },
    context::Context,
    driver::{Cleanup, Pass},
    error::Error,
    killpoint::killpoint,
    placement,
};

/// The end of a search task, or of an export, wakes the tenant, so this only bounds what a lost wake costs.
const RECHECK: Duration = Duration::from_secs(10);

/// One pass over a Tenant that is being deleted.
pub async fn cleanup(
    object: &Tenant,
    ctx: &Context,
    pass: &mut Pass<TenantStatus>,
) -> Result<Cleanup, Error> {
    let tenant = identity(object)?;
    let Some(live) = confirmed(object, ctx).await? else { return Ok(Cleanup::Done) };
    refuse_protected(&live)?;
    if ctx.snapshots.give_up_restore(tenant.uid) {
        return Ok(waiting(Reason::Deleting, "the restore of the tenant is being stopped".to_owned()));
    }
    let release = Release::of(&live)?;
    let placed = placement::resident(&live, ctx);
    let Some(placed) = &placed.map_err(|e| pass.fails(ConditionType::DatabaseReady, e))? else {
        // It was never placed, so nothing was made for it.
        return Ok(Cleanup::Done);
    };
    ctx.evolutions.cancel(&tenant.name);
    let deletion = Deletion { ctx, placed, live: &live, tenant: &tenant, release: &release };
    match deletion.carry_out(pass).await {
        Err(Failure { backend: Some(Backend::Postgres), error })
            if release.covers(Backend::Postgres, &error) =>
        {
            deletion.without_postgres(pass, &error).await
        }
        Err(Failure { error, .. }) => Err(error),
        Ok(end) => Ok(end),
    }
}

/// The deletion of one Tenant.
#[derive(Clone, Copy)]
struct Deletion<'a> {
    ctx: &'a Context,
    placed: &'a Placed<'a>,
    live: &'a Tenant,
    tenant: &'a Identity,
    release: &'a Release,
}

/// What went wrong, and where.
struct Failure {
    backend: Option<Backend>,
    error: Error,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { backend: None, error }
    }
}

impl Deletion<'_> {
    async fn carry_out(self, pass: &mut Pass<TenantStatus>) -> Result<Cleanup, Failure> {
        let policy = match self.live.spec.deletion_policy {
            DeletionPolicy::Retain => Policy::Retain,
            DeletionPolicy::Snapshot => Policy::Snapshot,
            DeletionPolicy::Delete => Policy::Delete,
        };
        self.access(pass).await?;
        let (mut observed, mut plan) = self.data(pass, policy).await?;
        if plan.export {
            if let Some(running) = export::step(self, &observed, pass).await? {
                return Ok(running);
            }
            (observed, plan) = self.data(pass, policy).await?;
        }
        let mut orphans = Orphans::new(self.release);
        let shard = observed.shard();
        // One that is down holds up no other.
        let streams = async {
            if policy == Policy::Retain || !plan.owns_name { Ok(()) } else { self.streams(&observed).await }
        };
        let (streams, searches) = tokio::join!(streams, self.searches(&plan, shard));
        let streams = streams.or_else(|error| {
            let keys = streams::keys(self, &observed.streams).unwrap_or_default();
            let keys = keys.iter().map(|key| key.as_str().to_owned()).collect();
            orphans.leave(Backend::Redis, "keys", keys, error).map(drop)
        });
        let streams = streams.map_err(|e| pass.fails(ConditionType::StreamsReady, e));
        let searches = searches.or_else(|error| {
            let indexes = plan.searches.iter().map(|search| search.index.clone()).collect();
            orphans.leave(Backend::Search, "indexes", indexes, error).map(|_| Vec::new())
        });
        let pending = searches.map_err(|e| pass.fails(ConditionType::SearchReady, e))?;
        streams?;
        if !pending.is_empty() {
            let message = format!("the search engine is still removing {}", pending.join(", "));
            return Ok(waiting(Reason::Deleting, message));
        }
        let mut last = plan.last.clone();
        last.rows.splice(0..0, orphans.rows(&plan.searches));
        killpoint!("cleanup.last", self.apply(shard, &last).await)
            .map_err(|e| self.database_failed(pass, e))?;
        self.forget(policy, &plan, &observed).await;
        orphans.tell(self);
        tracing::info!(tenant = %self.tenant.name, ?policy, "cleaned up");
        Ok(Cleanup::Done)
    }

    /// Takes direct access back before the data changes, under every policy: nobody sees half of it.
    async fn access(self, pass: &mut Pass<TenantStatus>) -> Result<(), Failure> {
        let cell = self.placed.cell;
        let observed =
            observe(cell.database(), self.tenant, &[]).await.map_err(|error| error.at(cell.name()));
        let observed = observed.map_err(|e| self.database_failed(pass, e))?;
        let mut orphans = Orphans::new(self.release);
        let mut leave = |backend, names, error| orphans.leave_access(backend, names, error);
        let removed = access::remove_all(self.ctx, self.placed, self.tenant, &observed, &mut leave).await;
        orphans.tell(self);
        removed.map_err(|e| pass.fails(ConditionType::AccessReady, e).into())
    }

    /// Carries out what the plan has for the data.
    async fn data(
        self,
        pass: &mut Pass<TenantStatus>,
        policy: Policy,
    ) -> Result<(Observed, CleanupPlan), Failure> {
        let done = async {
            let cell = self.placed.cell;
            let observed =
                observe(cell.database(), self.tenant, &[]).await.map_err(|error| error.at(cell.name()))?;
            let plan = plan::plan(self.tenant, policy, &observed);
            if plan.export {
                // Nothing changes while there is nowhere to export to.
                self.ctx.snapshots.store()?;
            }
            let shard = observed.shard();
            for changes in &plan.data {
                self.apply(shard, changes).await?;
            }
            if let (true, Some(shard)) = (plan.export, shard) {
                // A write that was under way belongs into the snapshot.
                cell.traffic_has_ended(shard, self.tenant).await?;
            }
            if let (true, Some(shard)) = (plan.purge, shard) {
                self.placed.cell.purge_journals(shard, self.tenant).await?;
            }
            Ok((observed, plan))
        };
        done.await.map_err(|e| self.database_failed(pass, e))
    }

    /// The leader does not count the tenant, or at least its hosts, any more.
    async fn forget(self, policy: Policy, plan: &CleanupPlan, observed: &Observed) {
        let (ctx, tenant, cell) = (self.ctx, self.tenant, self.placed.cell);
        cell.released(tenant.uid, observed.shard().filter(|_| plan.frees_roles)).await;
        match &observed.record {
            Some(record) if policy == Policy::Retain || record.uid != tenant.uid => {
                ctx.directory.release_hosts(tenant.name.as_str(), cell.name(), &record.hosts);
            }
            _ => ctx.left(tenant.name.as_str(), cell.name()),
        }
    }

    async fn apply(self, shard: Option<LoginShard>, changes: &Changes) -> Result<(), Error> {
        let (false, Some(_)) = (changes.is_empty(), shard) else { return Ok(()) };
        let cell = self.placed.cell;
        let shard = cell.shard_of(self.tenant.uid, shard).await?;
        cell.apply(shard, self.tenant, changes).await
    }

    fn database_failed(self, pass: &mut Pass<TenantStatus>, error: Error) -> Failure {
        let left = format!("schema {} with its roles and registry rows", self.tenant.schema);
        let error = pass.fails(ConditionType::DatabaseReady, stuck(Backend::Postgres, left, error));
        Failure { backend: Some(Backend::Postgres), error }
    }

    async fn streams(self, observed: &Observed) -> Result<(), Error> {
        let keys = streams::keys(self, &observed.streams)?;
        self.ctx.leadership.check()?;
        self.placed.redis.remove(&keys).await
    }

    /// Asks for the end of the indexes; those that are not gone yet.
    async fn searches(self, plan: &CleanupPlan, shard: Option<LoginShard>) -> Result<Vec<String>, Error> {
        let work = plan.searches.iter().cloned().map(Work::Remove).collect();
        let outcome = search::advance(self.ctx, self.placed, self.tenant.name.as_str(), work, &[]).await;
        self.apply(shard, &Changes { rows: outcome.rows, ..Changes::default() }).await?;
        outcome.failure.map_or(Ok(outcome.pending), Err)
    }

    /// The end of a tenant whose Postgres is gone, and with it the ledger: what its manifest says is removed where it answers.
    async fn without_postgres(self, pass: &mut Pass<TenantStatus>, error: &Error) -> Result<Cleanup, Error> {
        let mut orphans = Orphans::new(self.release);
        let tenant = self.tenant;
        let mut kept = vec![
            format!("schema {}", tenant.schema),
            format!("role {}", tenant.role),
            format!("role {}", tenant.owner),
            format!("registry row {}", tenant.name),
        ];
        let specs = &self.live.spec.access;
        let mut leave = |backend, names, error| orphans.leave_access(backend, names, error);
        let logins = access::remove_unrecorded(self.ctx, self.placed, tenant, specs, &mut leave).await;
        kept.extend(logins.map_err(|e| pass.fails(ConditionType::AccessReady, e))?);
        orphans.left(Backend::Postgres, "objects", kept, error);
        let desired = converge::compose(self.live, self.ctx, tenant, &self.placed.placement).ok();
        let indexes: Vec<SearchKey> =
            desired.iter().flat_map(|desired| &desired.searches).map(SearchKey::from).collect();
        let streams = async {
            match self.live.spec.deletion_policy {
                DeletionPolicy::Retain => Ok(()),
                DeletionPolicy::Snapshot | DeletionPolicy::Delete => self.streams(&Observed::default()).await,
            }
        };
        let (streams, searches) = tokio::join!(streams, self.made_by_us(&indexes));
        let keys = || streams::keys(self, &[]).unwrap_or_default();
        streams
            .or_else(|error| {
                let keys = keys().iter().map(|key| key.as_str().to_owned()).collect();
                orphans.leave(Backend::Redis, "keys", keys, error).map(drop)
            })
            .map_err(|e| pass.fails(ConditionType::StreamsReady, e))?;
        let pending = searches
            .or_else(|error| {
                let names = indexes.iter().map(|search| search.index.clone()).collect();
                orphans.leave(Backend::Search, "indexes", names, error).map(|_| Vec::new())
            })
            .map_err(|e| pass.fails(ConditionType::SearchReady, e))?;
        if !pending.is_empty() {
            let message = format!("the search engine is still removing {}", pending.join(", "));
            return Ok(waiting(Reason::Deleting, message));
        }
        self.ctx.left(tenant.name.as_str(), self.placed.cell.name());
        orphans.tell(self);
        Ok(Cleanup::Done)
    }

    /// Asks for the end of those indexes that have the shape of ours: without the registry nothing else tells.
    async fn made_by_us(self, indexes: &[SearchKey]) -> Result<Vec<String>, Error> {
        let mut work = Vec::new();
        for index in indexes {
            if self.placed.search()?.engine.has_our_key(&index.index).await? {
                work.push(Work::Remove(index.clone()));
            }
        }
        let outcome = search::advance(self.ctx, self.placed, self.tenant.name.as_str(), work, &[]).await;
        outcome.failure.map_or(Ok(outcome.pending), Err)
    }
}

/// The API server refuses the deletion where the chart's policy is installed; this is for where it is not.
fn refuse_protected(live: &Tenant) -> Result<(), Error> {
    if !live.spec.deletion_protection {
        return Ok(());
    }
    Err(Error::blocked(
        Reason::DeletionProtected,
        "spec.deletionProtection is true: the Tenant was deleted, and everything of it is kept as it is until the field is \
         false; then the deletion goes on",
    ))
}

/// The object as it is now, read past the cache; nothing when it is gone or another one bears its name by now.
async fn confirmed(object: &Tenant, ctx: &Context) -> Result<Option<Tenant>, Error> {
    let live = Api::<Tenant>::all(ctx.client.clone())
        .get_opt(&object.name_any())
        .await
        .map_err(Error::kube("reading the Tenant before its cleanup"))?;
    Ok(live.filter(|live| live.meta().uid == object.meta().uid && live.meta().deletion_timestamp.is_some()))
}

fn waiting(reason: Reason, message: String) -> Cleanup {
    Cleanup::Waiting { reason, message, after: RECHECK }
}
