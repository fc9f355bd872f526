//! `run`: a candidate, then perhaps the leader, until a signal or the loss of the Lease.

use std::sync::Arc;

use tenantry_config::{probes::Readiness, settings};
use tenantry_crds::names::InstanceName;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    access,
    backend::{Backends, Unusable},
    catalog::Catalog,
    connect::{self, Clients, NoConnection},
    context::Context,
    controllers::Controllers,
    drift,
    error::Error,
    events::Events,
    leader::{Election, Ended, Leadership, Tenure},
    metrics::Metrics,
    placement::Directory,
    rollout::Rollouts,
    snapshot::Jobs,
    takeover::Takeover,
    tenant::Evolutions,
    triggers::Touched,
    watchdog,
};

/// What `/readyz` waits for. A standby is ready, too: it could take over.
pub const PART: &str = "operator";

/// Why the operator stopped although nobody asked it to.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A setting cannot be used.
    #[error(transparent)]
    Connection(#[from] NoConnection),
    /// A setting of a backend cannot be used.
    #[error(transparent)]
    Backend(#[from] Unusable),
    /// The platform cannot be prepared.
    #[error("taking over")]
    Takeover(#[from] Error),
    /// The Lease is lost; whatever is under way must not go on.
    #[error("the lease is lost")]
    LeaseLost,
    /// A controller ended, which only a shutdown may do.
    #[error("a controller ended")]
    ControllerEnded,
}

/// Operates until `shutdown`.
///
/// # Errors
/// When the operator cannot go on. The process must exit, so that nothing it still does can last.
pub async fn run(
    settings: Arc<settings::Operator>,
    metrics: Metrics,
    readiness: &Readiness,
    shutdown: CancellationToken,
) -> Result<(), Failure> {
    let clients = connect::kubernetes(&settings.kube).await?;
    let backends = Backends::new(&settings, &metrics)?;
    let snapshots = Jobs::new(settings.snapshots.as_ref())?;
    let me = identity();
    let election = Election::new(clients.write.clone(), &settings.leader, me.clone());
    let standby = || readiness.ready(PART);
    let Some(held) = election.win(standby, &shutdown).await else { return Ok(()) };
    readiness.not_ready(PART, "taking over");
    metrics.leader.set(1);
    let (tenure, stop) = (held.tenure(), CancellationToken::new());
    // A task of its own: nothing that the passes do can hold up a renewal.
    let mut kept = tokio::spawn({
        let stop = stop.clone();
        async move { election.keep(held, stop).await }
    });
    let term = Term { settings, clients, backends, snapshots, metrics: metrics.clone(), me, tenure };
    let ended = tokio::select! {
        done = lead(term, readiness, &shutdown) => done,
        _lost = &mut kept => Err(Failure::LeaseLost),
    };
    metrics.leader.set(0);
    if !matches!(ended, Err(Failure::LeaseLost)) {
        stop.cancel();
        if !matches!(kept.await, Ok(Ended::Released)) {
            return ended.and(Err(Failure::LeaseLost));
        }
    }
    ended
}

/// What one term of leadership is made of.
struct Term {
    settings: Arc<settings::Operator>,
    clients: Clients,
    backends: Backends,
    snapshots: Jobs,
    metrics: Metrics,
    me: String,
    tenure: Tenure,
}

async fn lead(term: Term, readiness: &Readiness, shutdown: &CancellationToken) -> Result<(), Failure> {
    let Term { settings, clients: Clients { watch, write }, backends, snapshots, metrics, me, tenure } = term;
    let (controllers, stores, lanes) = Controllers::new(&watch, settings.reconcile.concurrency);
    let catalog = Arc::new(Catalog::new(stores.apps.clone()));
    let backends = Arc::new(backends);
    let directory = Arc::new(Directory::new(backends.cells().map(|cell| cell.name().clone())));
    let rollouts = Arc::new(Rollouts::new(catalog.clone(), stores.tenants.clone()));
    let takeover = Takeover {
        backends: backends.clone(),
        catalog: catalog.clone(),
        rollouts: rollouts.clone(),
        directory: directory.clone(),
        metrics: metrics.clone(),
        holder: me.clone(),
    };
    // Before the takeover, whose migrations may wait for what a tenant's session holds.
    let watchdog =
        tokio::spawn(watchdog::watch(backends.clone(), metrics.watchdog.clone(), shutdown.clone()));
    let pending = tokio::select! {
        pending = takeover.begin() => pending?,
        () = shutdown.cancelled() => return Ok(()),
    };
    let ctx = Arc::new(Context {
        events: Events::start(write.clone(), me),
        client: write,
        settings,
        leadership: Leadership::new(tenure),
        backends,
        directory,
        catalog,
        rollouts,
        touched: Touched::default(),
        evolutions: Evolutions::default(),
        metrics,
        stores,
        lanes,
        snapshots,
    });
    let moving = tokio::spawn({
        let (ctx, stop) = (ctx.clone(), shutdown.clone());
        async move { ctx.snapshots.run(ctx.clone(), stop).await }
    });
    // The tasks of all tenants are watched at one place, so that no pass holds a slot while the engine works.
    let search_tasks = tokio::spawn({
        let (ctx, stop) = (ctx.clone(), shutdown.clone());
        async move {
            ctx.backends.watch_search_tasks(|tenant| ctx.lanes.tenants.wake(tenant), stop).await;
        }
    });
    let drift = tokio::spawn(drift::scan(ctx.clone(), shutdown.clone()));
    let evolutions = tokio::spawn({
        let (ctx, stop) = (ctx.clone(), shutdown.clone());
        async move { ctx.evolutions.run(&ctx, stop).await }
    });
    let secrets = tokio::spawn(access::watch(watch, ctx.clone(), shutdown.clone()));
    let announced = async {
        ctx.stores.complete().await;
        readiness.ready(PART);
    };
    let opened = |instance: &InstanceName| {
        tracing::info!(%instance, "an instance that was away is used again");
        ctx.wake_all();
    };
    let passes = async { tokio::join!(controllers.run(ctx.clone(), shutdown.clone()), announced) };
    tokio::select! {
        _ended = passes => {}
        () = pending.go_on(opened) => {}
    }
    search_tasks.abort();
    moving.abort();
    drift.abort();
    evolutions.abort();
    secrets.abort();
    watchdog.abort();
    if shutdown.is_cancelled() { Ok(()) } else { Err(Failure::ControllerEnded) }
}

/// A name that no other process has, not even one in the same Pod after a restart.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "operator".to_owned());
    format!("{host}_{}", Uuid::new_v4())
}
