//! Job queues on Redis Streams.
//!
//! A job lives in its stream, or in the delayed set between two attempts, or among the dead letters: at each moment in exactly
//! one of them, since every move is one script. Nothing is ever trimmed; a full queue refuses.
//!
//! - [`routes`]: the API
//! - [`queues`]: the scripts and what they answer
//! - [`token`]: what proves that a caller holds a lease
//! - [`backoff`]: when a job that failed is tried again
//! - [`metrics`]: what happened to jobs

mod backoff;
mod metrics;
mod queues;
mod routes;
mod token;

pub use metrics::JobMetrics;
pub use queues::{QueueError, Queues};
pub use routes::{MAX_WAIT, ROUTES, lease_router, router};
