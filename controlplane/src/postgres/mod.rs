//! Tenants' Postgres traffic: thin connection actors on the wire protocol.
//!
//! A request is one group of messages with one Sync, which makes it one transaction: the tenant's role, then its statements. One
//! task owns a connection and writes groups whole, so no two requests can interleave, and it finishes a group whether or not anybody
//! still waits for the answer.
//!
//! - [`statement`]: SQL text, its parameters, and a group of both
//! - [`database`]: which connection a tenant's groups go to, and how many at once
//! - [`dial`]: makes every connection, each for a class: the shard's login, or one tenant's own
//! - [`lane`]: one connection after another, with its queue
//! - [`dedicated`]: which tenants have lanes of their own. Pure
//! - [`slow`]: connections for one request at a time, which can be cancelled
//! - [`session`]: moves bytes between one connection and its pipeline
//! - [`pipeline`]: what is on the wire and what it came to. Pure
//! - [`kept`]: the rows of a group while they arrive, and the memory that they take
//! - [`turns`]: tenants take turns on a lane. Pure
//! - [`share`]: how much of a lane one tenant may have. Pure
//! - [`begin`]: how a group begins
//! - [`cache`]: the statements that a connection knows. Pure
//! - [`wire`]: the few messages that pipelines speak
//! - [`connect`]: start-up and SCRAM. Plain TCP only, for now: an address that asks for TLS is refused
//!
//! All that is the same for every tenant (registry, journals' drains, migrations) goes through sqlx instead.

mod address;
mod answer;
mod begin;
mod cache;
mod connect;
mod database;
mod dedicated;
mod dial;
mod error;
mod job;
mod kept;
mod lane;
mod metrics;
#[cfg(test)]
mod on_servers;
mod pipeline;
mod reply;
mod session;
mod share;
mod slow;
mod statement;
mod turns;
mod wire;

pub use address::{Address, AddressError};
pub use database::{TenantDatabase, Tuning};
pub use error::{DatabaseError, ServerError, SqlState};
pub use metrics::DatabaseMetrics;
pub use reply::{Reply, Row};
pub use statement::{Bound, Group, Params, Template, TemplateBuilder};
