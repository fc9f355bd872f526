use std::time::Duration;

use tokio::process::Command;

use crate::process::captured;
use crate::{Endpoints, RigError};

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
}
