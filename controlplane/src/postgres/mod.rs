//! Tenants' Postgres traffic: thin connection actors on the wire protocol.
//!
//! A request is one group of messages with one Sync, which makes it one transaction: the tenant's role, then its statements. One
//! task owns a connection and writes groups whole, so no two requests can interleave, and it finishes a group whether or not anybody
//! still waits for the answer.
//!
//! - [`statement`]: SQL text, its parameters, and a group of both
//! - [`database`]: which connection a tenant's groups go to, and how many at once
//! - [`lane`]: one connection after another, with its queue
//! - [`session`]: moves bytes between one connection and its pipeline
//! - [`pipeline`]: what is on the wire and what it came to. Pure
//! - [`cache`]: the statements that a connection knows. Pure
//! - [`wire`]: the few messages that pipelines speak
//! - [`connect`]: start-up and SCRAM. Plain TCP only, for now: an address that asks for TLS is refused
//!
//! All that is the same for every tenant (registry, journals' drains, migrations) goes through sqlx instead.

mod address;
mod answer;
mod cache;
mod connect;
mod database;
mod error;
mod job;
mod lane;
#[cfg(test)]
mod on_servers;
mod pipeline;
mod reply;
mod session;
mod statement;
mod wire;

pub use address::{Address, AddressError};
pub use database::{TenantDatabase, Tuning};
pub use error::{DatabaseError, ServerError, SqlState};
pub use reply::{Reply, Row};
pub use statement::{Access, Bound, Group, Params, Template, TemplateBuilder};
