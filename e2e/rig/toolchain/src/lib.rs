//! The programs of the stack: what is already there is used, the rest is built or installed once into a per-user cache, with
//! visible progress.
//!
//! Order for each tool: `KUBEBUILDER_ASSETS`, then `PATH` (when its version will do), then the cache, then a package or a build.
//! `TENANTRY_POSTGRES` chooses PostgreSQL 16, 17 or 18; `PG_BIN` names another one's folder of programs (16 or newer).
//!
//! - [`Programs`]: what every stack needs
//! - [`helm`], [`versitygw`], [`supabase_js`], [`Clients`], [`Peers`]: what only some tests or the
//!   benchmarks need, and nobody else waits for
//! - [`beside()`]: two jobs at the same time
//! - [`Guarded`]: a child that cannot outlive this process
//!
//! Everything here blocks; `tenantry_rig::toolchain` has the same for asynchronous callers.
#![allow(clippy::disallowed_methods, reason = "an installer waits for processes and has no runtime")]

mod beside;
mod cache;
mod clients;
mod command;
mod error;
mod fit;
mod golang;
mod guarded;
mod installed;
mod kubernetes;
mod log;
mod npm;
mod peers;
mod pins;
mod postgres;
mod programs;
mod progress;
mod system;

use std::path::PathBuf;

use cache::Cache;

pub use beside::beside;
pub use clients::Clients;
pub use error::{ToolError, chain};
pub use guarded::Guarded;
pub use log::tail;
pub use peers::{FASTAPI_VERSION, POSTGRAPHILE_VERSION, Peers};
pub use postgres::PostgresPrograms;
pub use programs::Programs;

/// Helm, which only the tests of the charts need.
///
/// # Errors
/// It is not there and cannot be installed.
pub fn helm() -> Result<PathBuf, ToolError> {
    kubernetes::helm(&Cache::open()?)
}

/// versitygw, an S3 server over a folder, which only the tests of snapshots need.
///
/// # Errors
/// It is not there and cannot be built.
pub fn versitygw() -> Result<PathBuf, ToolError> {
    golang::ensure(&Cache::open()?, &pins::VERSITYGW)
}

/// node, and the `node_modules` that has supabase-js (postgrest-js, auth-js and the others are in it), which only tests of
/// these clients need.
///
/// # Errors
/// They are not there and cannot be installed.
pub fn supabase_js() -> Result<(PathBuf, PathBuf), ToolError> {
    clients::supabase_js(&Cache::open()?)
}
