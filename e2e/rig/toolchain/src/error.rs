use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// Why a tool is not there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolError {
    /// A prerequisite that cannot be installed from here.
    #[error("{tool} is missing: {install}")]
    MissingTool {
        /// The program that was looked for.
        tool: String,
        /// What to do about it.
        install: String,
    },
    /// A build or an installation step ended without success.
    #[error("{step} failed ({status}); the end of its output:\n{tail}")]
    Step {
        /// What was being done.
        step: String,
        /// How the command ended.
        status: ExitStatus,
        /// The last lines of its output.
        tail: String,
    },
    /// A downloaded binary is not the one that was pinned.
    #[error("{path} has sha256 {found}, expected {expected}; it was not installed")]
    Checksum {
        /// The file that was checked.
        path: PathBuf,
        /// The pinned digest.
        expected: &'static str,
        /// The digest found.
        found: String,
    },
    /// A file or folder could not be used.
    #[error("{what} {path}")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A child process could not be started.
    #[error("starting {name}")]
    Spawn {
        /// The child.
        name: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The request makes no sense in the present state.
    #[error("{0}")]
    Refused(String),
}

impl ToolError {
    /// For `map_err`: an I/O error with the file and the intention.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

/// An error and its causes in one line, for a terminal.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
