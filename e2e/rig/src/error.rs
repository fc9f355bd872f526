use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use tenantry_toolchain::ToolError;

/// What can go wrong while the rig gets its tools, starts a server or talks to it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RigError {
    /// A tool of the stack is not there.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// A prerequisite that the rig cannot install itself.
    #[error("{tool} is missing: {install}")]
    MissingTool {
        /// The program that was looked for.
        tool: String,
        /// What to do about it.
        install: String,
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
    /// A child process ended before it was ready.
    #[error("{name} ended before it was ready ({status}); log {log}, its end:\n{tail}")]
    Exited {
        /// The child.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// Its log, kept.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// A child process was not ready in time.
    #[error("{name} was not ready after {waited:?} ({reason}); log {log}, its end:\n{tail}")]
    NotReady {
        /// The child.
        name: String,
        /// How long the rig waited.
        waited: Duration,
        /// What the last probe said.
        reason: String,
        /// Its log, kept.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// A condition did not become true in time.
    #[error("not within {waited:?}: {what} (last seen: {last})")]
    Timeout {
        /// The condition.
        what: String,
        /// How long the rig waited.
        waited: Duration,
        /// The last observation.
        last: String,
    },
    /// The env file of a running stack does not hold what it should.
    #[error("{path} is not the env file of a stack: {reason}")]
    EnvFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// PostgreSQL refused a statement of the rig.
    #[error("PostgreSQL: {what}")]
    Postgres {
        /// What was attempted.
        what: &'static str,
        /// Why it failed.
        source: sqlx::Error,
    },
    /// The Kubernetes API could not be used.
    #[error("Kubernetes: {what}")]
    Kubernetes {
        /// What was attempted.
        what: &'static str,
        /// Why it failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An HTTP client could not be made.
    #[error("HTTP client")]
    Http(#[from] reqwest::Error),
    /// A command run on behalf of the user or a test failed.
    #[error("{command} failed ({status}):\n{output}")]
    Command {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it printed.
        output: String,
    },
    /// The request makes no sense in the present state.
    #[error("{0}")]
    Refused(String),
}

impl RigError {
    /// For `map_err`: an I/O error with the file and the intention.
    pub fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }

    /// The error and its causes in one line, for a terminal.
    pub fn chain(&self) -> String {
        tenantry_toolchain::chain(self)
    }
}
