//! Passwords: how they are hashed, and which hashes from elsewhere are understood.
//!
//! - [`form`]: the form in which a password is hashed
//! - [`hash`]: makes and checks hashes. Pure, and slow on purpose
//! - [`stored`]: the forms of hashes; [`price`]: what each costs
//! - [`turns`]: whose password comes next, fairly between tenants; [`queue`]: waits for it
//! - [`thread`]: where it is hashed
//! - [`Hasher`]: keeps the work off the threads that answer requests, and bounds it

mod form;
mod hash;
mod price;
mod queue;
mod stored;
mod thread;
mod turns;

use std::sync::Arc;

use tenantry_config::settings;
use uuid::Uuid;

use self::{
    hash::Cost,
    price::{MAX_MEMORY_KIB, Price},
    queue::Queue,
    turns::Bounds,
};
use crate::error::{ApiError, Code};
pub(super) use form::Password;
pub(super) use hash::Checked;
pub use stored::storable;

/// Passwords that may wait for their turn; more are refused.
const WAITING: usize = 256;

/// Hashes and checks passwords, a few at once.
#[derive(Debug)]
pub struct Hasher {
    cost: Cost,
    /// What the password of nobody is checked against, so that it takes as long.
    nobody: Arc<str>,
    queue: Arc<Queue>,
}

/// The hasher cannot work.
#[derive(Debug, thiserror::Error)]
pub enum HasherError {
    /// The cost is out of bounds.
    #[error("auth.argon2: {0}")]
    Cost(argon2::Error),
    /// A hash would take more memory than there is for all of them.
    #[error("auth.argon2.memoryKib: http.memoryBytes leaves {0} KiB for passwords")]
    Memory(u64),
    /// The system gives no random numbers.
    #[error("hashing a password")]
    Hash(argon2::password_hash::Error),
}

impl Hasher {
    /// As the settings say, with at most `memory_bytes` for all that is worked on at once.
    ///
    /// # Errors
    /// When the cost is out of bounds.
    pub fn new(settings: &settings::Argon2, memory_bytes: usize) -> Result<Self, HasherError> {
        let cost = Cost::new(settings.memory_kib, settings.iterations).map_err(HasherError::Cost)?;
        let memory_kib = memory_bytes as u64 / 1024;
        if u64::from(settings.memory_kib.max(MAX_MEMORY_KIB)) > memory_kib {
            return Err(HasherError::Memory(memory_kib));
        }
        let nobody =
            cost.hash(&Password::new("the password of nobody".to_owned())).map_err(HasherError::Hash)?.into();
        let places = places(settings);
        let bounds = Bounds { places, memory_kib, waiting: WAITING, own: cost.price() };
        Ok(Self { cost, nobody, queue: Queue::new(bounds) })
    }

    /// The memory that `settings` have use for, in bytes: for each place, and for the largest hash from elsewhere.
    pub fn wanted_bytes(settings: &settings::Argon2) -> usize {
        let own = (settings.memory_kib as usize).saturating_mul(places(settings));
        own.saturating_add(MAX_MEMORY_KIB as usize).saturating_mul(1024)
    }

    /// The hash to store for a new password of a user of `tenant`.
    ///
    /// # Errors
    /// When too many wait.
    pub(super) async fn hash(&self, tenant: Uuid, password: Password) -> Result<String, ApiError> {
        let cost = self.cost;
        self.work(tenant, cost.price(), move || cost.hash(&password)).await?.map_err(ApiError::internal)
    }

    /// Whether `password` is the one of `stored`; without one it is not, after the same work.
    ///
    /// # Errors
    /// When too many wait.
    pub(super) async fn check(
        &self,
        tenant: Uuid,
        password: Password,
        stored: Option<&str>,
    ) -> Result<Checked, ApiError> {
        let cost = self.cost;
        // A hash that is not looked at takes no less time than any other.
        let known = stored.and_then(|stored| Some((cost.price_of_check(&password, stored)?, stored)));
        let (price, hash): (Price, Arc<str>) = match known {
            Some((price, stored)) => (price, stored.into()),
            None => {
                let price = cost.price_of_check(&password, &self.nobody);
                (price.unwrap_or(cost.price()), Arc::clone(&self.nobody))
            }
        };
        let checked = self.work(tenant, price, move || cost.check(&password, &hash)).await?;
        Ok(if known.is_some() { checked } else { Checked::Wrong })
    }

    async fn work<T: Send + 'static>(
        &self,
        tenant: Uuid,
        price: Price,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let turn = self.queue.turn(tenant, price).await.ok_or_else(|| {
            ApiError::new(Code::Unavailable, "too many people sign in at this moment").retry_after(1)
        })?;
        let done = thread::spawn(move || {
            // Held until the work is done, also when nobody waits for it any more.
            let _turn = turn;
            work()
        });
        done.map_err(ApiError::internal)?.await.map_err(ApiError::internal)
    }
}

/// Passwords that are worked on at once.
fn places(settings: &settings::Argon2) -> usize {
    match settings.concurrency {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        set => set,
    }
}
