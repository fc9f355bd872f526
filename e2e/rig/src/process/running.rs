use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use super::tail;
use crate::{RigError, eventually};

/// A running child, the leader of its own process group, with its output in a log.
#[derive(Debug)]
pub struct Process {
    name: String,
    group: Pid,
    log: PathBuf,
    /// `std`, not `tokio`: a child of a shared stack is waited for from the runtimes of several tests.
    child: Mutex<Child>,
}

impl Process {
    pub(super) fn new(name: String, group: Pid, log: PathBuf, child: Child) -> Self {
        Self { name, group, log, child: Mutex::new(child) }
    }

    /// The name it was launched under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id, which is also its process group.
    pub fn pid(&self) -> u32 {
        self.group.as_raw_nonzero().get().unsigned_abs()
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How it ended, `None` while it runs.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        // An error means that the child was reaped by somebody else: then its status is lost, and nothing runs.
        child.try_wait().unwrap_or_else(|_| Some(ExitStatus::default()))
    }

    /// Signals its whole process group; nothing happens when it has ended.
    pub fn signal(&self, signal: Signal) {
        // Asking for the status first reaps an ended child, so its id cannot belong to a stranger.
        if self.exit_status().is_none() {
            // Can fail only when it ends right now, which is what a signal is for.
            let _ = rustix::process::kill_process_group(self.group, signal);
        }
    }

    /// Ends it with `signal` and waits; after `limit` it gets SIGKILL. Yields the exit status.
    pub async fn stop(&self, signal: Signal, limit: Duration) -> Result<ExitStatus, RigError> {
        self.signal(signal);
        match self.exited(limit).await {
            Ok(status) => Ok(status),
            Err(_) => {
                self.signal(Signal::KILL);
                self.exited(Duration::from_secs(10)).await
            }
        }
    }

    /// Ends it with SIGKILL and waits until it is gone.
    pub async fn kill(&self) -> Result<ExitStatus, RigError> {
        self.stop(Signal::KILL, Duration::from_secs(10)).await
    }

    /// Waits until it ends by itself.
    pub async fn exited(&self, limit: Duration) -> Result<ExitStatus, RigError> {
        eventually(&format!("{} has ended", self.name), limit, async || self.exit_status().ok_or("running"))
            .await
    }

    /// Polls `probe` until the child is ready; fails at once when the child ends.
    pub async fn ready<T, E, F, Fut>(&self, limit: Duration, mut probe: F) -> Result<T, RigError>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: std::fmt::Display,
    {
        let outcome = eventually(&self.name, limit, || {
            let attempt = probe();
            async move {
                let answer = attempt.await.map_err(|reason| reason.to_string());
                // Checked after the probe: on a lost port the answer may come from another server.
                match (self.exit_status(), answer) {
                    (Some(status), _) => Ok(Err(status)),
                    (None, Ok(value)) => Ok(Ok(value)),
                    (None, Err(reason)) => Err(reason),
                }
            }
        })
        .await;
        match outcome {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(status)) => Err(RigError::Exited {
                name: self.name.clone(),
                status,
                log: self.log.clone(),
                tail: tail(&self.log, 15),
            }),
            Err(RigError::Timeout { waited, last, .. }) => Err(RigError::NotReady {
                name: self.name.clone(),
                waited,
                reason: last,
                log: self.log.clone(),
                tail: tail(&self.log, 15),
            }),
            Err(other) => Err(other),
        }
    }
}
