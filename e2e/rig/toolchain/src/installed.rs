//! Programs that are on this machine already.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::fit::{self, Fit};
use crate::pins;

/// A program that may be taken from the machine.
pub struct Wanted {
    names: &'static [&'static str],
    version_args: &'static [&'static str],
    in_assets: Option<Fit>,
    on_path: Option<Fit>,
}

impl Wanted {
    pub const ETCD: Self = Self {
        names: &["etcd"],
        version_args: &["--version"],
        in_assets: Some(Fit::AtLeast(3, 6)),
        on_path: Some(Fit::AtLeast(3, 6)),
    };
    pub const KUBE_APISERVER: Self = Self {
        names: &["kube-apiserver"],
        version_args: &["--version"],
        in_assets: Some(Fit::AtLeast(1, 34)),
        on_path: Some(Fit::AtLeast(1, 34)),
    };
    /// What is called kubectl on `PATH` is often a vendor's wrapper with other output; in the assets it is the API server's own.
    pub const KUBECTL: Self = Self {
        names: &["kubectl"],
        version_args: &["version", "--client"],
        in_assets: Some(Fit::AtLeast(1, 30)),
        on_path: Some(Fit::ReleaseNear(pins::KUBERNETES.0, pins::KUBERNETES.1)),
    };
    pub const HELM: Self = Self {
        names: &["helm"],
        version_args: &["version", "--short"],
        in_assets: None,
        on_path: Some(Fit::AtLeast(3, 14)),
    };
    pub const REDIS: Self = Self {
        names: &["redis-server", "valkey-server"],
        version_args: &["--version"],
        in_assets: None,
        on_path: Some(Fit::AtLeast(7, 0)),
    };
    pub const MEILISEARCH: Self = Self {
        names: &["meilisearch"],
        version_args: &["--version"],
        in_assets: None,
        on_path: Some(Fit::AtLeast(1, 21)),
    };

    fn takes(&self, program: &Path, fit: Fit) -> bool {
        printed(program, self.version_args).is_some_and(|printed| fit.takes(&printed))
    }
}

/// The first installed program whose version will do.
pub fn find(wanted: &Wanted) -> Option<PathBuf> {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let from_assets = wanted.in_assets.zip(assets).and_then(|(fit, assets)| {
        let mut programs = wanted.names.iter().map(|name| assets.join(name));
        programs.find(|program| is_program(program) && wanted.takes(program, fit))
    });
    from_assets.or_else(|| {
        let fit = wanted.on_path?;
        let mut programs = wanted.names.iter().filter_map(|name| on_path(name));
        programs.find(|program| wanted.takes(program, fit))
    })
}

/// A program on `PATH`, any version.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| is_program(program))
}

/// Major and minor version as the program itself says it; `None` when it cannot run.
pub fn version(program: &Path, args: &[&str]) -> Option<(u32, u32)> {
    printed(program, args).and_then(|printed| fit::version(&printed))
}

fn printed(program: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}
