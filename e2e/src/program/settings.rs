use std::collections::BTreeMap;
use std::path::PathBuf;

use tenantry_rig::endpoints::{SECOND, SecondInstance};
use tenantry_rig::{Endpoints, RigError};

use crate::credentials::{Credentials, with_login};

/// What a program gets that differs from the stack's usual settings.
#[derive(Debug, Clone, Default)]
pub struct ProgramOptions {
    /// Another account than the cluster's administrator, for example a ServiceAccount's.
    pub kubeconfig: Option<PathBuf>,
    /// Another database than the platform's, as superuser.
    pub database_url: Option<String>,
    /// Settings by their environment variable, as in `("TENANTRY__RECONCILE__CONCURRENCY", "2")`; they win.
    pub settings: Vec<(String, String)>,
    /// Nobody watches what the operator writes: for measurements.
    pub unobserved: bool,
    /// The folder of another build's programs.
    pub programs: Option<PathBuf>,
}

/// Sections that only the operator has; another program refuses what it does not know.
const OPERATOR_SECTIONS: &[&str] =
    &["TENANTRY__LEADER__", "TENANTRY__RECONCILE__", "TENANTRY__SNAPSHOTS__", "TENANTRY__ACCESS__"];

/// Settings that only the control plane has, by how they begin.
const CONTROL_PLANE_SECTIONS: &[&str] = &[
    "TENANTRY__HTTP__",
    "TENANTRY__LIMITS__",
    "TENANTRY__AUTH__",
    "TENANTRY__WORKER__",
    "TENANTRY__KEYRING__",
    "TENANTRY__DATABASE__CONNECTIONS_PER_SHARD",
    "TENANTRY__DATABASE__DEDICATED_CONNECTIONS",
    "TENANTRY__DATABASE__SLICE_MILLISECONDS",
    "TENANTRY__DATABASE__SLOW_CONNECTIONS",
    "TENANTRY__DATABASE__STATEMENT_TIMEOUT_MILLISECONDS",
];

/// The environment variables of one program.
#[derive(Clone)]
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    /// For `tenantry-operator run`.
    pub fn operator(endpoints: &Endpoints, options: &ProgramOptions) -> Result<Self, RigError> {
        let credentials = Credentials::of(endpoints);
        let login = Some(("tenantry_operator", credentials.operator_password.as_str()));
        let url = with_login(superuser_url(endpoints, options), login)?;
        Ok(Self::common(endpoints, options, login)?
            .with("TENANTRY__DATABASE__URL", url)
            .with("TENANTRY__DATABASE__PROVISIONER_KEY", credentials.provisioner_key)
            .with("TENANTRY__DATABASE__TRAFFIC_KEY", credentials.traffic_key)
            .with("TENANTRY__ACCESS__SECRET_NAMESPACES", r#"["*"]"#)
            .overridden(options)
            .without(CONTROL_PLANE_SECTIONS))
    }

    /// For `tenantry-operator bootstrap`.
    pub fn bootstrap(endpoints: &Endpoints, options: &ProgramOptions) -> Result<Self, RigError> {
        Ok(Self::operator(endpoints, options)?
            .with("TENANTRY_ADMIN_DATABASE_URL", superuser_url(endpoints, options)))
    }

    /// The same for the second Postgres instance.
    pub fn bootstrap_second(
        endpoints: &Endpoints,
        second: &SecondInstance,
        options: &ProgramOptions,
    ) -> Result<Self, RigError> {
        Ok(Self::operator(endpoints, options)?.with("TENANTRY_ADMIN_DATABASE_URL", &second.database_url))
    }

    /// For `tenantry-controlplane serve`, `work` and `token`.
    pub fn control_plane(endpoints: &Endpoints, options: &ProgramOptions) -> Result<Self, RigError> {
        let credentials = Credentials::of(endpoints);
        Ok(Self::common(endpoints, options, None)?
            .with("TENANTRY__DATABASE__URL", with_login(superuser_url(endpoints, options), None)?)
            .with("TENANTRY__DATABASE__TRAFFIC_KEY", credentials.traffic_key)
            .with("TENANTRY__AUTH__HS256_SECRET", credentials.hs256_secret)
            .with("TENANTRY__AUTH__KEYS_FOLDER", Credentials::keys_folder(endpoints)?.display().to_string())
            // A debug build takes its time for each pass over memory, and webhooks of tests are on this machine.
            .with("TENANTRY__AUTH__ARGON2__MEMORY_KIB", "256")
            .with("TENANTRY__AUTH__ARGON2__ITERATIONS", "1")
            .with("TENANTRY__AUTH__PRIVATE_NETWORKS", r#"["127.0.0.0/8"]"#)
            // All tests and all load come from one address. Counted all the same, as it costs.
            .with("TENANTRY__LIMITS__ADDRESS_PER_MINUTE", "60000000")
            .overridden(options)
            .without(OPERATOR_SECTIONS))
    }

    /// `login` is what the program connects to Postgres as, where it does not derive that.
    fn common(
        endpoints: &Endpoints,
        options: &ProgramOptions,
        login: Option<(&str, &str)>,
    ) -> Result<Self, RigError> {
        let kubeconfig = options.kubeconfig.as_ref().unwrap_or(&endpoints.kubeconfig);
        let settings = Self(BTreeMap::new())
            .with("TENANTRY__REDIS__URL", &endpoints.redis_url)
            .with("TENANTRY__SEARCH__URL", &endpoints.meili_url)
            .with("TENANTRY__SEARCH__MASTER_KEY", &endpoints.meili_master_key)
            .with("TENANTRY__KUBE__KUBECONFIG", kubeconfig.display().to_string())
            .with("TENANTRY__LOG__FORMAT", "text");
        let Some(second) = &endpoints.second else { return Ok(settings) };
        let key = |backend: &str, field: &str| {
            format!("TENANTRY__INSTANCES__{backend}__{}__{field}", SECOND.to_uppercase())
        };
        Ok(settings
            .with(key("POSTGRES", "URL"), with_login(&second.database_url, login)?)
            .with(key("REDIS", "URL"), &second.redis_url)
            .with(key("SEARCH", "URL"), &second.meili_url)
            .with(key("SEARCH", "MASTER_KEY"), &second.meili_master_key))
    }

    /// With the addresses to listen on; `api` only for the program that has one.
    pub(super) fn listening(self, has_api: bool, api: u16, metrics: u16) -> Self {
        let settings = self.with("TENANTRY__METRICS__LISTEN", format!("127.0.0.1:{metrics}"));
        if has_api { settings.with("TENANTRY__HTTP__LISTEN", format!("127.0.0.1:{api}")) } else { settings }
    }

    /// The environment variables.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    fn overridden(self, options: &ProgramOptions) -> Self {
        options.settings.iter().fold(self, |settings, (key, value)| settings.with(key, value))
    }

    fn without(mut self, sections: &[&str]) -> Self {
        self.0.retain(|key, _| !sections.iter().any(|section| key.starts_with(section)));
        self
    }

    fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.insert(key.into(), value.into());
        self
    }
}

fn superuser_url<'a>(endpoints: &'a Endpoints, options: &'a ProgramOptions) -> &'a str {
    options.database_url.as_deref().unwrap_or(&endpoints.database_url)
}
