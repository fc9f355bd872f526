//! The client of the Kubernetes API, made when it is first needed.

use std::{path::PathBuf, time::Duration};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tenantry_config::settings;
use tokio::sync::OnceCell;

use crate::error::{ApiError, Code};

const CONNECT_LIMIT: Duration = Duration::from_secs(3);
const ANSWER_LIMIT: Duration = Duration::from_secs(8);

/// The Kubernetes API, if there is one.
pub struct Cluster {
    kubeconfig: Option<PathBuf>,
    client: OnceCell<Client>,
}

/// No client could be made.
#[derive(Debug, thiserror::Error)]
enum NoCluster {
    #[error("reading the kubeconfig")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    #[error("looking for a cluster")]
    Infer(#[from] kube::config::InferConfigError),
    #[error("making the client")]
    Client(#[from] kube::Error),
}

impl Cluster {
    /// The cluster that the settings name; nothing is read yet.
    pub fn new(settings: &settings::Kube) -> Self {
        Self { kubeconfig: settings.kubeconfig.clone(), client: OnceCell::new() }
    }

    /// The client.
    ///
    /// # Errors
    /// 503 when no cluster is configured. The next call looks again.
    pub(super) async fn client(&self) -> Result<&Client, ApiError> {
        self.client.get_or_try_init(|| self.connect()).await.map_err(|error| {
            ApiError::new(Code::Unavailable, "no Kubernetes cluster is configured for this server")
                .hint("tenants are also made with kubectl apply")
                .caused_by(error)
        })
    }

    async fn connect(&self) -> Result<Client, NoCluster> {
        let mut config = match &self.kubeconfig {
            Some(path) => {
                let options = KubeConfigOptions::default();
                Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &options).await?
            }
            None => Config::infer().await?,
        };
        config.connect_timeout = Some(CONNECT_LIMIT);
        config.read_timeout = Some(ANSWER_LIMIT);
        config.write_timeout = Some(ANSWER_LIMIT);
        Ok(Client::try_from(config)?)
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("kubeconfig", &self.kubeconfig).finish_non_exhaustive()
    }
}
