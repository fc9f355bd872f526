//! A Postgres instance as a cell: a registry, app versions, logins and journals of its own, for the tenants that live there.
//!
//! Whatever is made for a tenant, its registry rows and the fence are in one database, so they stay one transaction.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use sqlx::{PgPool, Postgres, Transaction};
use tenantry_crds::{
    names::{AppName, InstanceName},
    reason::Reason,
};
use tenantry_migrations::{
    logins::{LoginKey, LoginName, LoginShard},
    platform,
};
use uuid::Uuid;

use super::{
    access::AccessChange,
    barrier::Older,
    change::{Changes, Identity, ObjectChange},
    ddl,
    dial::Dialler,
    logins::Logins,
    migrator::Migrator,
    observe,
    provisioners::{Provisioners, in_terms_of_the_tenant},
};
use crate::{catalog::Version, error::Error, killpoint::killpoint, leader, metrics::Metrics};

/// A Postgres instance. Lives for one term of leadership, since what it knows is true only while nobody else writes.
#[derive(Debug)]
pub struct Cell {
    name: InstanceName,
    dialler: Dialler,
    database: PgPool,
    provisioners: Provisioners,
    logins: Logins,
    /// Each cell counts its own epochs; nothing before this term's was opened.
    epoch: OnceLock<i64>,
    publications: Mutex<Publications>,
}

/// What the cell's registry has of the apps.
#[derive(Debug, Default)]
struct Publications {
    digests: BTreeMap<(AppName, Version), String>,
    /// Revisions of the versions that tenants are to have.
    targets: BTreeMap<AppName, i64>,
}

/// An instance that takes longer is down as far as new tenants are concerned.
const PING_LIMIT: Duration = Duration::from_secs(2);

/// How long transactions of a shard's login are waited for. Above the time that traffic gives a statement.
const TRAFFIC_ENDS: Duration = Duration::from_secs(10);
/// How long transactions that may have run a tenant's code are waited for; the tenant goes on as it is meanwhile.
const CODE_ENDS: Duration = Duration::from_secs(2);

/// The keys from which the passwords of a cell's logins derive.
#[derive(Debug, Clone)]
pub struct LoginKeys {
    /// Of the provisioners.
    pub provisioner: LoginKey,
    /// Of traffic.
    pub traffic: LoginKey,
}

impl Cell {
    /// A cell that `dialler` leads to. Opens no connection.
    pub fn new(name: InstanceName, dialler: Dialler, keys: LoginKeys, metrics: Metrics) -> Self {
        Self {
            name,
            database: dialler.platform(),
            provisioners: Provisioners::new(dialler.clone(), keys.clone(), metrics),
            logins: Logins::new(keys.provisioner, keys.traffic),
            epoch: OnceLock::new(),
            publications: Mutex::default(),
            dialler,
        }
    }

    /// The name of the instance.
    pub fn name(&self) -> &InstanceName {
        &self.name
    }

    /// How the operator gets here.
    pub fn dialler(&self) -> &Dialler {
        &self.dialler
    }

    /// Connections as `tenantry_operator`.
    pub fn database(&self) -> &PgPool {
        &self.database
    }

    /// Migrates the cell, opens an epoch, from which on an older leader can change nothing here, and makes the logins that are
    /// needed before any tenant. Repeated until it succeeds once: an epoch more does no harm.
    ///
    /// # Errors
    /// When Postgres fails or refuses.
    pub async fn open(&self, holder: &str) -> Result<i64, Error> {
        self.migrate().await?;
        let epoch = leader::open(&self.database, holder).await?;
        self.logins.prepare(&self.database, &self.dialler, epoch).await?;
        Ok(epoch)
    }

    /// Migrates schema `tenantry`.
    async fn migrate(&self) -> Result<(), Error> {
        let pool = self.dialler.platform_migrations();
        let done = killpoint!("platform.migrate", platform::migrate(&pool).await);
        pool.close().await;
        done.map_err(Error::Migration)
    }

    /// Passes may change things here from now on.
    pub fn lead(&self, epoch: i64) {
        let _led_before = self.epoch.set(epoch);
    }

    /// Whether the instance is taken over and answers.
    pub async fn answers(&self) -> bool {
        let ping = sqlx::query_scalar::<_, i32>("SELECT 1").fetch_one(&self.database);
        self.epoch.get().is_some() && matches!(tokio::time::timeout(PING_LIMIT, ping).await, Ok(Ok(_)))
    }

    /// The digest of an app version that is published here.
    pub fn published(&self, app: &AppName, version: &Version) -> Option<String> {
        self.publications().digests.get(&(app.clone(), version.clone())).cloned()
    }

    /// An app version is published here.
    pub fn note_published(&self, app: &AppName, version: &Version, digest: &str) {
        self.publications().digests.insert((app.clone(), version.clone()), digest.to_owned());
    }

    /// An app version is not published here any more.
    pub fn note_withdrawn(&self, app: &AppName, version: &Version) {
        self.publications().digests.remove(&(app.clone(), version.clone()));
    }

    /// The revision of the version that tenants are to have, as the registry here knows it.
    pub fn target(&self, app: &AppName) -> Option<i64> {
        self.publications().targets.get(app).copied()
    }

    /// The registry here knows this revision, or none any more.
    pub fn note_target(&self, app: &AppName, revision: Option<i64>) {
        let mut publications = self.publications();
        match revision {
            Some(revision) => publications.targets.insert(app.clone(), revision),
            None => publications.targets.remove(app),
        };
    }

    fn publications(&self) -> MutexGuard<'_, Publications> {
        self.publications.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The argument of `tenantry.fence` in this cell.
    ///
    /// # Errors
    /// [`Error::Waiting`] while the cell is not taken over yet.
    pub fn epoch(&self) -> Result<i64, Error> {
        self.epoch.get().copied().ok_or_else(|| {
            Error::waiting(
                Reason::BackendUnavailable,
                format!("Postgres instance {} has not answered since this operator leads", self.name),
            )
        })
    }

    /// A transaction as `tenantry_operator` that only the leader can commit.
    ///
    /// # Errors
    /// [`Error::Fenced`] when another operator leads by now.
    pub async fn fenced(&self) -> Result<Transaction<'static, Postgres>, Error> {
        leader::fenced(&self.database, self.epoch()?).await.map_err(|error| error.at(&self.name))
    }

    /// The shard of logins for the tenant with this uid: the one it is `bound` to, else one with room. A tenant that asks
    /// again before it has a row gets the same.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn shard_of(&self, tenant: Uuid, bound: Option<LoginShard>) -> Result<LoginShard, Error> {
        self.logins
            .shard_of(&self.database, self.epoch()?, tenant, bound)
            .await
            .map_err(|error| error.at(&self.name))
    }

    /// Makes all of `changes` for `tenant`, or none of them. Nothing is sent when there are none.
    ///
    /// # Errors
    /// [`Error::Fenced`] when another operator leads by now; [`Error::Blocked`] when rows stand in the way.
    pub async fn apply(&self, shard: LoginShard, tenant: &Identity, changes: &Changes) -> Result<(), Error> {
        self.provisioners
            .apply(shard, tenant, self.epoch()?, changes)
            .await
            .map_err(|error| error.at(&self.name))
    }

    /// Makes sure that nobody who can become another tenant is at work as this one, or can be from now on: what has to hold before
    /// the tenant may hold code of its own. Whether somebody may become the tenant, the database says, and sessions that began before it said so are
    /// waited for, and ended where they take too long.
    ///
    /// # Errors
    /// [`Error::Waiting`] while the tenant shares connections, [`Error::Blocked`] with ForeignGrant where somebody else granted its
    /// role.
    pub async fn shut_shared(&self, shard: LoginShard, tenant: &Identity) -> Result<(), Error> {
        let others: Vec<(String, String)> = sqlx::query_as(
            "SELECT login::text, grantor::text FROM tenantry.may_become($1::text::name, $2::text::name)",
        )
        .bind(tenant.role.as_str())
        .bind(tenant.traffic.as_str())
        .fetch_all(&self.database)
        .await
        .map_err(Error::database("asking who may become the tenant"))?;
        let traffic = shard.traffic();
        if let Some((login, grantor)) = others.iter().find(|(login, _)| login != traffic.as_str()) {
            let message = format!(
                "login {login} may become {}, as granted by {grantor}; revoke that, or the tenant cannot have code of its own: \
                 spec.access with level Owner, migrations",
                tenant.role
            );
            return Err(Error::blocked(Reason::ForeignGrant, message));
        }
        if !others.is_empty() {
            return Err(Error::waiting(
                Reason::WorkPending,
                "the tenant shares connections for a moment longer",
            ));
        }
        self.traffic_has_ended(shard, tenant).await
    }

    /// Whether the tenant's own login is let in: it may have given itself another password.
    pub async fn own_door_opens(&self, tenant: &Identity) -> bool {
        self.logins.lets_in(&self.dialler, &LoginName::of_tenant(&tenant.traffic)).await
    }

    /// Waits for the transactions of those who serve the tenant, who may not any more, and ends those that take too long.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn traffic_has_ended(&self, shard: LoginShard, tenant: &Identity) -> Result<(), Error> {
        let mut older =
            Older::now(&self.database, &[shard.traffic().as_str(), tenant.traffic.as_str()]).await?;
        if !older.end(&self.database, TRAFFIC_ENDS).await? {
            older.terminate(&self.database).await?;
        }
        Ok(())
    }

    /// Waits for the transactions that may have run code of the tenant; whether they have ended.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn code_has_ended(&self, tenant: &Identity) -> Result<bool, Error> {
        let logins = observe::own_logins(&self.database, tenant).await?;
        let logins: Vec<&str> = logins.iter().map(String::as_str).collect();
        Older::now(&self.database, &logins).await?.end(&self.database, CODE_ENDS).await
    }

    /// Makes changes of relations that are there, as the tenant's owner and in a session that can become nobody else.
    ///
    /// # Errors
    /// [`Error::Fenced`] when another operator leads by now.
    pub async fn apply_as_owner(
        &self,
        shard: LoginShard,
        tenant: &Identity,
        objects: &[ObjectChange],
    ) -> Result<(), Error> {
        let migrator = self.open_migrator(shard, tenant).await?;
        let made = async {
            self.fenced().await?.rollback().await.map_err(Error::database("checking the epoch"))?;
            migrator.connect().await?.change(&ddl::objects_script(tenant, objects)).await
        };
        let made = made.await.map_err(|error| in_terms_of_the_tenant(tenant, error));
        let closed = self.close_migrator(shard, tenant).await;
        made.and(closed).map_err(|error| error.at(&self.name))
    }

    /// Makes the login that a tenant's steps run as.
    ///
    /// # Errors
    /// [`Error::Fenced`] when another operator leads by now.
    pub async fn open_migrator(&self, shard: LoginShard, tenant: &Identity) -> Result<Migrator, Error> {
        let leftover = observe::has_role(&self.database, tenant.migrator.as_str()).await?;
        self.provisioners.open_migrator(shard, tenant, self.epoch()?, leftover).await
    }

    /// Ends that login and its sessions.
    ///
    /// # Errors
    /// [`Error::Fenced`] when another operator leads by now.
    pub async fn close_migrator(&self, shard: LoginShard, tenant: &Identity) -> Result<(), Error> {
        self.provisioners.close_migrator(shard, tenant, self.epoch()?).await
    }

    /// Makes all of `changes` to a tenant's direct access, or none of them.
    ///
    /// # Errors
    /// [`Error::Fenced`] when another operator leads by now.
    pub async fn change_access(
        &self,
        shard: LoginShard,
        tenant: &Identity,
        changes: &[AccessChange],
    ) -> Result<(), Error> {
        self.provisioners.change_access(shard, tenant, self.epoch()?, changes).await
    }

    /// Removes what the journals hold of a tenant whose role is gone.
    ///
    /// # Errors
    /// [`Error::Fenced`] when another operator leads by now.
    pub async fn purge_journals(&self, shard: LoginShard, tenant: &Identity) -> Result<(), Error> {
        self.provisioners
            .purge_journals(shard, tenant, self.epoch()?)
            .await
            .map_err(|error| error.at(&self.name))
    }

    /// The tenant has its row: the registry holds its shard from now on.
    pub async fn bound(&self, tenant: Uuid) {
        self.logins.bound(tenant).await;
    }

    /// The tenant is gone, and `shard` is what it was bound to.
    pub async fn released(&self, tenant: Uuid, shard: Option<LoginShard>) {
        self.logins.released(tenant, shard).await;
    }
}
