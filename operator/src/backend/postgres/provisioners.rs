//! Connections as the provisioner logins: opened on demand, few in all, closed when idle.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tenantry_crds::reason::Reason;
use tenantry_migrations::{
    logins::{LoginKey, LoginName, LoginShard},
    platform::NOT_ALONE_SQLSTATE,
};
use tokio::{sync::Semaphore, time::timeout};

use super::{
    access::{self, AccessChange},
    cell::LoginKeys,
    change::{Changes, Identity},
    ddl,
    dial::{Connected, Dialler, Provisioner, TRUST_IDLE},
    logins::verifier_of,
    migrator::{Migrator, new_password},
    rows,
};
use crate::{error::Error, killpoint::killpoint, metrics::Metrics};

/// Connections of all shards together.
const MAX_CONNECTIONS: usize = 16;
/// For a whole script.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(25);

/// Makes changes for tenants, each as the provisioner of the tenant's shard.
pub struct Provisioners {
    dialler: Dialler,
    key: LoginKey,
    traffic_key: LoginKey,
    permits: Semaphore,
    idle: Mutex<Vec<Idle>>,
    metrics: Metrics,
}

struct Idle {
    shard: LoginShard,
    connection: Connected<Provisioner>,
    since: Instant,
}

impl Provisioners {
    /// Connects through `dialler`.
    pub fn new(dialler: Dialler, keys: LoginKeys, metrics: Metrics) -> Self {
        let LoginKeys { provisioner: key, traffic: traffic_key } = keys;
        Self {
            dialler,
            key,
            traffic_key,
            permits: Semaphore::new(MAX_CONNECTIONS),
            idle: Mutex::default(),
            metrics,
        }
    }

    /// Makes all of `changes` for `tenant`, or none of them. Nothing is sent when there are none.
    ///
    /// # Errors
    /// [`Error::Fenced`] when another operator leads by now; [`Error::Blocked`] when rows stand in the way.
    pub async fn apply(
        &self,
        shard: LoginShard,
        tenant: &Identity,
        epoch: i64,
        changes: &Changes,
    ) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        let own = LoginName::of_tenant(&tenant.traffic);
        let script = ddl::script(tenant, epoch, changes, || verifier_of(&self.traffic_key.password(&own)));
        let sent = self.metrics.call("postgres", "provision", self.run(shard, script));
        let outcome = killpoint!("postgres.apply", sent.await);
        outcome.map(|_| ()).map_err(|error| in_terms_of_the_tenant(tenant, error))
    }

    /// Makes the login that a tenant's steps run as, in place of the one that a crash may have left.
    ///
    /// # Errors
    /// [`Error::Fenced`] when another operator leads by now.
    pub async fn open_migrator(
        &self,
        shard: LoginShard,
        tenant: &Identity,
        epoch: i64,
        leftover: bool,
    ) -> Result<Migrator, Error> {
        let password = new_password();
        let script = ddl::open_migrator(tenant, epoch, &verifier_of(&password), leftover);
        killpoint!("postgres.open_migrator", self.run(shard, script).await)?;
        Ok(Migrator::new(self.dialler.owner(tenant, &password), tenant))
    }

    /// Ends that login and its sessions.
    ///
    /// # Errors
    /// [`Error::Fenced`] when another operator leads by now.
    pub async fn close_migrator(
        &self,
        shard: LoginShard,
        tenant: &Identity,
        epoch: i64,
    ) -> Result<(), Error> {
        let script = ddl::close_migrator(tenant, epoch);
        killpoint!("postgres.close_migrator", self.run(shard, script).await).map(|_| ())
    }

    /// Makes all of `changes` to a tenant's direct access, or none of them.
    ///
    /// # Errors
    /// [`Error::Fenced`] when another operator leads by now.
    pub async fn change_access(
        &self,
        shard: LoginShard,
        tenant: &Identity,
        epoch: i64,
        changes: &[AccessChange],
    ) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        let sent = self.run(shard, access::script(tenant, epoch, changes));
        let outcome = killpoint!("postgres.access", self.metrics.call("postgres", "access", sent).await);
        outcome.map(|_| ()).map_err(|error| in_terms_of_the_tenant(tenant, error))
    }

    /// Removes what the journals hold of a tenant whose role is gone, in batches: a fence that is held for long would hold
    /// up a takeover.
    ///
    /// # Errors
    /// [`Error::Fenced`] when another operator leads by now.
    pub async fn purge_journals(
        &self,
        shard: LoginShard,
        tenant: &Identity,
        epoch: i64,
    ) -> Result<(), Error> {
        while killpoint!("postgres.purge", self.run(shard, ddl::purge_script(tenant, epoch)).await)?
            > rows::PURGED_AT_ONCE
        {}
        Ok(())
    }

    /// Runs a script as one transaction; the rows that it touched.
    async fn run(&self, shard: LoginShard, script: String) -> Result<u64, Error> {
        // Closed never: the semaphore lives as long as this.
        let _permit = self.permits.acquire().await.map_err(|_closed| Error::Fenced)?;
        let mut connection = match self.take_idle(shard) {
            Some(connection) => connection,
            None => self.dialler.provisioner(shard, &self.key).await?,
        };
        let sent = sqlx::raw_sql(sqlx::AssertSqlSafe(script)).execute(&mut *connection);
        match killpoint!("postgres.transaction", timeout(SCRIPT_TIMEOUT, sent).await) {
            Ok(Ok(done)) => {
                self.put_idle(shard, connection);
                Ok(done.rows_affected())
            }
            // Dropped, whatever state it is in.
            Ok(Err(source)) => Err(Error::database("changing the tenant's schema")(source)),
            Err(_) => Err(Error::Timeout { doing: "changing the tenant's schema", limit: SCRIPT_TIMEOUT }),
        }
    }

    fn take_idle(&self, shard: LoginShard) -> Option<Connected<Provisioner>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|idle| idle.since.elapsed() < TRUST_IDLE);
        match idle.iter().rposition(|idle| idle.shard == shard) {
            Some(at) => Some(idle.swap_remove(at).connection),
            // This caller opens one more: with those in use there must be no more than allowed.
            None => {
                let in_use = MAX_CONNECTIONS.saturating_sub(self.permits.available_permits());
                if idle.len() + in_use > MAX_CONNECTIONS {
                    idle.remove(0);
                }
                None
            }
        }
    }

    fn put_idle(&self, shard: LoginShard, connection: Connected<Provisioner>) {
        let idle = Idle { shard, connection, since: Instant::now() };
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(idle);
    }
}

impl fmt::Debug for Provisioners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provisioners").finish_non_exhaustive()
    }
}

/// A refusal by rows that are there is for people to solve.
pub(super) fn in_terms_of_the_tenant(tenant: &Identity, error: Error) -> Error {
    let Error::Database { source: sqlx::Error::Database(refusal), .. } = &error else { return error };
    let Some(refusal) = refusal.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() else { return error };
    let of_tenant = refusal.schema() == Some(tenant.schema.as_str());
    let what = match refusal.code() {
        "23502" | "23503" | "23505" | "23514" if of_tenant => format!(
            "rows of {}.{} do not fit {}: {}; change those rows, or take the change out of the App",
            tenant.schema,
            refusal.table().unwrap_or("?"),
            refusal.constraint().or(refusal.column()).unwrap_or("the change"),
            refusal.message()
        ),
        "23505" if refusal.constraint() == Some("tenant_host_pkey") => {
            // The next pass sees who has it and names both.
            let message = "another tenant has just taken a host of spec.hosts";
            return Error::waiting(Reason::HostConflict, message);
        }
        "23505" if refusal.constraint() == Some("access_secret_key") => {
            let message = "another tenant's access has just taken a Secret of spec.access";
            return Error::waiting(Reason::SecretConflict, message);
        }
        NOT_ALONE_SQLSTATE => {
            let message = format!(
                "{}; revoke that, or the tenant cannot have code of its own: spec.access with level Owner, migrations",
                refusal.message()
            );
            return Error::blocked(Reason::ForeignGrant, message);
        }
        "2BP01" => {
            let message =
                format!("something outside the tenant still depends on its roles: {}", refusal.message());
            return Error::blocked(Reason::DependentsExist, message);
        }
        _ => return error,
    };
    Error::blocked(Reason::DestructiveChangeBlocked, what)
}
