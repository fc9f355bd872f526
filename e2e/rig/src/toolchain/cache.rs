use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use super::progress::note;
use crate::RigError;

/// `${XDG_CACHE_HOME:-$HOME/.cache}/tenantry/rig`, a folder for each tool and version.
#[derive(Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The cache of this user; made when it is not there.
    pub fn open() -> Result<Self, RigError> {
        let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = folder("XDG_CACHE_HOME")
            .or_else(|| folder("HOME").map(|home| home.join(".cache")))
            .ok_or_else(|| {
                RigError::Refused("neither XDG_CACHE_HOME nor HOME is set: no place for tools".to_owned())
            })?
            .join("tenantry/rig");
        std::fs::create_dir_all(&root).map_err(RigError::io("creating", &root))?;
        Ok(Self { root })
    }

    /// The folder of one tool in one version.
    pub fn folder(&self, tool: &str, version: &str) -> PathBuf {
        self.root.join(format!("{tool}-{version}"))
    }

    /// `path` when it exists; else runs `install`, which has to make it. One process at a time installs.
    ///
    /// `install` gets a scratch folder on the same file system, to build in and to rename from, so that an
    /// interrupted installation leaves nothing that looks complete.
    pub fn ensure(
        &self,
        path: &Path,
        install: impl FnOnce(&Path) -> Result<(), RigError>,
    ) -> Result<PathBuf, RigError> {
        if path.exists() {
            return Ok(path.to_owned());
        }
        let _lock = self.lock()?;
        if path.exists() {
            return Ok(path.to_owned());
        }
        let scratch = self.root.join("partial");
        // Whatever is there was left by a process that is gone, since the lock is ours.
        match std::fs::remove_dir_all(&scratch) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(RigError::Io { what: "clearing", path: scratch, source: error });
            }
            _ => {}
        }
        std::fs::create_dir(&scratch).map_err(RigError::io("creating", &scratch))?;
        install(&scratch)?;
        std::fs::remove_dir_all(&scratch).map_err(RigError::io("clearing", &scratch))?;
        if path.exists() {
            Ok(path.to_owned())
        } else {
            Err(RigError::Refused(format!("the installation did not make {}", path.display())))
        }
    }

    fn lock(&self) -> Result<File, RigError> {
        let path = self.root.join("lock");
        let error = || RigError::io("locking", &path);
        let lock = File::options().create(true).append(true).open(&path).map_err(error())?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                note("another process is installing tools, waiting for it");
                lock.lock().map_err(error())?;
            }
            Err(TryLockError::Error(source)) => return Err(error()(source)),
        }
        Ok(lock)
    }
}

/// Moves a finished file or folder to its place, making the folders above.
pub fn publish(from: &Path, to: &Path) -> Result<(), RigError> {
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent).map_err(RigError::io("creating", parent))?;
    }
    std::fs::rename(from, to).map_err(RigError::io("moving into place", to))
}
