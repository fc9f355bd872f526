//! The programs of the stack, for asynchronous callers; `tenantry-toolchain` finds and installs them.

use std::path::PathBuf;

pub use tenantry_toolchain::{
    Clients, FASTAPI_VERSION, POSTGRAPHILE_VERSION, Peers, PostgresPrograms, Programs,
};
use tenantry_toolchain::{ToolError, helm, supabase_js, versitygw};

use crate::RigError;

/// Finds programs, installing what is missing.
#[derive(Debug)]
pub enum Toolchain {}

impl Toolchain {
    /// What every stack needs. The first time takes minutes and says so on standard error.
    pub async fn ensure() -> Result<Programs, RigError> {
        blocking(Programs::ensure).await
    }

    /// Helm, which only the tests of the charts need; `helm` works on the `PATH` of every stack from then on.
    pub async fn ensure_helm() -> Result<PathBuf, RigError> {
        blocking(helm).await
    }

    /// versitygw, an S3 server over a folder, which only the tests of snapshots need.
    pub async fn ensure_versitygw() -> Result<PathBuf, RigError> {
        blocking(versitygw).await
    }

    /// node, and the `node_modules` that has supabase-js (postgrest-js, auth-js and the others are in it), which only tests of
    /// these clients need.
    pub async fn ensure_supabase_js() -> Result<(PathBuf, PathBuf), RigError> {
        blocking(supabase_js).await
    }

    /// The client libraries of PostgREST and Supabase, which only the tests that run them need.
    pub async fn ensure_clients() -> Result<Clients, RigError> {
        blocking(Clients::ensure).await
    }

    /// The servers that ours is compared with, which only the benchmarks need.
    pub async fn ensure_peers() -> Result<Peers, RigError> {
        blocking(Peers::ensure).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ToolError> + Send + 'static,
) -> Result<T, RigError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => Ok(outcome?),
        Err(error) => Err(RigError::Refused(format!("getting the tools was cut short: {error}"))),
    }
}
