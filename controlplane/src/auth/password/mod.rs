//! Passwords: how they are hashed, and which hashes from elsewhere are understood.
//!
//! - [`hash`]: the formats. Pure, and slow on purpose
//! - [`Hasher`]: keeps that off the threads that answer requests, and bounds it

mod hash;

use std::sync::Arc;

use tenantry_config::settings;
use tokio::sync::Semaphore;

use crate::error::{ApiError, Code};
pub(super) use hash::Checked;
use hash::Cost;

/// Passwords that may wait for their turn; more are refused.
const WAITING: usize = 64;

/// Hashes and checks passwords, a few at once.
#[derive(Debug)]
pub struct Hasher {
    cost: Cost,
    /// What the password of nobody is checked against, so that it takes as long.
    nobody: Arc<str>,
    running: Arc<Semaphore>,
    admitted: Semaphore,
}

/// The hasher cannot work.
#[derive(Debug, thiserror::Error)]
pub enum HasherError {
    /// The cost is out of bounds.
    #[error("auth.argon2: {0}")]
    Cost(argon2::Error),
    /// The system gives no random numbers.
    #[error("hashing a password")]
    Hash(argon2::password_hash::Error),
}

impl Hasher {
    /// As the settings say.
    ///
    /// # Errors
    /// When the cost is out of bounds.
    pub fn new(settings: &settings::Argon2) -> Result<Self, HasherError> {
        let cost = Cost::new(settings.memory_kib, settings.iterations).map_err(HasherError::Cost)?;
        let nobody = cost.hash("the password of nobody").map_err(HasherError::Hash)?.into();
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let at_once = if settings.concurrency == 0 { processors } else { settings.concurrency };
        Ok(Self {
            cost,
            nobody,
            running: Arc::new(Semaphore::new(at_once)),
            admitted: Semaphore::new(at_once + WAITING),
        })
    }

    /// The hash to store for a new password.
    ///
    /// # Errors
    /// When too many wait.
    pub(super) async fn hash(&self, password: String) -> Result<String, ApiError> {
        let cost = self.cost;
        self.work(move || cost.hash(&password)).await?.map_err(ApiError::internal)
    }

    /// Whether `password` is the one of `stored`; without one it is not, after the same work.
    ///
    /// # Errors
    /// When too many wait.
    pub(super) async fn check(&self, password: String, stored: Option<&str>) -> Result<Checked, ApiError> {
        let cost = self.cost;
        let (known, hash): (bool, Arc<str>) = match stored {
            Some(stored) => (true, stored.into()),
            None => (false, Arc::clone(&self.nobody)),
        };
        let checked = self.work(move || cost.check(&password, &hash)).await?;
        Ok(if known { checked } else { Checked::Wrong })
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let busy =
            || ApiError::new(Code::Unavailable, "too many people sign in at this moment").retry_after(1);
        let _admitted = self.admitted.try_acquire().map_err(|_| busy())?;
        let permit = Arc::clone(&self.running).acquire_owned().await.map_err(|_| busy())?;
        let done = tokio::task::spawn_blocking(move || {
            // Held until the work is done, also when nobody waits for it any more.
            let _permit = permit;
            work()
        });
        done.await.map_err(ApiError::internal)
    }
}
