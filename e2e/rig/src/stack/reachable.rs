//! PostgreSQL's programs for the account that they run under.

use std::path::Path;

use crate::RigError;
use crate::process::Identity;
use crate::toolchain::PostgresPrograms;

/// Programs that `identity` may execute: these, or a copy in `folder` when they lie in somebody's private folder
/// (a cache in root's home is closed to the account that PostgreSQL runs under).
pub fn by(
    identity: Option<Identity>,
    programs: &PostgresPrograms,
    folder: &Path,
) -> Result<PostgresPrograms, RigError> {
    match (identity, &programs.libraries, programs.bin.parent()) {
        (Some(identity), Some(_), Some(native)) if !identity.reaches(&programs.bin.join("postgres")) => {
            link_tree(native, folder)?;
            Ok(PostgresPrograms { bin: folder.join("bin"), libraries: Some(folder.join("lib")) })
        }
        _ => Ok(programs.clone()),
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
