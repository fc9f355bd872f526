//! Programs that are on this machine already.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program that the rig may take from the machine, and the oldest version that will do.
pub struct Wanted {
    names: &'static [&'static str],
    version_args: &'static [&'static str],
    least: (u32, u32),
    /// kubectl is never taken from `PATH`: what goes by that name is often a vendor's wrapper with other output.
    on_path: bool,
    in_assets: bool,
}

impl Wanted {
    pub const ETCD: Self = Self {
        names: &["etcd"],
        version_args: &["--version"],
        least: (3, 6),
        on_path: true,
        in_assets: true,
    };
    pub const KUBE_APISERVER: Self = Self {
        names: &["kube-apiserver"],
        version_args: &["--version"],
        least: (1, 34),
        on_path: true,
        in_assets: true,
    };
    pub const KUBECTL: Self = Self {
        names: &["kubectl"],
        version_args: &["version", "--client"],
        least: (1, 30),
        on_path: false,
        in_assets: true,
    };
    pub const HELM: Self = Self {
        names: &["helm"],
        version_args: &["version", "--short"],
        least: (3, 14),
        on_path: true,
        in_assets: false,
    };
    pub const REDIS: Self = Self {
        names: &["redis-server", "valkey-server"],
        version_args: &["--version"],
        least: (7, 0),
        on_path: true,
        in_assets: false,
    };
    pub const MEILISEARCH: Self = Self {
        names: &["meilisearch"],
        version_args: &["--version"],
        least: (1, 21),
        on_path: true,
        in_assets: false,
    };
}

/// The first installed program that is new enough.
pub fn find(wanted: &Wanted) -> Option<PathBuf> {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").filter(|_| wanted.in_assets).map(PathBuf::from);
    let from_assets = assets.iter().flat_map(|folder| wanted.names.iter().map(|name| folder.join(name)));
    let from_path = wanted.names.iter().filter(|_| wanted.on_path).filter_map(|name| on_path(name));
    from_assets
        .chain(from_path)
        .filter(|program| is_program(program))
        .find(|program| version(program, wanted.version_args).is_some_and(|found| found >= wanted.least))
}

/// A program on `PATH`, any version.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| is_program(program))
}

/// Major and minor version as the program itself says it; `None` when it cannot run.
pub fn version(program: &Path, args: &[&str]) -> Option<(u32, u32)> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// The first `N.M` in the text.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    text.split(|c: char| !(c.is_ascii_digit() || c == '.')).find_map(|word| {
        let mut parts = word.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::parse_version;

    #[test]
    fn reads_what_the_programs_print() {
        let printed = [
            ("etcd Version: 3.6.7\nGit SHA: Not provided", (3, 6)),
            ("Kubernetes v1.36.3\n", (1, 36)),
            ("Client Version: v1.36.3\nKustomize Version: v5.7.1", (1, 36)),
            ("v4.3.1", (4, 3)),
            ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64", (7, 0)),
            ("meilisearch 1.21.0", (1, 21)),
            ("postgres (PostgreSQL) 18.4", (18, 4)),
            ("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)", (15, 14)),
        ];
        for (text, version) in printed {
            assert_eq!(parse_version(text), Some(version), "{text}");
        }
        assert_eq!(parse_version("no version"), None);
    }
}
