//! Which connection a tenant's groups go to, and how many at once.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use tenantry_crds::names::TenantRole;
use tenantry_migrations::logins::{LoginKey, LoginShard};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, timeout_at},
};

use super::{
    Address,
    error::DatabaseError,
    job::Job,
    lane::{Lane, Login},
    reply::Reply,
    statement::{Access, Group},
};
use crate::registry::TenantEntry;

/// How long a group may wait to be sent.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(4);
/// How long a caller waits in all. Above the queue's and the server's timeouts, so that they speak first.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(9);

/// Beneath [`ANSWER_TIMEOUT`], so that the server speaks first.
const MAX_STATEMENT_TIMEOUT: Duration = Duration::from_secs(8);

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
    /// How long the server may run one statement of a tenant that has no limit of its own. It also bounds how long a tenant can
    /// hold its connection.
    pub statement_timeout: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            connections_per_shard: 4,
            statements_per_connection: 1000,
            concurrency_per_tenant: 32,
            waiting_per_tenant: 128,
            statement_timeout: Duration::from_secs(5),
        }
    }
}

/// Tenants' way into Postgres.
#[derive(Debug)]
pub struct TenantDatabase {
    address: Arc<Address>,
    key: LoginKey,
    tuning: Tuning,
    lanes: RwLock<HashMap<LoginShard, Arc<[Lane]>>>,
    shares: Mutex<HashMap<TenantRole, Arc<Share>>>,
}

/// A tenant's share of its connection.
#[derive(Debug)]
struct Share {
    /// Places for groups that run.
    running: Arc<Semaphore>,
    /// Places for groups that run or wait.
    admitted: Semaphore,
}

impl TenantDatabase {
    /// Connections are opened when they are needed, with passwords that derive from `key`.
    pub fn new(address: Address, key: LoginKey, tuning: Tuning) -> Self {
        Self { address: Arc::new(address), key, tuning, lanes: RwLock::default(), shares: Mutex::default() }
    }

    /// Runs `group` in one transaction under the DML role of `tenant`.
    ///
    /// A caller that stops waiting leaves nothing behind: the group is finished or was never sent.
    ///
    /// # Errors
    /// See [`DatabaseError`]; on every one but [`DatabaseError::OutcomeUnknown`] nothing was written.
    pub async fn run(&self, tenant: &TenantEntry, group: Group) -> Result<Reply, DatabaseError> {
        let access = group.access;
        let share = self.share(&tenant.role);
        let _admitted = share.admitted.try_acquire().map_err(|_| DatabaseError::Busy)?;
        let start = Instant::now();
        let deadline = start + QUEUE_TIMEOUT;
        let permit = running(&share, deadline).await?;
        let (reply, answer) = oneshot::channel();
        let job = Job {
            group,
            schema: tenant.schema.clone(),
            role: tenant.role.clone(),
            statement_timeout: tenant.quotas.statement_timeout_milliseconds,
            deadline,
            retries: 0,
            reply,
            permit: Some(permit),
        };
        self.lane(tenant).try_send(job).map_err(|_| DatabaseError::Busy)?;
        match timeout_at(start + ANSWER_TIMEOUT, answer).await {
            Ok(Ok(result)) => result,
            _ if access == Access::Write => Err(DatabaseError::OutcomeUnknown),
            Ok(Err(_)) => Err(DatabaseError::Unavailable),
            Err(_) => Err(DatabaseError::Expired),
        }
    }

    fn lane(&self, tenant: &TenantEntry) -> Lane {
        let shard = tenant.login_shard;
        let known = self
            .lanes
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&shard)
            .map(|lanes| pinned(lanes, tenant));
        known.unwrap_or_else(|| {
            let mut lanes = self.lanes.write().unwrap_or_else(PoisonError::into_inner);
            pinned(lanes.entry(shard).or_insert_with(|| self.open(shard)), tenant)
        })
    }

    fn open(&self, shard: LoginShard) -> Arc<[Lane]> {
        let name = shard.traffic();
        let password = self.key.password(&name);
        (0..self.tuning.connections_per_shard.max(1))
            .map(|_| {
                Lane::open(Login {
                    address: Arc::clone(&self.address),
                    name: name.clone(),
                    password: password.clone(),
                    statements: self.tuning.statements_per_connection,
                    statement_timeout: self.tuning.statement_timeout.min(MAX_STATEMENT_TIMEOUT),
                })
            })
            .collect()
    }

    fn share(&self, role: &TenantRole) -> Arc<Share> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(role) {
            return Arc::clone(share);
        }
        let (running, waiting) = (self.tuning.concurrency_per_tenant, self.tuning.waiting_per_tenant);
        let share = Arc::new(Share {
            running: Arc::new(Semaphore::new(running)),
            admitted: Semaphore::new(running + waiting),
        });
        shares.insert(role.clone(), Arc::clone(&share));
        share
    }
}

/// The connection of `tenant`: always the same one, so that only one server process loads its tables.
fn pinned(lanes: &[Lane], tenant: &TenantEntry) -> Lane {
    let mut hasher = DefaultHasher::new();
    tenant.role.hash(&mut hasher);
    let n = usize::try_from(hasher.finish() % lanes.len().max(1) as u64).unwrap_or_default();
    lanes[n].clone()
}

async fn running(share: &Share, deadline: Instant) -> Result<OwnedSemaphorePermit, DatabaseError> {
    if let Ok(permit) = Arc::clone(&share.running).try_acquire_owned() {
        return Ok(permit);
    }
    match timeout_at(deadline, Arc::clone(&share.running).acquire_owned()).await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(DatabaseError::Expired),
    }
}
