use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{Endpoints, RigError};

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
        write_private(path, &config)
    }
}

impl Endpoints {
    /// Writes a kubeconfig for another account, known by its bearer token (as `kubectl create token` prints it).
    pub fn write_kubeconfig(&self, token: &str, path: &Path) -> Result<(), RigError> {
        let text =
            std::fs::read_to_string(&self.kubeconfig).map_err(RigError::io("reading", &self.kubeconfig))?;
        let mut config: Value = serde_json::from_str(&text).map_err(|source| RigError::Kubernetes {
            what: "reading the kubeconfig",
            source: source.into(),
        })?;
        config["users"][0]["user"] = json!({"token": token.trim()});
        write_private(path, &config)
    }
}

fn write_private(path: &Path, config: &Value) -> Result<(), RigError> {
    File::options()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| writeln!(file, "{config:#}"))
        .map_err(RigError::io("writing", path))
}
