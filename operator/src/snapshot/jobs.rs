//! Exports and restores run beside the passes: a pass begins one, says so in the status, and is woken when it has ended.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tenantry_config::settings;
use tenantry_crds::{names::InstanceName, reason::Reason, v1alpha1::Tenant};
use tenantry_migrations::{logins::LoginShard, registry::Placement};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Store,
    export::{self, Taken},
    format::Reference,
    restore,
};
use crate::{backend::postgres::change::Identity, context::Context, error::Error};

/// What is to be done for one tenant.
#[derive(Debug, Clone)]
pub enum Job {
    /// A snapshot is taken of a tenant that is not served any more.
    Export {
        /// Whose.
        tenant: Identity,
        /// Where it is.
        cell: InstanceName,
        /// Its logins.
        shard: LoginShard,
        /// The Tenant.
        object: Box<Tenant>,
    },
    /// A tenant that has nothing yet is made of a snapshot.
    Restore {
        /// Whose.
        tenant: Identity,
        /// Where it is going to be.
        placement: Placement,
        /// The Tenant.
        object: Box<Tenant>,
        /// Of what.
        from: Reference,
    },
}

/// What a job has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// A snapshot.
    Exported(Taken),
    /// This many rows.
    Restored(u64),
}

/// How far the job of a tenant is.
#[derive(Debug)]
pub enum Step {
    /// It runs, or waits for others.
    Running,
    /// It has ended. Told once: whoever asks again begins another.
    Ended(Result<Done, Error>),
}

/// The jobs of one term of leadership. The terms' end ends them: each is a transaction, or writes files that count for nothing
/// without the last.
#[derive(Debug)]
pub struct Jobs {
    store: Option<Store>,
    limit: Duration,
    permits: Arc<Semaphore>,
    states: Mutex<HashMap<Uuid, State>>,
    // Unbounded, yet bounded by the tenants: each has one job at most.
    asked: mpsc::UnboundedSender<Asked>,
    inbox: Mutex<Option<mpsc::UnboundedReceiver<Asked>>>,
}

type Asked = (Job, CancellationToken);

#[derive(Debug)]
enum State {
    Running { restores: bool, unwanted: CancellationToken },
    Ended(Result<Done, Error>),
}

impl Jobs {
    /// Reads the settings; opens no connection.
    ///
    /// # Errors
    /// When a setting cannot be used.
    #[allow(clippy::disallowed_methods, reason = "one message for each job that a pass asked for")]
    pub fn new(settings: Option<&settings::Snapshots>) -> Result<Self, Error> {
        let (asked, inbox) = mpsc::unbounded_channel();
        Ok(Self {
            store: settings.map(Store::new).transpose()?,
            limit: Duration::from_secs(settings.map_or(1, |settings| settings.timeout_seconds.max(1))),
            permits: Arc::new(Semaphore::new(
                settings.map_or(1, |settings| settings.concurrency.max(1)).into(),
            )),
            states: Mutex::default(),
            asked,
            inbox: Mutex::new(Some(inbox)),
        })
    }

    /// How long a job may take.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// The store.
    ///
    /// # Errors
    /// When none is configured.
    pub fn store(&self) -> Result<&Store, Error> {
        self.store.as_ref().ok_or_else(|| {
            let message = "no store for snapshots is configured: set snapshots.url of the operator";
            Error::blocked(Reason::SnapshotStoreMissing, message)
        })
    }

    /// Begins `job`, unless it runs already; what became of it.
    pub fn step(&self, job: Job) -> Step {
        let uid = job.tenant().uid;
        let mut states = self.states();
        match states.remove(&uid) {
            Some(State::Ended(outcome)) => Step::Ended(outcome),
            Some(State::Running { restores, unwanted }) => {
                states.insert(uid, State::Running { restores, unwanted });
                Step::Running
            }
            None => {
                let unwanted = CancellationToken::new();
                let restores = matches!(job, Job::Restore { .. });
                let running = State::Running { restores, unwanted: unwanted.clone() };
                states.insert(uid, running);
                // Without a receiver this term is over.
                let _over = self.asked.send((job, unwanted));
                Step::Running
            }
        }
    }

    /// Nobody wants the restore of this tenant any more. Whether one still runs: what it makes must not come after the cleanup.
    pub fn give_up_restore(&self, tenant: Uuid) -> bool {
        let mut states = self.states();
        match states.get(&tenant) {
            Some(State::Running { restores: true, unwanted, .. }) => {
                unwanted.cancel();
                true
            }
            Some(State::Ended(Ok(Done::Restored(_)))) => {
                states.remove(&tenant);
                false
            }
            _ => false,
        }
    }

    /// Does what it is asked until `stop`.
    pub async fn run(&self, ctx: Arc<Context>, stop: CancellationToken) {
        let Some(mut inbox) = self.inbox.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some((job, unwanted)) = inbox.recv() => { running.spawn(work(ctx.clone(), job, unwanted)); }
                Some(ended) = running.join_next() => {
                    if let Ok((tenant, outcome)) = ended {
                        self.states().insert(tenant.uid, State::Ended(outcome));
                        ctx.lanes.tenants.wake(tenant.name.as_str());
                    }
                }
            }
        }
        // Dropped here, in the middle of whatever they do.
        running.shutdown().await;
    }

    fn states(&self) -> MutexGuard<'_, HashMap<Uuid, State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job {
    fn tenant(&self) -> &Identity {
        match self {
            Self::Export { tenant, .. } | Self::Restore { tenant, .. } => tenant,
        }
    }
}

async fn work(ctx: Arc<Context>, job: Job, unwanted: CancellationToken) -> (Identity, Result<Done, Error>) {
    use futures::FutureExt as _;
    let (tenant, limit) = (job.tenant().clone(), ctx.snapshots.limit());
    // Closed never: the semaphore lives as long as the jobs.
    let _permit = ctx.snapshots.permits.clone().acquire_owned().await;
    let started = Instant::now();
    // A panic must end as a failure too, or the tenant would wait for ever.
    let guarded =
        std::panic::AssertUnwindSafe(timeout(limit, carry_out(&ctx, job, &unwanted))).catch_unwind();
    let outcome = match guarded.await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(Error::Timeout { doing: "moving a tenant's rows to or from a snapshot", limit }),
        Err(_) => Err(Error::Panicked),
    };
    match &outcome {
        Ok(done) => tracing::info!(tenant = %tenant.name, took = ?started.elapsed(), ?done, "snapshot"),
        Err(error) => tracing::warn!(
            tenant = %tenant.name, took = ?started.elapsed(),
            error = error as &(dyn std::error::Error + 'static), "snapshot failed"
        ),
    }
    (tenant, outcome)
}

async fn carry_out(ctx: &Context, job: Job, unwanted: &CancellationToken) -> Result<Done, Error> {
    let store = ctx.snapshots.store()?;
    match job {
        Job::Export { tenant, cell, shard, object } => {
            let cell = ctx.backends.cell(&cell)?;
            export::export(ctx, store, cell, &tenant, shard, &object).await.map(Done::Exported)
        }
        Job::Restore { tenant, placement, object, from } => {
            let into = restore::Into { tenant: &tenant, placement: &placement, object: &object };
            restore::restore(ctx, store, &into, &from, unwanted).await.map(Done::Restored)
        }
    }
}
