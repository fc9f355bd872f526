//! A look at some tenants of one Postgres instance: one catalog query, a pipelined look at their streams, and what is known of
//! their search indexes.

use std::{sync::Arc, time::Instant};

use kube::{ResourceExt, runtime::reflector::ObjectRef};
use sqlx::PgConnection;
use tenantry_crds::v1alpha1::Tenant;

use super::{
    finding::{self, Finding},
    memory::{Definitions, InPlace, Memory, Wanted},
};
use crate::{
    backend::{
        Placed,
        postgres::{
            change::Identity,
            observe::{self, Asked, Sight},
        },
    },
    context::Context,
    driver::{Kind, stands},
    error::Error,
    placement, tenant,
};

/// A tenant at rest.
pub struct Candidate<'a> {
    /// As it was when the round began.
    pub tenant: Arc<Tenant>,
    /// The passes that it had by then.
    pub passes: u64,
    /// Where its data is.
    pub placed: Placed<'a>,
}

impl<'a> Candidate<'a> {
    /// `tenant`, if it is at rest and says that everything is in place.
    pub fn of(tenant: Arc<Tenant>, ctx: &'a Context) -> Option<Self> {
        let passes = ctx.lanes.tenants.at_rest(&*tenant, Tenant::FINALIZER, Instant::now())?;
        if !stands(&*tenant) {
            return None;
        }
        let placed = placement::resident(&tenant, ctx).ok()??;
        Some(Self { tenant, passes, placed })
    }

    /// Whether nothing was done to it or asked of it since: then what was found is so, and not the middle of a change.
    pub fn still_rests(&self, ctx: &Context) -> bool {
        let now = ctx.stores.tenants.get(&ObjectRef::from_obj(&*self.tenant));
        now.and_then(|tenant| Candidate::of(tenant, ctx)).is_some_and(|now| now.passes == self.passes)
    }
}

/// What a look at a tenant says.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything is in place, as far as this look goes.
    InPlace,
    /// Its definition changed while nobody looked: that asks for a pass, and is no drift.
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
    batch: &[Candidate<'_>],
    definitions: Definitions,
    memory: &mut Memory,
) -> Result<Vec<Verdict>, Error> {
    let identities: Vec<Identity> =
        batch.iter().map(|candidate| tenant::identity(&candidate.tenant)).collect::<Result<_, _>>()?;
    let wanted: Vec<Wanted> = batch.iter().map(|c| Wanted::of(&c.tenant, definitions)).collect();
    let known = |candidate: &Candidate<'_>, wanted: Wanted| {
        let known = memory.get(&candidate.tenant.name_any()).filter(|known| known.wanted == wanted);
        known.map(|known| known.digest)
    };
    let asked: Vec<Asked<'_>> = (identities.iter().zip(batch).zip(&wanted))
        .map(|((tenant, candidate), wanted)| Asked {
            tenant,
            hosts: &candidate.tenant.spec.hosts,
            known: known(candidate, *wanted),
        })
        .collect();
    let sights = observe::observe_many(database, &asked).await?;
    let all = batch.iter().zip(&identities).zip(wanted).zip(sights);
    let verdicts = all.map(|(((candidate, identity), wanted), sight)| {
        judge(ctx, candidate, identity, wanted, sight, memory)
    });
    Ok(verdicts.collect())
}

fn judge(
    ctx: &Context,
    Candidate { tenant, placed, .. }: &Candidate<'_>,
    identity: &Identity,
    wanted: Wanted,
    sight: Sight,
    memory: &mut Memory,
) -> Verdict {
    let Some(observed) = sight.observed else { return Verdict::InPlace };
    let was_in_place = memory.get(&tenant.name_any()).is_some_and(|known| known.wanted == wanted);
    // What stands in the way of a plan is for a pass to say.
    let Ok(desired) = tenant::desired(tenant, ctx, identity, &placed.placement) else {
        return Verdict::Behind;
    };
    let Ok(due) = tenant::due(&desired, &observed) else { return Verdict::Behind };
    if due.is_nothing() {
        memory.insert(tenant.name_any(), InPlace::new(wanted, sight.digest, &desired));
        return Verdict::InPlace;
    }
    // Where rows differ, the definition may have changed while no operator ran; unless it is what was in place before.
    let rows_differ = !due.changes.rows.is_empty() || due.more;
    if rows_differ && observed.record.is_some() && !was_in_place {
        return Verdict::Behind;
    }
    Verdict::Drifted(finding::of(&due))
}

/// Looks at the streams of those that are known to be in place in Postgres.
///
/// # Errors
/// When a Redis does not answer.
pub async fn redis(batch: &[Candidate<'_>], memory: &Memory, verdicts: &mut [Verdict]) -> Result<(), Error> {
    let mut left: Vec<usize> = (0..batch.len()).collect();
    while let Some(first) = left.first() {
        let redis = batch[*first].placed.redis;
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|at| std::ptr::eq(batch[*at].placed.redis, redis));
        left = elsewhere;
        let keys: Vec<(usize, &str)> = here
            .into_iter()
            .filter_map(|at| Some((at, memory.get(&batch[at].tenant.name_any())?)))
            .flat_map(|(at, known)| known.streams.iter().map(move |key| (at, &**key)))
            .collect();
        let lacking = redis.lacking(&keys.iter().map(|(_, key)| *key).collect::<Vec<_>>()).await?;
        for ((at, key), lacking) in keys.iter().zip(lacking) {
            if let Some(lacking) = lacking {
                verdicts[*at].add(Finding::of_stream(key, lacking));
            }
        }
    }
    Ok(())
}

/// Looks at the search indexes of those that are known to be in place in Postgres.
///
/// # Errors
/// When an engine does not answer.
pub async fn search(batch: &[Candidate<'_>], memory: &Memory, verdicts: &mut [Verdict]) -> Result<(), Error> {
    for (candidate, verdict) in batch.iter().zip(verdicts) {
        let indexes =
            memory.get(&candidate.tenant.name_any()).map(|known| &*known.indexes).unwrap_or_default();
        for wanted in indexes {
            let search = candidate.placed.search()?;
            let fault = search.indexes.check(&search.engine, wanted, candidate.passes).await?;
            if let Some(fault) = fault {
                verdict.add(Finding::of_index(&wanted.uid, fault));
            }
        }
    }
    Ok(())
}
