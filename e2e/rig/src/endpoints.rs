//! How to reach a running stack: in memory, and as the env file that shells, tests and other programs read.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use crate::RigError;

/// The environment variable that names the env file of a running stack to attach to.
pub const RIG_ENV: &str = "TENANTRY_RIG_ENV";

/// Addresses and credentials of a stack. `Debug` shows no credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// A kubeconfig of a cluster administrator.
    pub kubeconfig: PathBuf,
    /// The platform database as PostgreSQL's superuser.
    pub database_url: String,
    /// Redis, with its password.
    pub redis_url: String,
    /// Meilisearch.
    pub meili_url: String,
    /// Meilisearch's master key.
    pub meili_master_key: String,
    /// `PATH` with kubectl and helm.
    pub path: String,
    /// Variables of the programs that run on the stack, as whoever starts them adds them; the rig does not know their meaning.
    pub programs: BTreeMap<String, String>,
    /// The second instances of a private stack; the env file does not have them.
    pub second: Option<SecondInstance>,
}

/// The name of the second instances.
pub const SECOND: &str = "east";

/// Addresses and credentials of a second PostgreSQL, Redis and Meilisearch.
#[derive(Clone, PartialEq, Eq)]
pub struct SecondInstance {
    /// The database as PostgreSQL's superuser.
    pub database_url: String,
    /// Redis, with its password.
    pub redis_url: String,
    /// Meilisearch.
    pub meili_url: String,
    /// Meilisearch's master key.
    pub meili_master_key: String,
}

impl Endpoints {
    fn variables(&self) -> impl Iterator<Item = (&str, String)> {
        let required = [
            ("KUBECONFIG", self.kubeconfig.display().to_string()),
            ("DATABASE_URL", self.database_url.clone()),
            ("REDIS_URL", self.redis_url.clone()),
            ("MEILI_URL", self.meili_url.clone()),
            ("MEILI_MASTER_KEY", self.meili_master_key.clone()),
            ("PATH", self.path.clone()),
        ];
        let programs = self.programs.iter().map(|(key, value)| (key.as_str(), value.clone()));
        required.into_iter().chain(programs)
    }

    /// The env file: `KEY=value` lines that any reader of such files takes, and one `export` line at the end, so that
    /// `. .rig/env` in a shell is enough for the programs started from it.
    pub fn to_env(&self) -> String {
        let mut text = String::new();
        let mut names = String::new();
        for (key, value) in self.variables() {
            text.push_str(&format!("{key}={}\n", quoted(&value)));
            names.push_str(&format!(" {key}"));
        }
        format!("{text}export{names}\n")
    }

    /// Writes the env file, readable by this user only; a reader never sees half of it.
    pub fn write(&self, path: &Path) -> Result<(), RigError> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;

        let partial = path.with_extension("partial");
        let mut file = std::fs::File::options()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&partial)
            .map_err(RigError::io("creating", &partial))?;
        file.write_all(self.to_env().as_bytes()).map_err(RigError::io("writing", &partial))?;
        std::fs::rename(&partial, path).map_err(RigError::io("moving into place", path))
    }

    /// Reads an env file written by [`Endpoints::write`].
    pub fn read(path: &Path) -> Result<Self, RigError> {
        let text = std::fs::read_to_string(path).map_err(RigError::io("reading", path))?;
        Self::parse(&text).map_err(|reason| RigError::EnvFile { path: path.to_owned(), reason })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut values: BTreeMap<&str, String> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key, unquoted(value)))
            .collect();
        let mut required = |key: &str| values.remove(key).ok_or(format!("{key} is missing"));
        Ok(Self {
            kubeconfig: PathBuf::from(required("KUBECONFIG")?),
            database_url: required("DATABASE_URL")?,
            redis_url: required("REDIS_URL")?,
            meili_url: required("MEILI_URL")?,
            meili_master_key: required("MEILI_MASTER_KEY")?,
            path: required("PATH")?,
            programs: values.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            second: None,
        })
    }

    /// A Kubernetes client for the administrator.
    pub async fn kube_client(&self) -> Result<kube::Client, RigError> {
        use kube::config::{KubeConfigOptions, Kubeconfig};

        install_crypto();
        let failed = |what| move |error| RigError::Kubernetes { what, source: error };
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig)
            .map_err(Box::from)
            .map_err(failed("reading the kubeconfig"))?;
        let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .map_err(Box::from)
            .map_err(failed("using the kubeconfig"))?;
        config.connect_timeout = Some(Duration::from_secs(5));
        kube::Client::try_from(config).map_err(Box::from).map_err(failed("making a client"))
    }
}

/// The HTTP client of tests and probes, with a timeout. It keeps no connections: each test has a runtime of its own, and a
/// connection ends with the runtime that opened it.
///
/// There is one, because making a client reads all certificates of the machine, which takes longer than a request.
pub fn http_client() -> Result<reqwest::Client, RigError> {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    if let Some(client) = CLIENT.get() {
        return Ok(client.clone());
    }
    let client = http_client_builder().pool_max_idle_per_host(0).build()?;
    Ok(CLIENT.get_or_init(|| client).clone())
}

/// An HTTP client that keeps its connections, for one user of one runtime.
pub fn http_client_with_connections() -> Result<reqwest::Client, RigError> {
    Ok(http_client_builder().build()?)
}

fn http_client_builder() -> reqwest::ClientBuilder {
    install_crypto();
    reqwest::Client::builder().timeout(Duration::from_secs(10))
}

/// Both HTTP stacks leave the choice of rustls' cryptography to the process.
pub(crate) fn install_crypto() {
    // An error means that it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoints")
            .field("kubeconfig", &self.kubeconfig)
            .field("meili_url", &self.meili_url)
            .finish_non_exhaustive()
    }
}

/// Bare where every reader agrees on the meaning, in single quotes otherwise.
fn quoted(value: &str) -> String {
    if value.chars().all(|c| c.is_ascii_alphanumeric() || "/:@._-,+=%".contains(c)) {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', r"'\''"))
    }
}

fn unquoted(value: &str) -> String {
    match value.strip_prefix('\'').and_then(|value| value.strip_suffix('\'')) {
        Some(inside) => inside.replace(r"'\''", "'"),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints() -> Endpoints {
        Endpoints {
            kubeconfig: PathBuf::from("/tmp/it's here/admin.kubeconfig"),
            database_url: "postgres://postgres:abc@127.0.0.1:5000/tenantry".to_owned(),
            redis_url: "redis://:abc@127.0.0.1:5001/0".to_owned(),
            meili_url: "http://127.0.0.1:5002".to_owned(),
            meili_master_key: "k".to_owned(),
            path: "/a/bin:/usr/bin".to_owned(),
            programs: [("TENANTRY", "/target/debug/x"), ("TENANTRY__AUTH__ISSUER", "it is")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            second: None,
        }
    }

    #[test]
    fn an_env_file_reads_back_as_it_was_written() {
        assert_eq!(Endpoints::parse(&endpoints().to_env()).unwrap(), endpoints());
    }

    #[test]
    fn a_shell_exports_every_value_of_the_env_file() {
        let script = format!("{}env", endpoints().to_env());
        let output =
            std::process::Command::new("/bin/sh").args(["-c", &script]).env_clear().output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        for (key, value) in endpoints().variables() {
            assert!(printed.lines().any(|line| line == format!("{key}={value}")), "{key} in\n{printed}");
        }
    }

    #[test]
    fn says_which_variable_is_missing() {
        assert_eq!(Endpoints::parse("KUBECONFIG=/a\n").unwrap_err(), "DATABASE_URL is missing");
    }

    #[test]
    fn debug_shows_no_credentials() {
        let shown = format!("{:?}", endpoints());
        assert!(!shown.contains("abc"), "{shown}");
    }
}
