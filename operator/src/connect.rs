//! Connections that are the same for all tenants: the Kubernetes API twice, and Postgres as `tenantry_operator`.

use std::{str::FromStr, time::Duration};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    ConnectOptions as _, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tenantry_config::settings;
use tenantry_crds::names::InstanceName;
use tenantry_migrations::platform;

use crate::{error::Error, killpoint::killpoint};

/// A client that watches cannot have the deadlines that every other call must have.
#[derive(Clone)]
pub struct Clients {
    /// For watches. Its reads end after any watch was closed by the server, so only a dead connection meets the limit.
    pub watch: Client,
    /// For everything else. Without retries of its own: kube's default sleeps for minutes before an error surfaces.
    pub write: Client,
}

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const READ_LIMIT: Duration = Duration::from_secs(10);
/// The API server closes a watch after 290 s, as the watcher asks it to.
const WATCH_LIMIT: Duration = Duration::from_secs(330);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum NoConnection {
    /// The kubeconfig or the in-cluster account cannot be used.
    #[error("the Kubernetes API cannot be used: check kube.kubeconfig, or the service account")]
    Kubernetes(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The URL of an instance is none of a Postgres database. The cause would show the password.
    #[error(
        "the URL of Postgres instance {0} is not of the form postgres://USER:PASSWORD@HOST:PORT/DATABASE"
    )]
    DatabaseUrl(InstanceName),
}

/// Connects to the Kubernetes API.
///
/// # Errors
/// When the configuration cannot be used; nothing is sent yet.
pub async fn kubernetes(settings: &settings::Kube) -> Result<Clients, NoConnection> {
    let wrong = |error: Box<dyn std::error::Error + Send + Sync>| NoConnection::Kubernetes(error);
    let mut config = match &settings.kubeconfig {
        Some(file) => {
            let kubeconfig = Kubeconfig::read_from(file).map_err(|e| wrong(e.into()))?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .map_err(|e| wrong(e.into()))?
        }
        None => Config::infer().await.map_err(|e| wrong(e.into()))?,
    };
    config.connect_timeout = Some(CONNECT_LIMIT);
    let mut watch = config.clone();
    watch.read_timeout = Some(WATCH_LIMIT);
    config.read_timeout = Some(READ_LIMIT);
    config.reset_reader_on_write = true;
    config.default_retry = false;
    Ok(Clients {
        watch: Client::try_from(watch).map_err(|e| wrong(e.into()))?,
        write: Client::try_from(config).map_err(|e| wrong(e.into()))?,
    })
}

/// How the operator's login connects.
///
/// # Errors
/// When the URL cannot be read.
pub fn database_options(
    instance: &InstanceName,
    url: &SecretString,
) -> Result<PgConnectOptions, NoConnection> {
    PgConnectOptions::from_str(url.expose_secret()).map_err(|_| NoConnection::DatabaseUrl(instance.clone()))
}

/// A pool of `tenantry_operator`; connects on demand. A leader that froze holds nothing longer than these limits, so the next
/// one is held up no longer either.
pub fn database(options: &PgConnectOptions) -> PgPool {
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
        options.clone().application_name("tenantry-operator").options(limits).disable_statement_logging();
    PgPoolOptions::new()
        .max_connections(8)
        .acquire_timeout(CONNECT_LIMIT)
        .max_lifetime(Duration::from_secs(1800))
        .connect_lazy_with(options)
}

/// Migrates schema `tenantry`, over a connection whose `search_path` is that schema: the migrator keeps its table there.
///
/// # Errors
/// When a migration fails or has changed.
pub async fn migrate(options: &PgConnectOptions) -> Result<(), Error> {
    let limits = [("statement_timeout", "5min"), ("lock_timeout", "30s"), ("search_path", platform::SCHEMA)];
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(CONNECT_LIMIT)
        .connect_lazy_with(options.clone().application_name("tenantry-operator migrate").options(limits));
    let done = killpoint!("platform.migrate", platform::migrate(&pool).await);
    pool.close().await;
    done.map_err(Error::Migration)
}
