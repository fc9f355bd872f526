//! Published client libraries, for tests that run them unchanged.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::{Cache, publish};
use crate::{ToolError, command, npm, pins, system};

/// The libraries of clients, and what runs them.
#[derive(Debug, Clone)]
pub struct Clients {
    /// node.
    pub node: PathBuf,
    /// The `node_modules` with `@supabase/supabase-js` and `@supabase/postgrest-js`.
    pub node_modules: PathBuf,
    /// python3.
    pub python: PathBuf,
    /// The folder with the Python packages `postgrest` and `supabase_auth`, and what they need.
    pub site_packages: PathBuf,
}

impl Clients {
    /// Finds everything, installing what is missing.
    ///
    /// # Errors
    /// Something is not there and cannot be installed.
    pub fn ensure() -> Result<Self, ToolError> {
        let cache = &Cache::open()?;
        let (node, node_modules) = supabase_js(cache)?;
        let site_packages = python(cache, "supabase", pins::PYTHON_SUPABASE)?;
        Ok(Self { node, node_modules, python: system::python()?, site_packages })
    }
}

/// node, and the `node_modules` that has supabase-js.
pub(crate) fn supabase_js(cache: &Cache) -> Result<(PathBuf, PathBuf), ToolError> {
    let package = npm::ensure(cache, "supabase-js", &pins::SUPABASE_JS, |_, _| Ok(()))?;
    // .../node_modules/@supabase/supabase-js
    let modules = package.ancestors().nth(2).map(Path::to_owned).unwrap_or(package);
    Ok((system::node()?, modules))
}

/// The Python packages that `tools/python/{what}.txt` pins; `version` is that of the one that is wanted.
pub(crate) fn python(cache: &Cache, what: &str, version: &str) -> Result<PathBuf, ToolError> {
    let folder = cache.folder(&format!("python-{what}"), version);
    cache.ensure(&format!("python-{what}"), &folder, |scratch| {
        let packages = scratch.join("packages");
        let pinned = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tools/python/{what}.txt"));
        command::run(
            &format!("installing Python's {what} {version}"),
            "10 seconds",
            scratch,
            Command::new(system::python()?)
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"])
                .args(["--only-binary", ":all:", "--target"])
                .arg(&packages)
                .arg("--requirement")
                .arg(pinned),
        )?;
        publish(&packages, &folder)
    })
}
