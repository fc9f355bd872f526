//! What requests take of the process, and how much of that is each tenant's: places among the requests that are worked on, and
//! memory for bodies, rows and answers.
//!
//! - [`Capacity`]: how much there is
//! - [`Load`]: what one request holds
//! - [`shares`]: who may have how much

mod held;
mod shares;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::response::Response;
use prometheus::{Registry, core::Collector};
use uuid::Uuid;

pub use self::shares::Full;
use self::{
    held::held,
    shares::{Bounds, Share, Shares},
};
use crate::error::{ApiError, Code};

/// Requests that are worked on at once. Above it, refusing at once is kinder than a queue in which all time out.
const REQUESTS: u64 = 2048;

/// Bytes that a small request holds at most.
const SMALL_BYTES: u64 = 64 * 1024;

/// How much memory there is for what requests hold.
#[derive(Debug, Clone)]
pub struct Capacity {
    memory: Arc<Shares>,
    /// What a body is taken for that does not say how long it is.
    body_bytes: u64,
}

impl Capacity {
    /// `memory_bytes` for all requests together, of which none has a body of more than `body_bytes`.
    pub fn new(memory_bytes: usize, body_bytes: usize) -> Self {
        let bounds = Bounds { limit: memory_bytes as u64, small: SMALL_BYTES };
        Self { memory: Shares::new(bounds), body_bytes: body_bytes as u64 }
    }

    /// Registers the metrics.
    ///
    /// # Errors
    /// When they are registered already.
    pub fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        let (held, refused) = (Arc::clone(&self.memory), Arc::clone(&self.memory));
        let metrics: [Box<dyn Collector>; 2] = [
            Box::new(prometheus::PullingGauge::new(
                "tenantry_http_memory_held_bytes",
                "Bytes that requests and unsent answers hold",
                Box::new(move || held.held() as f64),
            )?),
            Box::new(prometheus::PullingGauge::new(
                "tenantry_http_memory_refusals",
                "Requests since the start that were refused since there was no memory for them",
                Box::new(move || refused.refused() as f64),
            )?),
        ];
        metrics.into_iter().try_for_each(|metric| registry.register(metric))
    }

    /// Bytes that are held.
    #[cfg(test)]
    pub fn held_bytes(&self) -> u64 {
        self.memory.held()
    }

    /// Places for requests that wait for the same things. Others have places of their own.
    pub fn places(&self) -> Places {
        Places { capacity: self.clone(), shares: Shares::new(Bounds { limit: REQUESTS, small: 0 }) }
    }
}

/// Places for requests.
#[derive(Debug, Clone)]
pub struct Places {
    capacity: Capacity,
    shares: Arc<Shares>,
}

impl Places {
    /// Begins a request, of which the tenant is not known yet.
    ///
    /// # Errors
    /// 503 when there is no place.
    pub fn begin(&self) -> Result<Load, ApiError> {
        let mut place = Share::none(&self.shares);
        place.grow(1).map_err(|_| ApiError::new(Code::Unavailable, "the server is busy").retry_after(1))?;
        let memory = Mutex::new(Share::none(&self.capacity.memory));
        let parts = Parts { place: Mutex::new(place), memory, body_bytes: self.capacity.body_bytes };
        Ok(Load(Some(Arc::new(parts))))
    }
}

/// What one request holds; cheap to clone. The place is free when the last clone is dropped, the memory when the answer has been
/// sent. The default is that of work which no client waits for: nothing bounds it here.
#[derive(Debug, Clone, Default)]
pub struct Load(Option<Arc<Parts>>);

#[derive(Debug)]
struct Parts {
    place: Mutex<Share>,
    memory: Mutex<Share>,
    body_bytes: u64,
}

impl Load {
    /// It is a request of `tenant`. Said before anything is waited for on its behalf.
    ///
    /// # Errors
    /// 503 when the tenant has as many requests as it may.
    pub fn of_tenant(&self, tenant: Uuid) -> Result<(), ApiError> {
        let Some(parts) = &self.0 else { return Ok(()) };
        lock(&parts.place).bind(tenant).map_err(|_| {
            ApiError::new(Code::Unavailable, "too many requests of this tenant at once; try again")
                .retry_after(1)
        })?;
        lock(&parts.memory).bind(tenant).map_err(refused)
    }

    /// Takes memory for `bytes` more.
    ///
    /// # Errors
    /// 503 when there is not enough, 400 when there never will be.
    pub fn hold(&self, bytes: usize) -> Result<(), ApiError> {
        self.take(bytes).map_err(refused)
    }

    /// The same, for who has to say it otherwise; see [`refused`].
    ///
    /// # Errors
    /// Why there is not enough.
    pub fn take(&self, bytes: usize) -> Result<(), Full> {
        match self.memory() {
            Some(mut memory) if bytes > 0 => memory.grow(bytes as u64),
            _ => Ok(()),
        }
    }

    /// Takes memory for a body of `bytes`, or of an unknown length; how much that was, for [`Self::release`].
    ///
    /// # Errors
    /// As [`Self::hold`].
    pub fn hold_body(&self, bytes: Option<u64>) -> Result<usize, ApiError> {
        let most = self.0.as_ref().map_or(0, |parts| parts.body_bytes);
        let bytes = usize::try_from(bytes.unwrap_or(most)).unwrap_or(usize::MAX);
        self.hold(bytes).map(|()| bytes)
    }

    /// Takes memory for `bytes` more, to tell what a change that has happened came to.
    ///
    /// # Errors
    /// 503, which says that it has happened.
    pub fn hold_after_change(&self, bytes: usize) -> Result<(), ApiError> {
        self.hold(bytes).map_err(|_| untold())
    }

    /// Counts `bytes` that are there already.
    pub fn hold_anyway(&self, bytes: usize) {
        if bytes > 0
            && let Some(mut memory) = self.memory()
        {
            memory.add(bytes as u64);
        }
    }

    /// Gives `bytes` back.
    pub fn release(&self, bytes: usize) {
        if bytes > 0
            && let Some(mut memory) = self.memory()
        {
            let rest = memory.amount().saturating_sub(bytes as u64);
            memory.shrink_to(rest);
        }
    }

    /// Has `response` hold the memory for its body until that has been sent, and gives back the rest. Without memory, the answer
    /// to a request that changed nothing (`repeatable`) becomes a refusal; a large one to another becomes the word that the
    /// change has happened.
    pub fn answered(&self, response: Response, repeatable: bool) -> Response {
        let taken = self.memory().map(|mut memory| memory.take());
        match taken {
            Some(memory) => held(response, memory, repeatable),
            None => response,
        }
    }

    fn memory(&self) -> Option<MutexGuard<'_, Share>> {
        self.0.as_ref().map(|parts| lock(&parts.memory))
    }
}

fn lock(share: &Mutex<Share>) -> MutexGuard<'_, Share> {
    share.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A change has happened, and there is no memory for what it came to.
pub fn untold() -> ApiError {
    ApiError::new(
        Code::OutcomeUnknown,
        "the change has happened, but there is no memory to tell what it came to",
    )
    .hint("read the documents; send it again only with the same Idempotency-Key")
}

/// The answer to a request for which there is no memory.
pub fn refused(full: Full) -> ApiError {
    match full {
        Full::Never => ApiError::bad_request("this takes more memory than one request may have")
            .hint("ask for fewer items with limit, or send fewer"),
        Full::Tenant => ApiError::new(
            Code::Unavailable,
            "requests of this tenant hold as much memory as they may; try again",
        )
        .retry_after(1),
        Full::Everybody => ApiError::new(Code::Unavailable, "the server is busy").retry_after(1),
    }
}
