//! The audit journal: rows that tenants' transactions add and nobody changes, sealed into a hash chain for each tenant.
//!
//! A chain in the transaction of a write would make the writes of a tenant wait for each other's disk. So the worker seals rows
//! afterwards, in batches, once no transaction can add a row among them any more.
//!
//! - [`canonical`]: the bytes that are hashed. Pure
//! - [`chain`]: whether a chain, its rows and its head agree. Pure
//! - [`horizon`]: up to which row nothing can be added any more. Pure
//! - [`round`]: what one transaction seals. Pure
//! - [`row`]: a row of the journal, as it is hashed
//! - [`seal`]: the worker's part
//! - [`verify`]: the command `audit verify`
//! - [`routes`]: what administrators of a tenant read

mod canonical;
mod chain;
mod horizon;
mod metrics;
#[cfg(test)]
mod on_servers;
mod round;
mod routes;
mod row;
mod seal;
mod verify;

pub use canonical::SealKey;
pub use metrics::SealMetrics;
pub use routes::{ROUTES, router};
pub use seal::Sealer;
pub use verify::run;
