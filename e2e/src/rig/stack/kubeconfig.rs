use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::rig::RigError;

/// How an administrator reaches the API server.
#[derive(Clone)]
pub struct Kubeconfig {
    pub url: String,
    /// The server's certificate followed by the authority that signed it.
    pub certificate: PathBuf,
    pub token: String,
}

impl Kubeconfig {
    /// Writes a kubeconfig file, readable by this user only. JSON, which every YAML reader takes.
    pub fn write(&self, path: &Path) -> Result<(), RigError> {
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "tenantry",
            "contexts": [{"name": "tenantry", "context": {"cluster": "tenantry", "user": "admin"}}],
            "clusters": [{
                "name": "tenantry",
                "cluster": {"server": self.url, "certificate-authority": self.certificate},
            }],
            "users": [{"name": "admin", "user": {"token": self.token}}],
        });
        File::options()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
            .and_then(|mut file| writeln!(file, "{config:#}"))
            .map_err(RigError::io("writing", path))
    }
}
