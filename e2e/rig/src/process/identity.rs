use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::RigError;

/// The account a child runs under when the rig itself is root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Identity {
    /// `nobody` for a server that refuses to be root; `None` when the rig runs as an ordinary user already.
    pub fn unprivileged() -> Option<Self> {
        const NOBODY: u32 = 65_534;
        rustix::process::geteuid().is_root().then_some(Self { uid: NOBODY, gid: NOBODY })
    }

    /// Hands a folder to this account.
    pub fn own(self, path: &Path) -> Result<(), RigError> {
        std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid))
            .map_err(RigError::io("giving away", path))
    }

    /// Whether this account may walk to `path`: every folder above must be open to it.
    pub fn reaches(self, path: &Path) -> bool {
        path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()).all(|folder| {
            std::fs::metadata(folder).is_ok_and(|folder| {
                let mode = folder.permissions().mode();
                mode & 0o001 != 0 || (folder.uid() == self.uid && mode & 0o100 != 0)
            })
        })
    }
}
