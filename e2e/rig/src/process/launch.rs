use std::ffi::OsString;
use std::path::PathBuf;

use rustix::process::Signal;

use super::Identity;

/// What to run: a program with its arguments, environment and the signal that ends it well.
#[derive(Debug, Clone)]
pub struct Launch {
    pub(super) name: String,
    pub(super) program: PathBuf,
    pub(super) args: Vec<OsString>,
    pub(super) env: Vec<(OsString, Option<OsString>)>,
    pub(super) identity: Option<Identity>,
    pub(super) exit_signal: Option<Signal>,
}

impl Launch {
    /// A program by its path; `name` is also the name of its log.
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            identity: None,
            exit_signal: Some(Signal::KILL),
        }
    }

    /// Adds arguments.
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable; the rest is inherited.
    pub fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((key.into(), Some(value.into())));
        self
    }

    /// Does not inherit an environment variable.
    pub fn without_env(mut self, key: impl Into<OsString>) -> Self {
        self.env.push((key.into(), None));
        self
    }

    /// Runs the program under another account.
    pub fn identity(mut self, identity: Option<Identity>) -> Self {
        self.identity = identity;
        self
    }

    /// The signal the watchdog ends it with (SIGKILL by default, since a stack's data is thrown away).
    pub fn exit_signal(mut self, signal: Signal) -> Self {
        self.exit_signal = Some(signal);
        self
    }

    /// Lets the watchdog wait for its end instead of signalling it: for a short program that must not be cut off.
    pub fn runs_to_end(mut self) -> Self {
        self.exit_signal = None;
        self
    }
}
