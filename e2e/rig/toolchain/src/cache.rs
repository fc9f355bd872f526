use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::ToolError;
use crate::progress::note;

/// `${XDG_CACHE_HOME:-$HOME/.cache}/tenantry/rig`, a folder for each tool and version.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The cache of this user; made when it is not there.
    pub fn open() -> Result<Self, ToolError> {
        let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = folder("XDG_CACHE_HOME")
            .or_else(|| folder("HOME").map(|home| home.join(".cache")))
            .ok_or_else(|| {
                ToolError::Refused(
                    "there is no place for tools: set HOME, or XDG_CACHE_HOME to a folder".to_owned(),
                )
            })?
            .join("tenantry/rig");
        Self::at(root)
    }

    fn at(root: PathBuf) -> Result<Self, ToolError> {
        std::fs::create_dir_all(&root).map_err(ToolError::io("creating", &root))?;
        Ok(Self { root })
    }

    /// The folder of one tool in one version.
    pub fn folder(&self, tool: &str, version: &str) -> PathBuf {
        self.root.join(format!("{tool}-{version}"))
    }

    /// `path` when it exists; else runs `install`, which has to make it. Installations that share a `turn` run one at a
    /// time, in all processes of this user.
    ///
    /// `install` gets the scratch folder of its turn on the same file system, to build in and to rename from, so that an
    /// interrupted installation leaves nothing that looks complete.
    pub fn ensure(
        &self,
        turn: &str,
        path: &Path,
        install: impl FnOnce(&Path) -> Result<(), ToolError>,
    ) -> Result<PathBuf, ToolError> {
        if path.exists() {
            return Ok(path.to_owned());
        }
        let _lock = self.lock(turn)?;
        if path.exists() {
            return Ok(path.to_owned());
        }
        let scratch = self.root.join(format!("partial-{turn}"));
        // Whatever is there was left by a process that is gone, since the lock is ours.
        remove(&scratch)?;
        std::fs::create_dir(&scratch).map_err(ToolError::io("creating", &scratch))?;
        install(&scratch)?;
        remove(&scratch)?;
        if path.exists() {
            Ok(path.to_owned())
        } else {
            Err(ToolError::Refused(format!(
                "the installation did not make {}: its package or build has changed",
                path.display()
            )))
        }
    }

    fn lock(&self, turn: &str) -> Result<File, ToolError> {
        let path = self.root.join(format!("lock-{turn}"));
        let error = || ToolError::io("locking", &path);
        let lock = File::options().create(true).append(true).open(&path).map_err(error())?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                note(&format!("another installation of {turn} is running, waiting for it"));
                lock.lock().map_err(error())?;
            }
            Err(TryLockError::Error(source)) => return Err(error()(source)),
        }
        Ok(lock)
    }
}

/// Moves a finished file or folder to its place, making the folders above.
pub fn publish(from: &Path, to: &Path) -> Result<(), ToolError> {
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent).map_err(ToolError::io("creating", parent))?;
    }
    std::fs::rename(from, to).map_err(ToolError::io("moving into place", to))
}

fn remove(folder: &Path) -> Result<(), ToolError> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(ToolError::io("clearing", folder)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::*;

    /// A cache in a folder of its own, which goes away with it.
    struct Temporary(Cache);

    impl Temporary {
        fn new(name: &str) -> Self {
            let root = std::env::temp_dir().join(format!("tenantry-cache-{name}-{}", std::process::id()));
            Self(Cache::at(root).unwrap())
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0.root).unwrap();
        }
    }

    fn install(scratch: &Path, target: &Path) -> Result<(), ToolError> {
        let made = scratch.join("made");
        std::fs::write(&made, "whole").unwrap();
        publish(&made, target)
    }

    #[test]
    fn a_failed_installation_leaves_nothing_that_looks_complete() {
        let cache = Temporary::new("failed");
        let target = cache.0.folder("tool", "1").join("bin/tool");
        let failed = cache.0.ensure("tool", &target, |scratch| {
            std::fs::write(scratch.join("made"), "hal").unwrap();
            Err(ToolError::Refused("interrupted".to_owned()))
        });
        assert!(failed.is_err() && !target.exists());

        let again = cache.0.ensure("tool", &target, |scratch| {
            assert!(!scratch.join("made").exists(), "the rest of the first attempt is gone");
            install(scratch, &target)
        });
        assert_eq!(again.unwrap(), target);
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "whole");
        assert!(!cache.0.root.join("partial-tool").exists());
    }

    #[test]
    fn two_that_want_the_same_tool_install_it_once() {
        let cache = Temporary::new("once");
        let target = cache.0.folder("tool", "1").join("bin/tool");
        let installed = AtomicU32::new(0);
        let want = || {
            cache.0.ensure("tool", &target, |scratch| {
                installed.fetch_add(1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(50));
                install(scratch, &target)
            })
        };
        thread::scope(|scope| {
            let other = scope.spawn(want);
            want().unwrap();
            other.join().unwrap().unwrap();
        });
        assert_eq!(installed.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn another_turn_does_not_wait() {
        let cache = Temporary::new("turns");
        let [first, second] = ["1", "2"].map(|version| cache.0.folder("tool", version).join("tool"));
        let nested = cache.0.ensure("go", &first, |scratch| {
            cache.0.ensure("npm", &second, |other| {
                assert_ne!(scratch, other);
                install(other, &second)
            })?;
            install(scratch, &first)
        });
        assert!(nested.is_ok() && second.exists(), "{nested:?}");
    }

    #[test]
    fn an_installation_has_to_make_what_was_asked_for() {
        let cache = Temporary::new("nothing");
        assert!(cache.0.ensure("tool", &cache.0.folder("tool", "1"), |_| Ok(())).is_err());
    }
}
