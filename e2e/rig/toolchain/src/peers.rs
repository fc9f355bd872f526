//! Servers that one might pick instead of ours, for the benchmarks.

use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::{ToolError, clients, npm, pins, system};

/// The version of FastAPI.
pub const FASTAPI_VERSION: &str = pins::PYTHON_FASTAPI;
/// The version of PostGraphile.
pub const POSTGRAPHILE_VERSION: &str = pins::POSTGRAPHILE.version;

/// The peers, and what runs them.
#[derive(Debug, Clone)]
pub struct Peers {
    /// python3.
    pub python: PathBuf,
    /// The folder with FastAPI, uvicorn, asyncpg and what they need.
    pub site_packages: PathBuf,
    /// node.
    pub node: PathBuf,
    /// PostGraphile's program.
    pub postgraphile: PathBuf,
}

impl Peers {
    /// Finds everything, installing what is missing.
    ///
    /// # Errors
    /// Something is not there and cannot be installed.
    pub fn ensure() -> Result<Self, ToolError> {
        let cache = &Cache::open()?;
        let package: PathBuf =
            npm::ensure(cache, "postgraphile", &pins::POSTGRAPHILE, |_: &Path, _: &Path| Ok(()))?;
        Ok(Self {
            python: system::python()?,
            site_packages: clients::python(cache, "fastapi", pins::PYTHON_FASTAPI)?,
            node: system::node()?,
            postgraphile: package.join("cli.js"),
        })
    }
}
