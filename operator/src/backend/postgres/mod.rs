//! Postgres.
//!
//! - [`access`]: direct access
//! - [`change`]: what can be changed for a tenant, as values; `ddl` and `rows` say it in SQL
//! - [`dial`]: makes every connection, with its class in its type
//! - [`observe`]: what is there, in one round trip
//! - [`step`]: what is changed after that, one by one; `step_sql` says it in SQL
//! - [`migrator`]: the session in which that happens
//! - `barrier`: waits for transactions that began before a change
//! - [`Cell`]: an instance, with the registry, the logins and the connections that changes are made on
//! - `logins`: the logins, and which shard of them a tenant gets
//! - `provisioners`: the connections as provisioner logins
//! - [`transfer`]: rows on their way to and from a snapshot

pub mod access;
mod barrier;
mod cell;
pub mod change;
pub mod ddl;
pub mod dial;
mod logins;
pub mod migrator;
pub mod observe;
mod provisioners;
mod rows;
pub mod step;
pub mod step_sql;
pub mod transfer;

pub use cell::{Cell, LoginKeys};
