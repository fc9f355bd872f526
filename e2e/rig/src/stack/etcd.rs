use std::path::Path;
use std::sync::Arc;

use crate::RigError;
use crate::endpoints::http_client;
use crate::process::{Launch, Plan, Probe, Sandbox, Server, Signal, ports};

/// Starts etcd; yields the URL for its clients.
pub async fn start(
    sandbox: &Arc<Sandbox>,
    program: &Path,
    durable: bool,
) -> Result<(Server, String), RigError> {
    let http = http_client()?;
    Server::launch(sandbox, || {
        let [client, peer] = ports::free()?;
        let data = sandbox.subfolder(&format!("etcd-{client}"), None)?;
        let client_url = format!("http://127.0.0.1:{client}");
        let peer_url = format!("http://127.0.0.1:{peer}");
        let mut launch = Launch::new("etcd", program)
            .args(["--name", "rig", "--log-level", "warn", "--data-dir"])
            .args([data])
            .args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url])
            .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
            .args(["--initial-cluster", &format!("rig={peer_url}")]);
        if !durable {
            launch = launch.args(["--unsafe-no-fsync"]);
        }
        let health = http.get(format!("{client_url}/health"));
        let probe: Probe = Box::new(move || {
            let request = health.try_clone();
            Box::pin(async move { super::answers_ok(request).await })
        });
        Ok((Plan { launch, graceful: Signal::TERM, probe }, client_url))
    })
    .await
}
