//! Connections to the Kubernetes API; those to Postgres are made by [`crate::backend::postgres::dial`].

use std::time::Duration;

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tenantry_config::settings;
use tenantry_crds::names::InstanceName;

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
