//! Makes every connection to Postgres, each for a class, which is in its type: SQL of a tenant's owner cannot be handed the session
//! of a provisioner. What a class's session starts with stands here, too.
//!
//! - pools: `tenantry_operator`, for what is the same for all tenants
//! - [`Provisioner`]: the provisioner of a shard, which changes its tenants
//! - [`Owner`]: the migrator of one tenant, with that tenant's owner role and nothing else
//! - [`Administrator`]: who prepares an instance, before there is an operator

use std::{
    fmt,
    marker::PhantomData,
    ops::{Deref, DerefMut},
    str::FromStr,
    time::Duration,
};

use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    ConnectOptions as _, Connection as _, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions, PgSslMode},
};
use tenantry_crds::names::InstanceName;
use tenantry_migrations::{
    logins::{LoginKey, LoginName, LoginShard},
    platform,
};
use tokio::time::{error::Elapsed, timeout};

use super::change::Identity;
use crate::{connect::NoConnection, error::Error};

/// How long opening a connection may take.
const LIMIT: Duration = Duration::from_secs(5);
/// Longer than any change of one tenant takes, short enough that a takeover does not wait long for a frozen leader: it
/// waits for the row lock of the fence.
const PROVISIONER_STATEMENT: &str = "10s";
/// While a change waits for a table, all traffic on it queues behind: it gives up its place soon and comes again.
const PROVISIONER_LOCK: &str = "1s";
/// The server closes a provisioner's session that was idle for so long, ...
const PROVISIONER_IDLE: &str = "60s";
/// ... and this is when we stop trusting it.
pub(super) const TRUST_IDLE: Duration = Duration::from_secs(50);

/// The way into an instance.
#[derive(Debug, Clone)]
pub struct Dialler(PgConnectOptions);

/// The class of a connection as the provisioner of a shard.
#[derive(Debug)]
pub enum Provisioner {}

/// The class of a connection as the migrator of a tenant, which is the tenant's owner.
#[derive(Debug)]
pub enum Owner {}

/// The class of a connection as a database administrator.
#[derive(Debug)]
pub enum Administrator {}

/// A connection of a class.
pub struct Connected<C> {
    connection: PgConnection,
    class: PhantomData<C>,
}

/// The way in as a tenant's migrator.
#[derive(Clone)]
pub(super) struct OwnerLogin(PgConnectOptions);

impl Dialler {
    /// As `url` says, which names `tenantry_operator`. Opens no connection.
    ///
    /// # Errors
    /// When the URL cannot be read.
    pub fn new(instance: &InstanceName, url: &SecretString) -> Result<Self, NoConnection> {
        let options = PgConnectOptions::from_str(url.expose_secret());
        Ok(Self(options.map_err(|_| NoConnection::DatabaseUrl(instance.clone()))?))
    }

    /// Where the server is.
    pub fn address(&self) -> (&str, u16) {
        (self.0.get_host(), self.0.get_port())
    }

    /// How the operator secures its own connections.
    pub fn ssl_mode(&self) -> PgSslMode {
        self.0.get_ssl_mode()
    }

    /// A pool of `tenantry_operator`; connects on demand. A leader that froze holds nothing longer than these limits, so the next
    /// one is held up no longer either.
    pub(super) fn platform(&self) -> PgPool {
        let limits = [
            ("statement_timeout", "10s"),
            ("lock_timeout", "5s"),
            ("idle_in_transaction_session_timeout", "5s"),
            ("search_path", "pg_catalog"),
            // Compiling the look at a tenant takes far longer than the look.
            ("jit", "off"),
        ];
        // Statements that make logins hold verifiers, and sqlx would log a slow one.
        let options =
            self.0.clone().application_name("tenantry-operator").options(limits).disable_statement_logging();
        PgPoolOptions::new()
            .max_connections(8)
            .acquire_timeout(LIMIT)
            .max_lifetime(Duration::from_secs(1800))
            .connect_lazy_with(options)
    }

    /// The same for migrations of schema `tenantry`, whose `search_path` is that schema: the migrator keeps its table there.
    pub(super) fn platform_migrations(&self) -> PgPool {
        let limits =
            [("statement_timeout", "5min"), ("lock_timeout", "30s"), ("search_path", platform::SCHEMA)];
        PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(LIMIT)
            .connect_lazy_with(self.0.clone().application_name("tenantry-operator migrate").options(limits))
    }

    /// A connection as the provisioner of `shard`.
    ///
    /// # Errors
    /// When Postgres does not answer, or refuses.
    pub(super) async fn provisioner(
        &self,
        shard: LoginShard,
        key: &LoginKey,
    ) -> Result<Connected<Provisioner>, Error> {
        let login = shard.provisioner();
        let options = self
            .as_login(&login, &key.password(&login))
            .application_name("tenantry-operator provisioning")
            // Scripts are large, and each is used once.
            .statement_cache_capacity(0)
            .options([
                ("search_path", "pg_catalog"),
                ("statement_timeout", PROVISIONER_STATEMENT),
                ("lock_timeout", PROVISIONER_LOCK),
                ("idle_in_transaction_session_timeout", PROVISIONER_STATEMENT),
                ("idle_session_timeout", PROVISIONER_IDLE),
                ("client_min_messages", "warning"),
                // A server may have it otherwise: whoever makes a role could then become it.
                ("createrole_self_grant", ""),
            ])
            .disable_statement_logging();
        open(&options, "connecting as a provisioner").await
    }

    /// The way in as the migrator of `tenant`.
    pub(super) fn owner(&self, tenant: &Identity, password: &SecretString) -> OwnerLogin {
        let options = self
            .0
            .clone()
            .application_name("tenantry-operator migrating")
            .statement_cache_capacity(0)
            .username(tenant.migrator.as_str())
            .password(password.expose_secret())
            .options([
                // What `RESET ROLE` leads back to.
                ("role", tenant.owner.as_str()),
                ("search_path", "pg_catalog"),
                ("idle_in_transaction_session_timeout", "60s"),
                ("idle_session_timeout", "60s"),
                ("client_min_messages", "warning"),
            ])
            .disable_statement_logging();
        OwnerLogin(options)
    }

    /// Whether `login` is let in with `password`: what the server says. Nothing runs in that session.
    pub(super) async fn knock(
        &self,
        login: &LoginName,
        password: &SecretString,
    ) -> Result<sqlx::Result<()>, Elapsed> {
        let opened = timeout(LIMIT, PgConnection::connect_with(&self.as_login(login, password))).await?;
        let Ok(connection) = opened else { return Ok(opened.map(drop)) };
        // Not worth an answer: it was let in.
        let _closed = timeout(LIMIT, connection.close()).await;
        Ok(Ok(()))
    }

    fn as_login(&self, login: &LoginName, password: &SecretString) -> PgConnectOptions {
        self.0.clone().username(login.as_str()).password(password.expose_secret())
    }
}

impl OwnerLogin {
    /// A session for the tenant's own SQL, and for steps.
    ///
    /// # Errors
    /// When Postgres does not answer, or refuses.
    pub async fn connect(&self) -> Result<Connected<Owner>, Error> {
        self.open(self.0.clone()).await
    }

    /// A session that moves rows: it may take as long as `limit`, and waits for no lock for long.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn transfer(&self, limit: Duration) -> Result<Connected<Owner>, Error> {
        let options = self.0.clone().application_name("tenantry-operator snapshot").options([
            ("statement_timeout", format!("{}s", limit.as_secs())),
            ("lock_timeout", "10s".to_owned()),
            ("idle_in_transaction_session_timeout", "120s".to_owned()),
            // A policy that hides rows fails the export instead of shortening it.
            ("row_security", "off".to_owned()),
            ("timezone", "UTC".to_owned()),
            ("datestyle", "ISO".to_owned()),
            ("intervalstyle", "iso_8601".to_owned()),
            ("bytea_output", "hex".to_owned()),
            ("extra_float_digits", "1".to_owned()),
        ]);
        self.open(options).await
    }

    async fn open(&self, options: PgConnectOptions) -> Result<Connected<Owner>, Error> {
        open(&options, "connecting as the tenant's migrator").await
    }
}

/// A connection as `options` say, which are those of an administrator. The caller bounds the time.
///
/// # Errors
/// When Postgres does not answer, or refuses.
pub async fn administrator(options: PgConnectOptions) -> sqlx::Result<Connected<Administrator>> {
    let options = options.application_name("tenantry-operator bootstrap");
    PgConnection::connect_with(&options).await.map(Connected::new)
}

async fn open<C>(options: &PgConnectOptions, doing: &'static str) -> Result<Connected<C>, Error> {
    timeout(LIMIT, PgConnection::connect_with(options))
        .await
        .map_err(|_| Error::Timeout { doing, limit: LIMIT })?
        .map(Connected::new)
        .map_err(Error::database(doing))
}

impl<C> Connected<C> {
    fn new(connection: PgConnection) -> Self {
        Self { connection, class: PhantomData }
    }

    /// Says goodbye to the server.
    ///
    /// # Errors
    /// When the connection broke.
    pub async fn close(self) -> sqlx::Result<()> {
        self.connection.close().await
    }
}

impl<C> Deref for Connected<C> {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl<C> DerefMut for Connected<C> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

impl<C> fmt::Debug for Connected<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connected").field("class", &std::any::type_name::<C>()).finish_non_exhaustive()
    }
}

impl fmt::Debug for OwnerLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnerLogin").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        fs,
        path::{Path, PathBuf},
    };

    /// What opens a connection.
    const WAYS: [&str; 7] = [
        "PgPoolOptions",
        "PgListener",
        "PgConnection::connect",
        "PgPool::connect",
        ".connect_with(",
        ".connect_lazy",
        "TcpStream::connect",
    ];

    /// What says how.
    const OPTIONS: &str = "PgConnectOptions";

    /// Where both may be: what is the same for every tenant, and tenants' traffic.
    const MADE_IN: [&str; 3] = [
        "operator/src/backend/postgres/dial.rs",
        "controlplane/src/database.rs",
        "controlplane/src/postgres/dial.rs",
    ];

    /// Who reads a URL: to compare the administrator's to that of the instance, and to learn where tenants' traffic goes.
    const READ_IN: [&str; 2] = ["controlplane/src/postgres/address.rs", "operator/src/bootstrap.rs"];

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let of_tests =
                name == "tests" || name.ends_with("_tests") || name == "fixture" || name == "on_servers";
            if path.is_dir() && !of_tests {
                sources(&path, found);
            } else if path.extension().is_some_and(|kind| kind == "rs") && !of_tests {
                found.push(path);
            }
        }
    }

    #[test]
    fn every_connection_is_made_by_a_dialler() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut found = Vec::new();
        for program in ["operator/src", "controlplane/src"] {
            sources(&root.join(program), &mut found);
        }
        assert!(found.len() > 200, "{}", found.len());
        let (mut makers, mut readers) = (BTreeSet::new(), BTreeSet::new());
        for path in found {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let path = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if WAYS.iter().any(|way| code.contains(way)) {
                makers.insert(path);
            } else if code.contains(OPTIONS) {
                readers.insert(path);
            }
        }
        assert_eq!(makers, BTreeSet::from(MADE_IN.map(str::to_owned)), "who opens connections");
        assert_eq!(readers, BTreeSet::from(READ_IN.map(str::to_owned)), "who else says how");
    }
}
