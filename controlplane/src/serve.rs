//! The role `serve`: the API.

use std::{collections::HashMap, sync::Arc, time::Duration};

use prometheus::{GaugeVec, IntGaugeVec, Opts, Registry as Metrics};
use tenantry_config::{
    probes::{self, Readiness},
    settings,
};
use tokio_util::sync::CancellationToken;

use crate::{
    admin::Cluster,
    auth::{self, Accounts, ApiKeys, Hasher, Issuers, Outbound, SecretKey, Tokens},
    data::CursorKey,
    error::Chain,
    http::{self, HttpMetrics, Limits, Observer, Pace, Spans},
    instances::Instances,
    jobs::QueueError,
    load::Capacity,
    postgres::{DatabaseMetrics, Tuning},
    rate::Rates,
    registry::{CLOCK_PART, Clock, DATABASE_PART, Follower, Health, REGISTRY_PART, Registry},
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
    let readiness = Readiness::of(&[REGISTRY_PART, DATABASE_PART, CLOCK_PART]);
    let tokens = Tokens::load(&settings.auth)?;
    let database_metrics = DatabaseMetrics::register(&metrics)?;
    let instances = Instances::new(&settings, Tuning::of(&settings.database), &database_metrics)?
        .with_queues(&settings, &metrics)?;
    let registry = Registry::new(instances.cell_names());
    // Of both, neither can take the other's: whoever fills the one with answers keeps nobody from signing in.
    let for_passwords = Hasher::wanted_bytes(&settings.auth.argon2).min(settings.http.memory_bytes / 2);
    let capacity = Capacity::new(settings.http.memory_bytes - for_passwords, settings.http.max_body_bytes);
    capacity.register(&metrics)?;
    let state = AppState::new(Shared {
        registry: registry.clone(),
        tokens,
        api_keys: ApiKeys::default(),
        accounts: Accounts {
            secrets: SecretKey::new(&settings.auth, &settings.database.traffic_key)?,
            hasher: Hasher::new(&settings.auth.argon2, for_passwords)?,
        },
        issuers: Issuers::new(Outbound::new(&settings.auth.private_networks)?),
        rates: Rates::new(&settings.limits, &settings.redis)?,
        cursors: CursorKey::derive(&settings.database.traffic_key),
        cluster: Cluster::new(&settings.kube),
        shutdown: shutdown.clone(),
    });
    for queues in instances.queues.values() {
        if let Err(evicts @ QueueError::Evicts(_)) = queues.check().await {
            return Err(evicts.into());
        }
    }
    let up = IntGaugeVec::new(
        Opts::new("tenantry_backend_up", "Whether an instance of a backend answers"),
        &["backend", "instance"],
    )?;
    metrics.register(Box::new(up.clone()))?;

    let ahead = GaugeVec::new(
        Opts::new(
            "tenantry_clock_ahead_seconds",
            "How far the clock is ahead of that of a Postgres instance",
        ),
        &["instance"],
    )?;
    metrics.register(Box::new(ahead.clone()))?;
    let tolerance = Duration::from_secs(settings.auth.clock_tolerance_seconds.max(1));
    let health = Health::new(readiness.clone(), Some(up.clone()), instances.cell_names())
        .with_clock(Clock { tolerance, ahead });
    let followers = instances.cells.iter().map(|cell| {
        Follower::new(registry.clone(), cell, instances.homes(cell), health.clone()).run(shutdown.clone())
    });
    let followers = futures::future::join_all(followers);
    let changes = instances
        .cells
        .iter()
        .map(|cell| auth::follow(Arc::clone(&cell.changes), cell.login.clone(), shutdown.clone()));
    let changes = futures::future::join_all(changes);
    let probe_routes = probes::health(readiness.clone());
    let limits = Limits::new(&settings.http, &capacity);
    let pace = Pace::new(Duration::from_secs(settings.http.write_timeout_seconds.max(1)));
    pace.register(&metrics)?;
    let spans = Spans::new(&settings.tracing)?;
    let observer = Observer::new(
        HttpMetrics::register(&metrics)?,
        registry,
        &settings.http.trusted_proxies,
        spans.tracer(),
    );
    let router = http::router(&state, &limits, observer, probe_routes);
    let api = http::serve(
        settings.http.listen,
        router,
        Duration::from_secs(settings.http.header_timeout_seconds.max(1)),
        pace,
        shutdown.clone(),
    );
    let probes = probes::serve(settings.metrics.listen, readiness, metrics, shutdown.clone());
    let (_, _, (), (), api, probes) = tokio::join!(
        followers,
        changes,
        state.tokens.follow(&settings.auth, &shutdown),
        watch(&instances, &up, &shutdown),
        ending(&shutdown, api),
        ending(&shutdown, probes)
    );
    spans.flush().await;
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
async fn watch(instances: &Instances, up: &IntGaugeVec, shutdown: &CancellationToken) {
    let mut was: HashMap<(&str, &str), bool> = HashMap::new();
    while !shutdown.is_cancelled() {
        let mut seen = Vec::new();
        for (name, queues) in &instances.queues {
            let now = queues.check().await.map_err(|error| Chain(&error).to_string());
            seen.push((("redis", name.as_str()), now));
        }
        for (name, search) in &instances.search {
            let now = search.engine.check().await.map_err(|error| Chain(&error).to_string());
            seen.push((("search", name.as_str()), now));
        }
        if instances.search.is_empty() {
            seen.push((("search", "default"), Err("not configured".to_owned())));
        }
        for (key @ (backend, instance), now) in seen {
            up.with_label_values(&[backend, instance]).set(i64::from(now.is_ok()));
            match (&now, was.insert(key, now.is_ok()).unwrap_or(true)) {
                (Err(cause), true) => tracing::warn!(backend, instance, cause, "degraded"),
                (Ok(()), false) => tracing::info!(backend, instance, "back"),
                _ => {}
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = shutdown.cancelled() => {}
        }
    }
}
