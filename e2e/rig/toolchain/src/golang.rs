use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::{Cache, publish};
use crate::{ToolError, command, installed};

/// A program built from a Go module; `e2e/rig/tools/{module}` pins it and everything it depends on.
pub struct GoTool {
    pub binary: &'static str,
    pub module: &'static str,
    pub version: &'static str,
    pub package: &'static str,
    pub ldflags: &'static str,
    /// How long a build takes, for the person who waits.
    pub expect: &'static str,
}

/// Where the tool is when it has been built.
pub fn place(cache: &Cache, tool: &GoTool) -> PathBuf {
    cache.folder(tool.module, tool.version).join("bin").join(tool.binary)
}

/// The tool from the cache, built when it is not there. Builds run one after the other: each takes all cores and up to 2 GB.
pub fn ensure(cache: &Cache, tool: &GoTool) -> Result<PathBuf, ToolError> {
    let target = place(cache, tool);
    cache.ensure("go", &target, |scratch| build(tool, scratch, &target))
}

fn build(tool: &GoTool, scratch: &Path, target: &Path) -> Result<(), ToolError> {
    let go = installed::on_path("go").ok_or_else(|| ToolError::MissingTool {
        tool: "go".to_owned(),
        install: format!(
            "install Go 1.26 or newer (go.dev/dl) to build {}, or set KUBEBUILDER_ASSETS to a folder with etcd, \
             kube-apiserver and kubectl",
            tool.binary
        ),
    })?;
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools").join(tool.module);
    let output = scratch.join(tool.binary);
    command::run(
        &format!("building {} {}", tool.binary, tool.version),
        tool.expect,
        scratch,
        Command::new(go)
            .args(["build", "-trimpath", "-ldflags", tool.ldflags, "-o"])
            .arg(&output)
            .arg(tool.package)
            .current_dir(module)
            // A checkout without its .git (or owned by somebody else) must build too.
            .env("GOFLAGS", "-buildvcs=false -mod=readonly")
            .env("GOWORK", "off")
            .env("CGO_ENABLED", "0")
            // An interrupted build leaves its files here, where the next one clears them.
            .env("GOTMPDIR", scratch),
    )?;
    publish(&output, target)
}
