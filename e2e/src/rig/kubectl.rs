use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::{Endpoints, RigError};

/// How long one command may take; longer than the `--timeout` of any `kubectl wait` in tests.
const LIMIT: Duration = Duration::from_secs(180);

impl Endpoints {
    /// Runs kubectl, helm or another program with this stack's environment; yields what it printed on standard output.
    pub async fn run(&self, program: &str, args: &[&str]) -> Result<String, RigError> {
        let mut command = Command::new(program);
        command.args(args).env("PATH", &self.path).env("KUBECONFIG", &self.kubeconfig);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let what = || format!("{program} {}", args.join(" "));
        let output = tokio::time::timeout(LIMIT, command.output())
            .await
            .map_err(|_| RigError::Timeout { what: what(), waited: LIMIT, last: "still running".to_owned() })?
            .map_err(|source| RigError::Spawn { name: what(), source })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let output_text = [output.stdout, output.stderr].concat();
        Err(RigError::Command {
            command: what(),
            status: output.status,
            output: String::from_utf8_lossy(&output_text).into_owned(),
        })
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
}

/// A file of the checkout that this crate was built from.
fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
