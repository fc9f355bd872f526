//! A look at some tenants: one catalog query and one pipelined look at their streams.

use std::{sync::Arc, time::Instant};

use kube::ResourceExt;
use sqlx::PgConnection;
use tenantry_crds::v1alpha1::Tenant;

use super::{
    finding::{self, Finding},
    memory::{Definitions, InPlace, Memory, Wanted},
};
use crate::{
    backend::postgres::{
        change::Identity,
        observe::{self, Asked, Sight},
    },
    context::Context,
    driver::{Kind, stands},
    error::Error,
    tenant,
};

/// A tenant at rest.
pub struct Candidate {
    /// As it was when the round began.
    pub tenant: Arc<Tenant>,
    /// The passes that it had by then.
    pub passes: u64,
}

impl Candidate {
    /// `tenant`, if it is at rest and says that everything is in place.
    pub fn of(tenant: Arc<Tenant>, ctx: &Context) -> Option<Self> {
        let passes = ctx.lanes.tenants.at_rest(&*tenant, Tenant::FINALIZER, Instant::now())?;
        stands(&*tenant).then_some(Self { tenant, passes })
    }

    /// Whether nothing was done to it or asked of it since.
    pub fn still_rests(&self, ctx: &Context) -> bool {
        let now = ctx.stores.tenants.get(&kube::runtime::reflector::ObjectRef::from_obj(&*self.tenant));
        now.and_then(|tenant| Self::of(tenant, ctx)).is_some_and(|now| now.passes == self.passes)
    }
}

/// What a look at a tenant says.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As far as this look goes.
    InPlace,
    /// Its definition changed while nobody looked: a pass, and no drift.
    Behind,
    /// Drift.
    Drifted(Vec<Finding>),
}

impl Verdict {
    /// Adds what another backend lacks. A tenant that is behind gets its pass in any case.
    pub fn add(&mut self, finding: Finding) {
        match self {
            Self::InPlace => *self = Self::Drifted(vec![finding]),
            Self::Drifted(findings) => findings.push(finding),
            Self::Behind => {}
        }
    }
}

/// Looks at Postgres; `memory` has whoever is in place afterwards.
///
/// # Errors
/// When Postgres does not answer.
pub async fn postgres(
    ctx: &Context,
    database: &mut PgConnection,
    batch: &[Candidate],
    definitions: Definitions,
    memory: &mut Memory,
) -> Result<Vec<Verdict>, Error> {
    let identities: Vec<Identity> =
        batch.iter().map(|candidate| tenant::identity(&candidate.tenant)).collect::<Result<_, _>>()?;
    let wanted: Vec<Wanted> = batch.iter().map(|c| Wanted::of(&c.tenant, definitions)).collect();
    let asked: Vec<Asked<'_>> = (identities.iter().zip(batch).zip(&wanted))
        .map(|((identity, candidate), wanted)| Asked {
            tenant: identity,
            hosts: &candidate.tenant.spec.hosts,
            known: memory
                .get(&candidate.tenant.name_any())
                .filter(|known| known.wanted == *wanted)
                .map(|known| known.digest),
        })
        .collect();
    let sights = observe::observe_many(database, &asked).await?;
    let all = batch.iter().zip(&identities).zip(wanted).zip(sights);
    Ok(all
        .map(|(((candidate, identity), wanted), sight)| {
            judge(ctx, candidate, identity, wanted, sight, memory)
        })
        .collect())
}

fn judge(
    ctx: &Context,
    candidate: &Candidate,
    identity: &Identity,
    wanted: Wanted,
    sight: Sight,
    memory: &mut Memory,
) -> Verdict {
    let name = candidate.tenant.name_any();
    let Some(observed) = sight.observed else { return Verdict::InPlace };
    let same = memory.get(&name).is_some_and(|known| known.wanted == wanted);
    let Ok(desired) = tenant::desired(&candidate.tenant, ctx, identity) else { return Verdict::Behind };
    // What stands in the way of a plan is for a pass to say.
    let Ok(changes) = tenant::due(&desired, &observed) else { return Verdict::Behind };
    if changes.is_empty() {
        memory.insert(name, InPlace::new(wanted, sight.digest, &desired));
        return Verdict::InPlace;
    }
    // Where rows differ, the definition may have changed while no operator ran; unless it is what was in place before.
    let lost = changes.rows.is_empty() || observed.record.is_none() || same;
    if lost { Verdict::Drifted(finding::of_changes(&changes)) } else { Verdict::Behind }
}

/// Looks at the streams of those that are in place in Postgres.
///
/// # Errors
/// When Redis does not answer.
pub async fn redis(
    ctx: &Context,
    batch: &[Candidate],
    memory: &Memory,
) -> Result<Vec<(usize, Finding)>, Error> {
    let keys: Vec<(usize, &str)> = batch
        .iter()
        .enumerate()
        .filter_map(|(at, candidate)| Some((at, memory.get(&candidate.tenant.name_any())?)))
        .flat_map(|(at, known)| known.streams.iter().map(move |key| (at, &**key)))
        .collect();
    let lacking = ctx.backends.redis.lacking(&keys.iter().map(|(_, key)| *key).collect::<Vec<_>>()).await?;
    let found = keys.iter().zip(lacking);
    Ok(found.filter_map(|((at, key), lacking)| Some((*at, Finding::of_stream(key, lacking?)))).collect())
}
