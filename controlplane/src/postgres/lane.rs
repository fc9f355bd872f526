//! One connection after another, with the queue that they serve.

use std::{sync::Arc, time::Duration};

use rand::RngExt;
use secrecy::SecretString;
use tenantry_migrations::logins::LoginName;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use super::{
    Address,
    connect::{self, ConnectError},
    error::DatabaseError,
    job::Job,
    session::{self, Ended},
};
use crate::error::Chain;

/// Groups that may wait for the connection.
const QUEUE: usize = 256;
/// How long opening a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Between attempts to connect: doubled with each failure, up to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// What a lane's connections are opened with.
#[derive(Debug)]
pub(super) struct Login {
    pub address: Arc<Address>,
    pub name: LoginName,
    pub password: SecretString,
    /// Prepared statements that a connection keeps.
    pub statements: usize,
    /// How long the server may run one statement.
    pub statement_timeout: Duration,
}

/// The way into a lane. The lane ends when it is dropped.
#[derive(Debug, Clone)]
pub(super) struct Lane(mpsc::Sender<Job>);

impl Lane {
    /// Opens a lane. It connects when there is something to do.
    pub fn open(login: Login) -> Self {
        let (sender, queue) = mpsc::channel(QUEUE);
        tokio::spawn(serve(login, queue));
        Self(sender)
    }

    /// Hands `job` to the lane, or gives it back when too many wait.
    pub fn try_send(&self, job: Job) -> Result<(), Job> {
        self.0.try_send(job).map_err(mpsc::error::TrySendError::into_inner)
    }
}

async fn serve(login: Login, mut queue: mpsc::Receiver<Job>) {
    let mut backoff = Backoff::default();
    let mut jobs: Vec<Job> = Vec::new();
    loop {
        if jobs.is_empty() {
            match queue.recv().await {
                Some(job) => jobs.push(job),
                None => return,
            }
        }
        if backoff.is_waiting() {
            refuse(jobs.drain(..));
            continue;
        }
        let opening = timeout(
            CONNECT_TIMEOUT,
            connect::open(&login.address, &login.name, &login.password, login.statement_timeout),
        );
        let connected = match opening.await {
            Ok(Ok(connected)) => connected,
            failed => {
                let error = match failed {
                    Ok(Err(error)) => error,
                    _ => ConnectError::Io(std::io::ErrorKind::TimedOut.into()),
                };
                tracing::warn!(login = %login.name, error = %Chain(&error), "cannot connect to Postgres");
                backoff.failed();
                refuse(jobs.drain(..));
                // Whoever came meanwhile would wait for nothing as well.
                refuse(std::iter::from_fn(|| queue.try_recv().ok()));
                continue;
            }
        };
        backoff = Backoff::default();
        match session::serve(connected, &mut queue, std::mem::take(&mut jobs), login.statements).await {
            Ended::Closed => {}
            Ended::Abandoned => return,
            Ended::Lost(error, unfinished) => {
                tracing::warn!(login = %login.name, error = %Chain(&error), unfinished = unfinished.len(),
                    "lost a connection to Postgres");
                jobs = unfinished;
            }
        }
    }
}

fn refuse(jobs: impl Iterator<Item = Job>) {
    jobs.for_each(|job| job.finish(Err(DatabaseError::Unavailable)));
}

/// When to try again. Meanwhile groups are refused at once instead of waiting for a server that is not there.
#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    fn is_waiting(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() < until)
    }

    fn failed(&mut self) {
        let (first, last) = BACKOFF;
        let delay = first.saturating_mul(1 << self.failures.min(10)).min(last);
        self.failures += 1;
        self.until = Some(Instant::now() + delay.mul_f64(rand::rng().random_range(0.5..1.0)));
    }
}
