//! The role `work`: brings documents from the outbox into the search indexes, and seals the audit journal ([`crate::audit`]).
//!
//! Each Postgres instance has an outbox of its own, and a worker.
//!
//! The engine does not compare versions: who writes last, wins. So one worker at a time writes ([`crate::duty`]), each index takes its
//! events in order, and events are removed only when the engine's task has succeeded.
//!
//! - [`leader`]: what the worker that has the duty does in a turn
//! - [`outbox`]: the events in Postgres
//! - [`plan`]: what a batch of events means for each index. Pure
//! - [`index`]: carries that out
//! - [`backfill`]: documents that were there before their index
//! - [`hold`]: indexes that have to wait
//! - [`sweep`]: removes what has had its time
//! - [`reseal`]: moves secrets to the primary key
//! - [`metrics`]: what happened to events

mod backfill;
mod hold;
mod index;
mod leader;
mod metrics;
#[cfg(test)]
mod on_servers;
mod outbox;
mod plan;
mod reseal;
mod sweep;

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use prometheus::Registry as Metrics;
use tenantry_config::{
    probes::{self, Readiness},
    settings,
};
use tokio_util::sync::CancellationToken;

use crate::{
    audit::{SealKey, SealMetrics, Sealer},
    auth::{Outbound, SecretKey, Tokens, mail::Mailer},
    data::CursorKey,
    duty::{self, Duty},
    instances::Instances,
    postgres::{DatabaseMetrics, Tuning},
    registry::{DATABASE_PART, Follower, Health, REGISTRY_PART, Registry},
    start::StartError,
};
use leader::Worker;
use metrics::WorkMetrics;
use reseal::{ResealMetrics, Resealer};
use sweep::Sweeper;

/// Works until `shutdown`.
///
/// # Errors
/// When the settings cannot be used or the probes' address cannot be listened on.
pub async fn work(settings: settings::ControlPlane, shutdown: CancellationToken) -> Result<(), StartError> {
    let metrics = Metrics::new();
    let readiness = Readiness::of(&[REGISTRY_PART, DATABASE_PART]);
    let tuning = Tuning { connections_per_shard: 1, ..Tuning::of(&settings.database) };
    let instances = Instances::new(&settings, tuning, &DatabaseMetrics::register(&metrics)?)?;
    if instances.search.is_empty() {
        tracing::warn!("search.url is not set: events of indexed documents wait");
    }
    let registry = Registry::new(instances.cell_names());
    let work_metrics = WorkMetrics::register(&metrics)?;
    let workers: Vec<_> = instances
        .cells
        .iter()
        .map(|cell| Worker {
            cell: cell.name.clone(),
            registry: registry.clone(),
            login: cell.login.clone(),
            duty: Duty::new(duty::Name::Index, &cell.login),
            cursors: CursorKey::derive(&settings.database.traffic_key),
            settings: settings.worker.clone(),
            metrics: work_metrics.of(&cell.name),
        })
        .collect();
    let seal_metrics = SealMetrics::register(&metrics)?;
    let sealers: Vec<_> = instances
        .cells
        .iter()
        .map(|cell| Sealer {
            cell: cell.name.clone(),
            login: cell.login.clone(),
            duty: Duty::new(duty::Name::Seal, &cell.login),
            key: SealKey::derive(&settings.database.traffic_key),
            pause: Duration::from_millis(settings.worker.seal_milliseconds.max(10)),
            metrics: seal_metrics.clone(),
        })
        .collect();
    let sweepers: Vec<_> = instances
        .cells
        .iter()
        .map(|cell| Sweeper {
            cell: cell.name.clone(),
            registry: registry.clone(),
            login: cell.login.clone(),
            duty: Duty::new(duty::Name::Sweep, &cell.login),
            cursors: CursorKey::derive(&settings.database.traffic_key),
            longest: Duration::from_secs(settings.worker.sweep_seconds.max(1)),
        })
        .collect();
    let reseal_metrics = ResealMetrics::register(&metrics)?;
    let resealers: Vec<_> = instances
        .cells
        .iter()
        .map(|cell| Resealer {
            cell: cell.name.clone(),
            registry: registry.clone(),
            login: cell.login.clone(),
            duty: Duty::new(duty::Name::Reseal, &cell.login),
            vault: Arc::clone(&instances.vault),
            metrics: reseal_metrics.of(&cell.name),
        })
        .collect();
    let resealers = join_all(resealers.iter().map(|resealer| resealer.run(shutdown.clone())));
    let sweepers = join_all(sweepers.iter().map(|sweeper| sweeper.run(shutdown.clone())));
    let sealers = join_all(sealers.iter().map(|sealer| sealer.run(shutdown.clone())));
    let workers = join_all(workers.iter().map(|worker| worker.run(shutdown.clone())));
    let mut mailers = Vec::new();
    for cell in &instances.cells {
        mailers.push(Mailer {
            pool: cell.pool.clone(),
            registry: registry.clone(),
            tokens: Tokens::load(&settings.auth)?,
            secrets: SecretKey::new(&settings.auth, &settings.database.traffic_key)?,
            outbound: Outbound::new(&settings.auth.private_networks)?,
            poll: Duration::from_millis(settings.worker.poll_milliseconds.max(10)),
        });
    }
    let mailers = join_all(mailers.into_iter().map(|mailer| mailer.run(shutdown.clone())));
    let health = Health::new(readiness.clone(), None, instances.cell_names());
    let followers = instances.cells.iter().map(|cell| {
        Follower::new(registry.clone(), cell, instances.homes(cell), health.clone()).run(shutdown.clone())
    });
    let followers = join_all(followers);
    let probes = async {
        let ended = probes::serve(settings.metrics.listen, readiness, metrics, shutdown.clone()).await;
        shutdown.cancel();
        ended
    };
    let (_, _, _, _, _, _, probes) =
        tokio::join!(followers, workers, sealers, sweepers, resealers, mailers, probes);
    probes.map_err(StartError::Listen)
}
