//! The role `serve`: the API.

use std::time::Duration;

use prometheus::{IntGaugeVec, Opts, Registry as Metrics};
use tenantry_config::{
    probes::{self, Readiness},
    settings,
};
use tokio_util::sync::CancellationToken;

use crate::{
    admin::Cluster,
    auth::Tokens,
    data::CursorKey,
    database,
    error::Chain,
    http::{self, HttpMetrics, Limits},
    jobs::{JobMetrics, QueueError, Queues},
    postgres::{TenantDatabase, Tuning},
    registry::{DATABASE_PART, Follower, REGISTRY_PART, Registry},
    search::Meilisearch,
    start::StartError,
    state::{AppState, Shared},
};

/// Between two looks at the backends that the API can do without.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Serves until `shutdown`.
///
/// # Errors
/// When the settings cannot be used or an address cannot be listened on.
pub async fn serve(settings: settings::ControlPlane, shutdown: CancellationToken) -> Result<(), StartError> {
    let metrics = Metrics::new();
    let readiness = Readiness::of(&[REGISTRY_PART, DATABASE_PART]);
    let tokens = Tokens::load(&settings.auth)?;
    let key = database::traffic_key(&settings.database)?;
    let registry = Registry::default();
    let tuning =
        Tuning { connections_per_shard: settings.database.connections_per_shard, ..Tuning::default() };
    let state = AppState::new(Shared {
        registry: registry.clone(),
        tokens,
        database: TenantDatabase::new(database::address(&settings.database)?, key.clone(), tuning),
        cursors: CursorKey::derive(&settings.database.traffic_key),
        queues: Queues::new(
            &settings.redis,
            &settings.database.traffic_key,
            JobMetrics::register(&metrics)?,
        )?,
        search: settings.search.as_ref().map(Meilisearch::new).transpose()?,
        cluster: Cluster::new(&settings.kube),
        shutdown: shutdown.clone(),
    });
    if let Err(evicts @ QueueError::Evicts(_)) = state.queues.check().await {
        return Err(evicts.into());
    }
    let degraded = IntGaugeVec::new(
        Opts::new("tenantry_backend_up", "Whether a backend that the API can do without answers"),
        &["backend"],
    )?;
    metrics.register(Box::new(degraded.clone()))?;

    let follower = Follower::new(registry, database::pool(&settings.database, &key)?, readiness.clone());
    let probe_routes = probes::router(readiness.clone(), metrics.clone());
    let limits = Limits::new(&settings.http);
    let router = http::router(&state, &limits, HttpMetrics::register(&metrics)?, probe_routes);
    let api = http::serve(settings.http.listen, router, shutdown.clone());
    let probes = probes::serve(settings.metrics.listen, readiness, metrics, shutdown.clone());
    let ((), (), api, probes) = tokio::join!(
        follower.run(shutdown.clone()),
        watch(&state, &degraded),
        ending(&shutdown, api),
        ending(&shutdown, probes)
    );
    api.and(probes).map_err(StartError::Listen)
}

/// A server that cannot listen ends the program, and not only itself.
async fn ending(
    shutdown: &CancellationToken,
    server: impl Future<Output = std::io::Result<()>>,
) -> std::io::Result<()> {
    let ended = server.await;
    shutdown.cancel();
    ended
}

/// Tells the log and the metrics when Redis or Meilisearch goes and comes. Neither makes the program unready: documents are
/// served without them.
async fn watch(state: &AppState, up: &IntGaugeVec) {
    let mut was = [true, true];
    while !state.shutdown.is_cancelled() {
        let redis = state.queues.check().await.map_err(|error| Chain(&error).to_string());
        let search = match &state.search {
            Some(engine) => engine.check().await.map_err(|error| Chain(&error).to_string()),
            None => Err("not configured".to_owned()),
        };
        for (n, (backend, now)) in [("redis", redis), ("search", search)].into_iter().enumerate() {
            up.with_label_values(&[backend]).set(i64::from(now.is_ok()));
            match &now {
                Err(cause) if was[n] => tracing::warn!(backend, cause, "degraded"),
                Ok(()) if !was[n] => tracing::info!(backend, "back"),
                _ => {}
            }
            was[n] = now.is_ok();
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = state.shutdown.cancelled() => {}
        }
    }
}
