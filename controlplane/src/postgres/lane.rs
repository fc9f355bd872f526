//! One connection after another, with the queue that they serve.

use std::{sync::Arc, time::Duration};

use rand::RngExt;
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::{Instant, timeout},
};

use super::{
    dial::{Class, Dialler},
    error::DatabaseError,
    job::Job,
    session::{self, Ended},
};
use crate::error::Chain;

/// Between attempts to connect: doubled with each failure, up to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// How long the lane of one tenant waits for work without a connection. It remembers meanwhile that its login was refused.
const LINGER: Duration = Duration::from_secs(10);

/// The way into a lane. The lane ends when the last one is dropped.
#[derive(Debug, Clone)]
pub(super) struct Lane(mpsc::Sender<Job>);

/// Why a lane did not take a job.
#[derive(Debug)]
pub(super) enum NotTaken {
    /// More groups wait than its tenants may have together.
    Full,
    /// It has ended, and did not take this one.
    Closed(Box<Job>),
}

/// What a lane is opened with.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub dialler: Arc<Dialler>,
    pub class: Class,
    /// Prepared statements that a connection keeps.
    pub statements: usize,
    /// Groups that its tenants may have handed in together.
    pub queue: usize,
}

impl Lane {
    /// Opens a lane. It connects when there is something to do. That of a single tenant ends when it has nothing to do for a while.
    pub fn open(plan: Plan) -> Self {
        let (sender, queue) = mpsc::channel(plan.queue.max(1));
        tokio::spawn(serve(plan, queue));
        Self(sender)
    }

    /// A lane whose task has ended.
    #[cfg(test)]
    pub fn ended() -> Self {
        Self(mpsc::channel(1).0)
    }

    /// Hands `job` to the lane.
    pub fn try_send(&self, job: Job) -> Result<(), NotTaken> {
        self.0.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => NotTaken::Full,
            TrySendError::Closed(job) => NotTaken::Closed(Box::new(job)),
        })
    }

    /// Whether it takes jobs.
    pub fn is_open(&self) -> bool {
        !self.0.is_closed()
    }
}

async fn serve(plan: Plan, mut queue: mpsc::Receiver<Job>) {
    let login = plan.class.login();
    let mut backoff = Backoff::default();
    let mut jobs: Vec<Job> = Vec::new();
    let mut ends = false;
    loop {
        if jobs.is_empty() {
            match next(&mut queue, &plan.class, ends).await {
                Some(job) => jobs.push(job),
                None => return,
            }
        }
        if let Some(why) = backoff.waiting() {
            jobs.drain(..).for_each(|job| why.refuse(job));
            continue;
        }
        let connected = match plan.dialler.lane(&plan.class).await {
            Ok(connected) => connected,
            Err(error) => {
                tracing::warn!(%login, error = %Chain(&error), "cannot connect to Postgres");
                let not_let_in = plan.class.is_dedicated() && error.is_not_let_in();
                let why = if not_let_in { Failure::NotLetIn } else { Failure::NotReached };
                backoff.failed(why);
                jobs.drain(..).for_each(|job| why.refuse(job));
                // Those that came meanwhile would wait in vain, too.
                while let Ok(job) = queue.try_recv() {
                    why.refuse(job);
                }
                continue;
            }
        };
        backoff = Backoff::default();
        let (first, pace) = (std::mem::take(&mut jobs), plan.dialler.pace(&plan.class));
        match session::serve(connected, &mut queue, first, plan.statements, pace).await {
            Ended::Closed => ends = plan.class.is_dedicated(),
            Ended::Abandoned => return,
            Ended::Lost(error, unfinished) => {
                tracing::warn!(%login, error = %Chain(&error), unfinished = unfinished.len(),
                    "lost a connection to Postgres");
                jobs = unfinished;
            }
        }
    }
}

/// The next job of a lane without a connection, or nothing at its end.
async fn next(queue: &mut mpsc::Receiver<Job>, class: &Class, ends: bool) -> Option<Job> {
    if !class.is_dedicated() {
        return queue.recv().await;
    }
    if !ends && let Ok(next) = timeout(LINGER, queue.recv()).await {
        return next;
    }
    // What was handed in until now is still served.
    queue.close();
    queue.recv().await
}

/// Why there is no connection.
#[derive(Debug, Clone, Copy)]
enum Failure {
    NotReached,
    NotLetIn,
}

impl Failure {
    fn refuse(self, job: Job) {
        match self {
            Self::NotReached => job.finish(Err(DatabaseError::Unavailable)),
            Self::NotLetIn => job.not_let_in(DatabaseError::Unavailable),
        }
    }
}

/// When to try again. Meanwhile groups are refused at once instead of waiting for a server that is not there, and a stream of
/// groups is no stream of failed logins.
#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
    until: Option<(Instant, Failure)>,
}

impl Backoff {
    fn waiting(&self) -> Option<Failure> {
        self.until.and_then(|(until, why)| (Instant::now() < until).then_some(why))
    }

    fn failed(&mut self, why: Failure) {
        let (first, last) = BACKOFF;
        let delay = first.saturating_mul(1 << self.failures.min(10)).min(last);
        self.failures += 1;
        self.until = Some((Instant::now() + delay.mul_f64(rand::rng().random_range(0.5..1.0)), why));
    }
}
