use std::path::PathBuf;

use tenantry_rig::RigError;

use super::ProgramOptions;

/// A program of this workspace, from the target folder of the running executable (tests are one folder deeper), so
/// that the profile is the same; or from the folder that the options name.
pub fn find(name: &str, options: &ProgramOptions) -> Result<PathBuf, RigError> {
    if let Some(folder) = &options.programs {
        return Ok(folder.join(name));
    }
    let path = std::path::Path::new("this executable");
    let current = std::env::current_exe().map_err(RigError::io("finding", path))?;
    current
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
        .ok_or_else(|| RigError::MissingTool {
            tool: name.to_owned(),
            install: format!("build it first, in the same profile: cargo build --bin {name}"),
        })
}
