//! One look at all tenants at rest.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

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
const BATCHES_PER_CONNECTION: usize = 20;
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
        for cell in candidates.chunk_by(|a, b| a.placed.cell.name() == b.placed.cell.name()) {
            for some in cell.chunks(BATCH * BATCHES_PER_CONNECTION) {
                self.look_at(&ctx, some, definitions, pause, &mut outcome).await;
            }
        }
        outcome
    }

    /// Looks at tenants of one Postgres instance over one connection.
    async fn look_at(
        &mut self,
        ctx: &Context,
        some: &[Candidate<'_>],
        definitions: Definitions,
        pause: Duration,
        outcome: &mut Outcome,
    ) {
        let Some(mut database) = told("Postgres", connect(some).await) else {
            outcome.complete = false;
            return;
        };
        for batch in some.chunks(BATCH) {
            let began = Instant::now();
            if ctx.leadership.check().is_err() {
                outcome.complete = false;
                return;
            }
            let seen = batch::postgres(ctx, &mut database, batch, definitions, &mut self.memory).await;
            let Some(mut verdicts) = told("Postgres", seen) else {
                outcome.complete = false;
                return;
            };
            let streams = batch::redis(batch, &self.memory, &mut verdicts).await;
            outcome.complete &= told("Redis", streams).is_some();
            let indexes = batch::search(batch, &self.memory, &mut verdicts).await;
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
