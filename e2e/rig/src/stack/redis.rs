use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use super::secret;
use crate::RigError;
use crate::process::{Launch, Plan, Probe, Sandbox, Server, Signal, ports};

/// Starts Redis (or Valkey) as production has it: append-only file, never evicting; yields its URL.
pub async fn start(sandbox: &Arc<Sandbox>, program: &Path) -> Result<(Server, String), RigError> {
    let password = secret();
    let folder = sandbox.subfolder("redis", None)?;
    Server::launch(sandbox, || {
        let [port] = ports::free()?;
        // A file and not arguments: everybody on the machine can read the arguments of a process.
        let config = folder.join(format!("redis-{port}.conf"));
        File::options()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&config)
            .and_then(|mut file| file.write_all(configuration(port, &folder, &password).as_bytes()))
            .map_err(RigError::io("writing", &config))?;
        let launch = Launch::new("redis", program).args([config]);
        let url = format!("redis://:{password}@127.0.0.1:{port}/0");
        Ok((Plan { launch, graceful: Signal::TERM, probe: probe(url.clone()) }, url))
    })
    .await
}

fn configuration(port: u16, folder: &Path, password: &str) -> String {
    format!(
        "bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir \"{}\"\nsave \"\"\nappendonly yes\n\
         appendfsync everysec\nmaxmemory-policy noeviction\ndaemonize no\n",
        folder.display()
    )
}

fn probe(url: String) -> Probe {
    Box::new(move || {
        let url = url.clone();
        Box::pin(async move {
            let said = |error: redis::RedisError| error.to_string();
            let client = redis::Client::open(url).map_err(said)?;
            let mut connection = client.get_multiplexed_async_connection().await.map_err(said)?;
            redis::cmd("PING").exec_async(&mut connection).await.map_err(said)
        })
    })
}
