use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use super::process::captured;
use super::{Endpoints, RigError};

/// How long one command may take; longer than the `--timeout` of any `kubectl wait` in tests.
const LIMIT: Duration = Duration::from_secs(180);

impl Endpoints {
    /// Runs kubectl, helm or another program with this stack's environment; yields what it printed on standard output.
    pub async fn run(&self, program: &str, args: &[&str]) -> Result<String, RigError> {
        let mut command = Command::new(program);
        command.args(args).env("PATH", &self.path).env("KUBECONFIG", &self.kubeconfig);
        captured(format!("{program} {}", args.join(" ")), LIMIT, command).await
    }

    /// Runs kubectl as the cluster's administrator.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String, RigError> {
        self.run("kubectl", args).await
    }

    /// Applies the checked-in CustomResourceDefinitions and waits until the API serves them.
    pub async fn apply_crds(&self) -> Result<(), RigError> {
        let folder = in_repository("crds/generated").display().to_string();
        self.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &folder]).await?;
        self.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "-f", &folder]).await?;
        Ok(())
    }

    /// Applies the sample manifests.
    pub async fn apply_samples(&self) -> Result<(), RigError> {
        let folder = in_repository("config/samples").display().to_string();
        self.kubectl(&["apply", "--server-side", "-f", &folder]).await.map(|_| ())
    }

    /// Waits until all of the samples are Ready.
    pub async fn samples_are_ready(&self) -> Result<(), RigError> {
        let folder = in_repository("config/samples").display().to_string();
        self.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "-f", &folder]).await.map(|_| ())
    }
}

/// A file of the checkout that this crate was built from.
fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
