//! One look at all tenants at rest.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use kube::ResourceExt;
use sqlx::PgConnection;

use super::{
    batch::{self, Candidate, Verdict},
    memory::{Definitions, Memory},
    repairs::Repairs,
};
use crate::{context::Context, error::Error};

/// Tenants looked at with one query.
const BATCH: usize = 100;
/// Batches looked at over one connection: Postgres keeps what a session looked up for as long as the session lasts.
const BATCHES_PER_CONNECTION: usize = 10;
/// Connections of a look that is not spread: all that a new leader waits for is the time that the catalog queries take.
const CONNECTIONS: usize = 3;
/// Tenants that are being repaired at the same time: new ones do not wait behind a fleet that was restored from a backup.
const REPAIRS_AT_ONCE: usize = 50;

/// What rounds remember.
pub struct Rounds {
    ctx: Arc<Context>,
    repairs: Arc<Repairs>,
    memory: Memory,
}

/// How a round went.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outcome {
    /// Every backend answered.
    pub complete: bool,
    /// Tenants looked at.
    pub looked_at: usize,
    /// Tenants that get a pass because of it.
    pub woken: usize,
}

impl Rounds {
    /// The first round is yet to come.
    pub fn new(ctx: Arc<Context>, repairs: Arc<Repairs>) -> Self {
        Self { ctx, repairs, memory: Memory::new() }
    }

    /// Looks at all tenants at rest, spread over about `spread`.
    pub async fn round(&mut self, spread: Duration) -> Outcome {
        let ctx = self.ctx.clone();
        let definitions = Definitions::of(&ctx.stores);
        let mut tenants = ctx.stores.tenants.state();
        tenants.sort_by_cached_key(|tenant| tenant.name_any());
        let gone = |name: &str| tenants.binary_search_by(|tenant| (*tenant.name_any()).cmp(name)).is_err();
        self.memory.retain(|name, _| !gone(name));
        let mut candidates: Vec<Candidate<'_>> =
            tenants.into_iter().filter_map(|tenant| Candidate::of(tenant, &ctx)).collect();
        candidates.sort_by_key(|candidate| candidate.placed.cell.name());
        let mut outcome = Outcome { complete: true, looked_at: candidates.len(), woken: 0 };
        for search in ctx.backends.searches() {
            outcome.complete &=
                told("the search engine", search.indexes.look(&search.engine).await).is_some();
        }
        let batches = u32::try_from(candidates.len().div_ceil(BATCH)).unwrap_or(u32::MAX);
        let pause = spread.checked_div(batches).unwrap_or_default();
        let connections = if spread.is_zero() { CONNECTIONS } else { 1 };
        let parts: Vec<_> = candidates
            .chunk_by(|a, b| a.placed.cell.name() == b.placed.cell.name())
            .flat_map(|cell| cell.chunks(BATCH * BATCHES_PER_CONNECTION))
            .map(|some| (some, self.remembered(some)))
            .collect();
        let mut looks = Vec::with_capacity(parts.len());
        for (some, known) in parts {
            looks.push(self.look_at(some, known, definitions, pause));
        }
        let looks: Vec<(Memory, Outcome)> = stream::iter(looks).buffer_unordered(connections).collect().await;
        for (memory, part) in looks {
            self.memory.extend(memory);
            outcome.complete &= part.complete;
            outcome.woken += part.woken;
        }
        outcome
    }

    /// What is remembered of these tenants.
    fn remembered(&mut self, some: &[Candidate<'_>]) -> Memory {
        some.iter().filter_map(|candidate| self.memory.remove_entry(&candidate.tenant.name_any())).collect()
    }

    /// Looks at tenants of one Postgres instance over one connection; what is known of them then.
    async fn look_at(
        &self,
        some: &[Candidate<'_>],
        mut memory: Memory,
        definitions: Definitions,
        pause: Duration,
    ) -> (Memory, Outcome) {
        let ctx = &self.ctx;
        let mut outcome = Outcome { complete: true, looked_at: some.len(), woken: 0 };
        let Some(mut database) = told("Postgres", connect(some).await) else {
            return (memory, Outcome { complete: false, ..outcome });
        };
        for batch in some.chunks(BATCH) {
            let began = Instant::now();
            if ctx.leadership.check().is_err() {
                return (memory, Outcome { complete: false, ..outcome });
            }
            let seen = batch::postgres(ctx, &mut database, batch, definitions, &mut memory).await;
            let Some(mut verdicts) = told("Postgres", seen) else {
                return (memory, Outcome { complete: false, ..outcome });
            };
            let streams = batch::redis(batch, &memory, &mut verdicts).await;
            outcome.complete &= told("Redis", streams).is_some();
            let indexes = batch::search(batch, &memory, &mut verdicts).await;
            outcome.complete &= told("the search engine", indexes).is_some();
            for (candidate, verdict) in batch.iter().zip(verdicts) {
                if verdict != Verdict::InPlace && candidate.still_rests(ctx) {
                    outcome.woken += 1;
                    self.repairs.found(ctx, candidate, verdict);
                }
            }
            tokio::time::sleep(pause.saturating_sub(began.elapsed())).await;
            self.repairs.fewer_than(REPAIRS_AT_ONCE).await;
        }
        let _closed = sqlx::Connection::close(database).await;
        (memory, outcome)
    }
}

/// A session of its own.
async fn connect(some: &[Candidate<'_>]) -> Result<PgConnection, Error> {
    let doing = "looking for drift";
    let Some(first) = some.first() else { return Err(Error::database(doing)(sqlx::Error::RowNotFound)) };
    let connection = first.placed.cell.database().acquire().await.map_err(Error::database(doing))?;
    Ok(connection.detach())
}

/// A backend that does not answer is no drift; the next round looks again.
fn told<T>(backend: &str, outcome: Result<T, Error>) -> Option<T> {
    let said = |error: &Error| {
        tracing::warn!(
            error = error as &(dyn std::error::Error + 'static),
            "drift is not looked for in {backend}"
        );
    };
    outcome.inspect_err(said).ok()
}
