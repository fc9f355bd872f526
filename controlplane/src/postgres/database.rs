//! Which connection a tenant's groups go to, and how many at once.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use tenantry_config::settings;
use tenantry_crds::names::{TenantRole, TrafficLogin};
use tenantry_migrations::{
    logins::{LoginKey, LoginShard},
    registry::Connections,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, timeout_at},
};

use super::{
    Address, DatabaseMetrics,
    dedicated::{Book, Connection},
    dial::{Class, Dialler},
    error::DatabaseError,
    job::{Job, Outcome},
    lane::{Lane, NotTaken, Plan},
    reply::Reply,
    slow::Slow,
    statement::{Access, Group},
};
use crate::registry::TenantEntry;

/// How long a group may wait to be sent, on a lane and for a place among the slow ones together.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(4);
/// When a slow statement is cancelled, however long its timeout is.
const SLOW_TIMEOUT: Duration = Duration::from_millis(8500);
/// How long a caller waits in all. Above the times before, so that they speak first: a group that was sent on a lane ends within a
/// second (`share`), and a slow one half a second after it was cancelled.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(9);

/// Beneath [`SLOW_TIMEOUT`], so that the server speaks first.
const MAX_STATEMENT_TIMEOUT: Duration = Duration::from_secs(8);
/// Groups of one tenant beyond which it has another connection of its own, if it may.
const GROUPS_PER_DEDICATED: usize = 8;

/// The bounds of [`TenantDatabase`].
#[derive(Debug, Clone, Copy)]
pub struct Tuning {
    /// Connections to each shard of logins. A tenant always uses the same one.
    pub connections_per_shard: usize,
    /// Prepared statements that a connection keeps.
    pub statements_per_connection: usize,
    /// Groups of one tenant at once; more wait.
    pub concurrency_per_tenant: usize,
    /// Groups of one tenant that may wait; more are refused.
    pub waiting_per_tenant: usize,
    /// How long the server may run one statement of a tenant that has no limit of its own.
    pub statement_timeout: Duration,
    /// How long it may run one on a connection that others share. What takes longer runs again in a connection for slow
    /// statements. At least 10 ms.
    pub slice: Duration,
    /// Slow statements at once.
    pub slow: usize,
    /// Slow statements of one tenant at once.
    pub slow_per_tenant: usize,
    /// Connections of single tenants.
    pub dedicated: usize,
    /// Connections of one tenant that has its own.
    pub dedicated_per_tenant: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            connections_per_shard: 4,
            statements_per_connection: 1000,
            concurrency_per_tenant: 32,
            waiting_per_tenant: 128,
            statement_timeout: Duration::from_secs(5),
            slice: Duration::from_millis(100),
            slow: 12,
            slow_per_tenant: 2,
            dedicated: 64,
            dedicated_per_tenant: 2,
        }
    }
}

impl Tuning {
    /// As the settings have it.
    pub fn of(settings: &settings::ControlPlaneDatabase) -> Self {
        Self {
            connections_per_shard: settings.connections_per_shard,
            statement_timeout: Duration::from_millis(settings.statement_timeout_milliseconds.max(10)),
            slice: Duration::from_millis(settings.slice_milliseconds.max(10)),
            slow: settings.slow_connections,
            slow_per_tenant: settings.slow_connections_per_tenant,
            dedicated: settings.dedicated_connections,
            dedicated_per_tenant: settings.dedicated_connections_per_tenant,
            ..Self::default()
        }
    }
}

/// Tenants' way into Postgres.
#[derive(Debug)]
pub struct TenantDatabase {
    dialler: Arc<Dialler>,
    tuning: Tuning,
    lanes: RwLock<HashMap<LoginShard, Vec<Lane>>>,
    dedicated: Mutex<Book<Dedicated>>,
    slow: Arc<Slow>,
    places: Mutex<HashMap<TenantRole, Arc<Places>>>,
}

/// How much of everything one tenant may have.
#[derive(Debug)]
struct Places {
    /// For groups that run.
    running: Arc<Semaphore>,
    /// For groups that run or wait.
    admitted: Semaphore,
    /// For slow statements.
    slow: Arc<Semaphore>,
    most_running: usize,
}

/// A lane of one tenant.
#[derive(Debug, Clone)]
struct Dedicated {
    lane: Lane,
    places: Arc<Places>,
}

impl Connection for Dedicated {
    fn is_open(&self) -> bool {
        self.lane.is_open()
    }

    fn is_idle(&self) -> bool {
        self.places.running() == 0
    }
}

impl TenantDatabase {
    /// Connections are opened when they are needed, with passwords that derive from `key`.
    pub fn new(address: Address, key: LoginKey, tuning: Tuning, metrics: DatabaseMetrics) -> Self {
        let dialler = Arc::new(Dialler {
            address,
            key,
            slice: tuning.slice.max(Duration::from_millis(10)),
            statement_timeout: tuning.statement_timeout.min(MAX_STATEMENT_TIMEOUT),
            metrics,
        });
        Self {
            slow: Slow::new(Arc::clone(&dialler), tuning.slow),
            dedicated: Mutex::new(Book::new(tuning.dedicated, tuning.dedicated_per_tenant)),
            dialler,
            tuning,
            lanes: RwLock::default(),
            places: Mutex::default(),
        }
    }

    /// Runs `group` in one transaction under the DML role of `tenant`.
    ///
    /// The registry's word for the tenant's connections is where it is asked first. A login that does not serve the tenant has run
    /// nothing, and the group is sent once more, to the other one.
    ///
    /// A caller that stops waiting leaves nothing behind: the group is finished, was cancelled, or was never sent.
    ///
    /// # Errors
    /// See [`DatabaseError`]; on every one but [`DatabaseError::OutcomeUnknown`] nothing was written.
    pub async fn run(&self, tenant: &TenantEntry, group: Group) -> Result<Reply, DatabaseError> {
        let access = group.access;
        let places = self.places(&tenant.role);
        let _admitted = places.admitted.try_acquire().map_err(|_| DatabaseError::Busy)?;
        let start = Instant::now();
        match timeout_at(start + ANSWER_TIMEOUT, self.route(tenant, group, &places, start)).await {
            Ok(result) => result,
            Err(_) if access == Access::Write => Err(DatabaseError::OutcomeUnknown),
            Err(_) => Err(DatabaseError::Expired),
        }
    }

    /// Sends `group` to where it is served: to another login once, and to a slower connection once for each of them.
    async fn route(
        &self,
        tenant: &TenantEntry,
        mut group: Group,
        places: &Arc<Places>,
        start: Instant,
    ) -> Result<Reply, DatabaseError> {
        let access = group.access;
        let (mut connections, mut redirected, mut outlasted) = (tenant.connections, false, false);
        loop {
            let answer = if outlasted {
                self.on_slow(tenant, connections, group, places, start).await?
            } else {
                self.on_lane(tenant, connections, group, places, start).await?
            };
            match answer.await {
                Ok(Outcome::Done(result)) => return result,
                Ok(Outcome::Outlasted(back)) => {
                    self.dialler.metrics.outlasted.inc();
                    (group, outlasted) = (back, true);
                }
                Ok(Outcome::NotLetIn(_, error)) if redirected => return Err(error),
                Ok(Outcome::NotLetIn(back, _)) => {
                    (group, redirected, outlasted) = (back, true, false);
                    connections = match connections {
                        Connections::Shared => Connections::Dedicated,
                        Connections::Dedicated => Connections::Shared,
                    };
                    self.dialler.metrics.redirected.with_label_values(&[connections.as_str()]).inc();
                }
                // The task that had it ended.
                Err(_) if access == Access::Write => return Err(DatabaseError::OutcomeUnknown),
                Err(_) => return Err(DatabaseError::Unavailable),
            }
        }
    }

    async fn on_lane(
        &self,
        tenant: &TenantEntry,
        connections: Connections,
        group: Group,
        places: &Arc<Places>,
        start: Instant,
    ) -> Result<oneshot::Receiver<Outcome>, DatabaseError> {
        let deadline = start + QUEUE_TIMEOUT;
        let permit = places.run(deadline).await?;
        let (mut job, answer) = job(tenant, group, deadline, Some(permit));
        // Twice, for a lane that ended just now.
        for _ in 0..2 {
            let lane = match connections {
                Connections::Shared => self.shared(tenant),
                Connections::Dedicated => self.dedicated(tenant, places)?,
            };
            match lane.try_send(job) {
                Ok(()) => return Ok(answer),
                Err(NotTaken::Full) => return Err(DatabaseError::Busy),
                Err(NotTaken::Closed(back)) => job = *back,
            }
            if connections == Connections::Shared {
                self.reopen(tenant);
            }
        }
        Err(DatabaseError::Unavailable)
    }

    async fn on_slow(
        &self,
        tenant: &TenantEntry,
        connections: Connections,
        group: Group,
        places: &Arc<Places>,
        start: Instant,
    ) -> Result<oneshot::Receiver<Outcome>, DatabaseError> {
        let Some(place) = self.slow.place(&places.slow, start + QUEUE_TIMEOUT).await else {
            self.dialler.metrics.full.with_label_values(&["slow"]).inc();
            return Err(DatabaseError::Busy);
        };
        let until = start + SLOW_TIMEOUT;
        let (job, answer) = job(tenant, group, until, None);
        self.slow.run(class(tenant, connections), job, place, until);
        Ok(answer)
    }

    /// The lane of the tenant's shard: always the same one, so that only one server process loads its tables.
    fn shared(&self, tenant: &TenantEntry) -> Lane {
        let shard = tenant.login_shard;
        let known = self
            .lanes
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&shard)
            .map(|lanes| lanes[pinned(lanes, tenant)].clone());
        known.unwrap_or_else(|| {
            let mut lanes = self.lanes.write().unwrap_or_else(PoisonError::into_inner);
            let count = self.tuning.connections_per_shard.max(1);
            let open = || (0..count).map(|_| Lane::open(self.plan(tenant, Connections::Shared))).collect();
            let lanes = lanes.entry(shard).or_insert_with(open);
            lanes[pinned(lanes, tenant)].clone()
        })
    }

    /// Replaces the lane of `tenant` if its task has ended, which it does not of itself.
    fn reopen(&self, tenant: &TenantEntry) {
        let mut lanes = self.lanes.write().unwrap_or_else(PoisonError::into_inner);
        let Some(lanes) = lanes.get_mut(&tenant.login_shard) else { return };
        let n = pinned(lanes, tenant);
        // Somebody else may have done it meanwhile.
        if !lanes[n].is_open() {
            tracing::error!(
                shard = tenant.login_shard.number(),
                lane = n,
                "the task of a lane ended; it is opened anew"
            );
            self.dialler.metrics.reopened.inc();
            lanes[n] = Lane::open(self.plan(tenant, Connections::Shared));
        }
    }

    /// Leaves lanes whose tasks have ended, as after a panic.
    #[cfg(test)]
    pub(super) fn end_lanes(&self) {
        let mut lanes = self.lanes.write().unwrap_or_else(PoisonError::into_inner);
        lanes.values_mut().flatten().for_each(|lane| *lane = Lane::ended());
    }

    fn dedicated(&self, tenant: &TenantEntry, places: &Arc<Places>) -> Result<Lane, DatabaseError> {
        // The group that is about to be sent has its permit already.
        let n = places.running().saturating_sub(1) / GROUPS_PER_DEDICATED;
        let mut book = self.dedicated.lock().unwrap_or_else(PoisonError::into_inner);
        let open = || Dedicated {
            lane: Lane::open(self.plan(tenant, Connections::Dedicated)),
            places: Arc::clone(places),
        };
        if let Some(dedicated) = book.nth(&tenant.role, n, open) {
            return Ok(dedicated.lane);
        }
        self.dialler.metrics.full.with_label_values(&["dedicated"]).inc();
        Err(DatabaseError::Busy)
    }

    fn plan(&self, tenant: &TenantEntry, connections: Connections) -> Plan {
        // A shard can hold some tenants more than it was meant for.
        let tenants = match connections {
            Connections::Shared => 2 * LoginShard::CAPACITY,
            Connections::Dedicated => 1,
        };
        Plan {
            dialler: Arc::clone(&self.dialler),
            class: class(tenant, connections),
            statements: self.tuning.statements_per_connection,
            queue: tenants * self.tuning.concurrency_per_tenant,
        }
    }

    fn places(&self, role: &TenantRole) -> Arc<Places> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = places.get(role) {
            return Arc::clone(places);
        }
        let (running, waiting) = (self.tuning.concurrency_per_tenant, self.tuning.waiting_per_tenant);
        let of_tenant = Arc::new(Places {
            running: Arc::new(Semaphore::new(running)),
            admitted: Semaphore::new(running + waiting),
            slow: Arc::new(Semaphore::new(self.tuning.slow_per_tenant.max(1))),
            most_running: running,
        });
        places.insert(role.clone(), Arc::clone(&of_tenant));
        of_tenant
    }
}

impl Places {
    /// A place for a group, as soon as there is one.
    async fn run(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, DatabaseError> {
        if let Ok(permit) = Arc::clone(&self.running).try_acquire_owned() {
            return Ok(permit);
        }
        match timeout_at(deadline, Arc::clone(&self.running).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(DatabaseError::Expired),
        }
    }

    /// How many groups there are.
    fn running(&self) -> usize {
        self.most_running.saturating_sub(self.running.available_permits())
    }
}

fn job(
    tenant: &TenantEntry,
    group: Group,
    deadline: Instant,
    permit: Option<OwnedSemaphorePermit>,
) -> (Job, oneshot::Receiver<Outcome>) {
    let (reply, answer) = oneshot::channel();
    let job = Job {
        group,
        schema: tenant.schema.clone(),
        role: tenant.role.clone(),
        quota: tenant.quotas.statement_timeout_milliseconds,
        deadline,
        retries: 0,
        reply,
        permit,
    };
    (job, answer)
}

fn class(tenant: &TenantEntry, connections: Connections) -> Class {
    match connections {
        Connections::Shared => Class::Shared(tenant.login_shard),
        Connections::Dedicated => Class::Dedicated(TrafficLogin::of(&tenant.name)),
    }
}

fn pinned(lanes: &[Lane], tenant: &TenantEntry) -> usize {
    let mut hasher = DefaultHasher::new();
    tenant.role.hash(&mut hasher);
    usize::try_from(hasher.finish() % lanes.len().max(1) as u64).unwrap_or_default()
}
