use std::path::Path;
use std::sync::Arc;

use super::{answers_ok, secret};
use crate::RigError;
use crate::endpoints::http_client;
use crate::process::{Launch, Plan, Probe, Sandbox, Server, Signal, ports};

/// Starts Meilisearch; yields its URL and master key.
pub async fn start(sandbox: &Arc<Sandbox>, program: &Path) -> Result<(Server, (String, String)), RigError> {
    let key = secret();
    let http = http_client()?;
    Server::launch(sandbox, || {
        let [port] = ports::free()?;
        let folder = sandbox.subfolder(&format!("meilisearch-{port}"), None)?;
        let launch = Launch::new("meilisearch", program)
            .args(["--http-addr", &format!("127.0.0.1:{port}"), "--no-analytics"])
            // Its defaults, two thirds of the memory and half the cores, slow small writes 13 times on two cores.
            .args(["--max-indexing-memory", "200MiB", "--max-indexing-threads", "1"])
            .args(["--db-path"])
            .args([folder.join("data.ms")])
            .args(["--dump-dir"])
            .args([folder.join("dumps")])
            .args(["--snapshot-dir"])
            .args([folder.join("snapshots")])
            .env("MEILI_MASTER_KEY", &key);
        let url = format!("http://127.0.0.1:{port}");
        // A route that needs the key: `/health` would answer on a stranger's server too.
        let version = http.get(format!("{url}/version")).bearer_auth(&key);
        let probe: Probe = Box::new(move || {
            let request = version.try_clone();
            Box::pin(async move { answers_ok(request).await })
        });
        Ok((Plan { launch, graceful: Signal::TERM, probe }, (url, key.clone())))
    })
    .await
}
