use std::path::PathBuf;
use std::sync::Arc;

use super::secret;
use crate::RigError;
use crate::process::{Launch, Plan, Probe, Sandbox, Server, Signal, ports};
use crate::toolchain::Toolchain;

/// A bucket on an S3 server, with its keys. It lives as long as the value.
#[derive(Debug)]
pub struct Bucket {
    /// `http://HOST:PORT`.
    pub endpoint: String,
    /// The bucket.
    pub name: &'static str,
    /// The access key's id.
    pub access_key_id: String,
    /// The access key's secret.
    pub secret_access_key: String,
    /// The files behind the bucket.
    pub folder: PathBuf,
    server: Server,
}

impl Bucket {
    /// The server, to break it.
    pub fn server(&self) -> &Server {
        &self.server
    }
}

/// Starts an S3 server whose only bucket is a folder.
pub async fn start(sandbox: &Arc<Sandbox>) -> Result<Bucket, RigError> {
    const NAME: &str = "snapshots";
    let program = Toolchain::ensure_versitygw().await?;
    let (id, key) = (secret(), secret());
    let root = sandbox.subfolder("versitygw", None)?;
    let folder = root.join("data").join(NAME);
    let attributes = root.join("attributes");
    for wanted in [&folder, &attributes] {
        std::fs::create_dir_all(wanted).map_err(RigError::io("creating", wanted))?;
    }
    let (server, endpoint) = Server::launch(sandbox, || {
        let [port] = ports::free()?;
        let address = format!("127.0.0.1:{port}");
        let launch = Launch::new("versitygw", &program)
            .args(["--port", &address, "posix", "--sidecar"])
            .args([&attributes])
            .args([root.join("data")])
            .env("ROOT_ACCESS_KEY", &id)
            .env("ROOT_SECRET_KEY", &key);
        let probe: Probe = Box::new({
            let address = address.clone();
            move || {
                let address = address.clone();
                Box::pin(async move {
                    tokio::net::TcpStream::connect(address)
                        .await
                        .map(|_| ())
                        .map_err(|error| error.to_string())
                })
            }
        });
        Ok((Plan { launch, graceful: Signal::TERM, probe }, format!("http://{address}")))
    })
    .await?;
    Ok(Bucket { endpoint, name: NAME, access_key_id: id, secret_access_key: key, folder, server })
}
