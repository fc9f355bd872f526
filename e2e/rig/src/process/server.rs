use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;

use super::{Launch, Process, Sandbox, Signal};
use crate::RigError;

/// How long a server may take until it answers. Generous: a busy machine is slow, a broken server ends at once.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Ports can be lost to another process between choosing and binding them.
const ATTEMPTS: usize = 3;
/// How often a server is started again on its ports before its early end counts.
const RESTARTS: u32 = 10;
/// Between two of these.
const RESTART_PAUSE: Duration = Duration::from_millis(200);

/// Tells whether the server answers; the error says what it did instead.
pub type Probe = Box<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// A process that serves, which a test can stop, pause and start again on the same port.
pub struct Server {
    launch: Launch,
    /// How it shuts down in good order.
    graceful: Signal,
    probe: Probe,
    process: Mutex<Arc<Process>>,
    sandbox: Arc<Sandbox>,
}

/// What to start, and how to tell that it is ready.
pub struct Plan {
    /// The program.
    pub launch: Launch,
    /// The signal for a shutdown in good order.
    pub graceful: Signal,
    /// Succeeds when it is ready.
    pub probe: Probe,
}

impl Server {
    /// Starts a server on the ports that `plan` chooses and waits until it answers; when it ends before that, it is
    /// planned again with other ports.
    pub async fn launch<A>(
        sandbox: &Arc<Sandbox>,
        plan: impl Fn() -> Result<(Plan, A), RigError>,
    ) -> Result<(Self, A), RigError> {
        let mut attempt = 1;
        loop {
            let (Plan { launch, graceful, probe }, address) = plan()?;
            let process = sandbox.spawn(&launch)?;
            match process.ready(START_LIMIT, &probe).await {
                Ok(()) => {
                    let (process, sandbox) = (Mutex::new(process), Arc::clone(sandbox));
                    return Ok((Self { launch, graceful, probe, process, sandbox }, address));
                }
                Err(RigError::Exited { .. }) if attempt < ATTEMPTS => {
                    sandbox.forget(&process);
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The process that runs now.
    pub fn process(&self) -> Arc<Process> {
        Arc::clone(&self.process.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps the logs of its sandbox when that ends.
    pub fn keep_logs(&self) {
        self.sandbox.keep();
    }

    /// Shuts it down in good order (after 20 s with SIGKILL).
    pub async fn stop(&self) -> Result<(), RigError> {
        self.process().stop(self.graceful, Duration::from_secs(20)).await.map(|_| ())
    }

    /// Ends it with SIGKILL, as a crash would.
    pub async fn kill(&self) -> Result<(), RigError> {
        self.process().kill().await.map(|_| ())
    }

    /// Freezes it: connections stay open and nothing answers.
    pub fn pause(&self) {
        self.process().signal(Signal::STOP);
    }

    /// Ends a [`Server::pause`].
    pub fn resume(&self) {
        self.process().signal(Signal::CONT);
    }

    /// Starts it again after [`Server::stop`] or [`Server::kill`], on the same port with the same data, and waits
    /// until it answers.
    pub async fn start(&self) -> Result<(), RigError> {
        let ended = self.process();
        if ended.exit_status().is_none() {
            return Err(RigError::Refused(format!("{} runs already", ended.name())));
        }
        let mut attempt = 1;
        loop {
            self.sandbox.forget(&self.process());
            let process = self.sandbox.spawn(&self.launch)?;
            *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&process);
            match process.ready(START_LIMIT, &self.probe).await {
                // After a crash its former children may still be ending: PostgreSQL refuses to start while they use its
                // shared memory.
                Err(RigError::Exited { .. }) if attempt < RESTARTS => {
                    attempt += 1;
                    tokio::time::sleep(RESTART_PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.process()).finish()
    }
}
