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
    search::Indexes,
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
    indexes: Indexes,
}

/// How a round went.
#[derive(Debug, Default)]
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
        Self { ctx, repairs, memory: Memory::new(), indexes: Indexes::default() }
    }

    /// Looks at all tenants at rest, spread over about `spread`.
    pub async fn round(&mut self, spread: Duration) -> Outcome {
        let ctx = self.ctx.clone();
        let definitions = Definitions::of(&ctx.stores);
        let mut tenants = ctx.stores.tenants.state();
        tenants.sort_by_key(|tenant| tenant.name_any());
        self.memory.retain(|name, _| tenants.binary_search_by_key(name, |tenant| tenant.name_any()).is_ok());
        let candidates: Vec<Candidate> =
            tenants.into_iter().filter_map(|tenant| Candidate::of(tenant, &ctx)).collect();
        let searched = self.look_at_indexes().await;
        let mut outcome = Outcome { complete: searched, looked_at: candidates.len(), woken: 0 };
        let batches: Vec<&[Candidate]> = candidates.chunks(BATCH).collect();
        let pause = spread.checked_div(u32::try_from(batches.len()).unwrap_or(u32::MAX)).unwrap_or_default();
        for some in batches.chunks(BATCHES_PER_CONNECTION) {
            let Ok(mut database) = told("connecting to Postgres", connect(&ctx).await) else {
                return Outcome { complete: false, ..outcome };
            };
            for batch in some {
                if ctx.leadership.check().is_err() {
                    return Outcome { complete: false, ..outcome };
                }
                let began = Instant::now();
                match self.look_at(&mut database, batch, definitions, searched).await {
                    Ok((complete, woken)) => {
                        outcome.complete &= complete;
                        outcome.woken += woken;
                    }
                    Err(_told) => return Outcome { complete: false, ..outcome },
                }
                tokio::time::sleep(pause.saturating_sub(began.elapsed())).await;
                self.repairs.fewer_than(REPAIRS_AT_ONCE).await;
            }
            let _closed = sqlx::Connection::close(database).await;
        }
        outcome
    }

    /// Whether every backend answered, and how many were woken.
    async fn look_at(
        &mut self,
        database: &mut PgConnection,
        batch: &[Candidate],
        definitions: Definitions,
        searched: bool,
    ) -> Result<(bool, usize), Error> {
        let ctx = &self.ctx;
        let seen = batch::postgres(ctx, database, batch, definitions, &mut self.memory).await;
        let mut verdicts = told("looking at Postgres", seen)?;
        let streams = told("looking at Redis", batch::redis(ctx, batch, &self.memory).await);
        let mut complete = streams.is_ok();
        for (at, finding) in streams.unwrap_or_default() {
            verdicts[at].add(finding);
        }
        if searched {
            for (candidate, verdict) in batch.iter().zip(&mut verdicts) {
                let Some(known) = self.memory.get(&candidate.tenant.name_any()) else { continue };
                for wanted in &known.indexes {
                    let found = self.indexes.check(&ctx.backends, wanted, candidate.passes).await;
                    match told("looking at a search index", found) {
                        Ok(Some(finding)) => verdict.add(finding),
                        Ok(None) => {}
                        Err(_told) => complete = false,
                    }
                }
            }
        }
        let mut woken = 0;
        for (candidate, verdict) in batch.iter().zip(verdicts) {
            if verdict != Verdict::InPlace && candidate.still_rests(ctx) {
                woken += 1;
                self.repairs.found(ctx, candidate, verdict);
            }
        }
        Ok((complete, woken))
    }

    async fn look_at_indexes(&mut self) -> bool {
        match self.ctx.backends.search() {
            Ok(engine) => told("looking at the search engine", self.indexes.look(engine).await).is_ok(),
            // Tenants that want an index wait for an engine, and are not at rest.
            Err(_not_configured) => true,
        }
    }
}

/// A session of its own, which ends with its round.
async fn connect(ctx: &Context) -> Result<PgConnection, Error> {
    let connection = ctx.database.acquire().await.map_err(Error::database("looking for drift"))?;
    Ok(connection.detach())
}

/// A backend that does not answer is no drift; the next round looks again.
fn told<T>(doing: &'static str, outcome: Result<T, Error>) -> Result<T, Error> {
    outcome.inspect_err(|error| {
        tracing::warn!(
            error = error as &(dyn std::error::Error + 'static),
            "drift is not looked for: {doing}"
        );
    })
}
