//! The role `work`: brings documents from the outbox into the search indexes.
//!
//! The engine does not compare versions: who writes last, wins. So one worker at a time writes (`leader`), each index takes its
//! events in order, and events are removed only when the engine's task has succeeded.
//!
//! - [`leader`]: the session that may work, and what it does in a turn
//! - [`outbox`]: the events in Postgres
//! - [`plan`]: what a batch of events means for each index. Pure
//! - [`index`]: carries that out
//! - [`backfill`]: documents that were there before their index
//! - [`hold`]: indexes that have to wait
//! - [`metrics`]: what happened to events

mod backfill;
mod hold;
mod index;
mod leader;
mod metrics;
mod outbox;
mod plan;

use std::sync::Arc;

use prometheus::Registry as Metrics;
use tenantry_config::{
    probes::{self, Readiness},
    settings,
};
use tokio_util::sync::CancellationToken;

use crate::{
    data::CursorKey,
    database,
    postgres::{TenantDatabase, Tuning},
    registry::{DATABASE_PART, Follower, REGISTRY_PART, Registry},
    search::Meilisearch,
    start::StartError,
};
use leader::Worker;
use metrics::WorkMetrics;

/// Works until `shutdown`.
///
/// # Errors
/// When the settings cannot be used or the probes' address cannot be listened on.
pub async fn work(settings: settings::ControlPlane, shutdown: CancellationToken) -> Result<(), StartError> {
    let metrics = Metrics::new();
    let readiness = Readiness::of(&[REGISTRY_PART, DATABASE_PART]);
    let key = database::traffic_key(&settings.database)?;
    let pool = database::pool(&settings.database, &key)?;
    let registry = Registry::default();
    let engine = settings.search.as_ref().map(Meilisearch::new).transpose()?;
    if engine.is_none() {
        tracing::warn!("search.url is not set: events of indexed documents wait");
    }
    let tuning = Tuning { connections_per_shard: 1, ..Tuning::default() };
    let worker = Worker {
        registry: registry.clone(),
        connect: database::options(&settings.database, &key)?,
        database: Arc::new(TenantDatabase::new(database::address(&settings.database)?, key, tuning)),
        cursors: CursorKey::derive(&settings.database.traffic_key),
        engine,
        settings: settings.worker,
        metrics: WorkMetrics::register(&metrics)?,
    };
    let follower = Follower::new(registry, pool, readiness.clone());
    let probes = async {
        let ended = probes::serve(settings.metrics.listen, readiness, metrics, shutdown.clone()).await;
        shutdown.cancel();
        ended
    };
    let ((), (), probes) = tokio::join!(follower.run(shutdown.clone()), worker.run(shutdown.clone()), probes);
    probes.map_err(StartError::Listen)
}
