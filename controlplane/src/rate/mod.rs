//! How many requests an address, a tenant, a user and a route may make.
//!
//! Redis has one bucket for each of them, which all replicas share. A replica takes tokens from it in chunks and serves requests
//! from those, so that a request waits for Redis only when its chunk is spent. Without Redis each replica counts for itself.
//!
//! - [`limit`]: a rate, and whom it is for
//! - [`bucket`]: what a replica knows of one bucket. Pure
//! - [`buckets`]: all of them
//! - [`shared`]: the buckets in Redis
//! - [`address`]: which address a request came from
//! - [`gate`]: what the layers ask

mod address;
mod bucket;
mod buckets;
mod gate;
mod limit;
#[cfg(test)]
mod on_servers;
mod shared;
#[cfg(test)]
mod tests;

pub use address::{client, counted, network};
pub use gate::{Rates, per_address};
