//! Postgres, as the provisioner logins.
//!
//! - [`change`]: what can be changed for a tenant, as values; `ddl` and `rows` say it in SQL
//! - [`observe`]: what is there, in one round trip
//! - [`logins`]: the logins, and which shard of them a tenant gets
//! - [`Provisioners`]: the connections that changes are made on

pub mod change;
mod ddl;
pub mod logins;
pub mod observe;
mod provisioners;
mod rows;

pub use logins::Logins;
pub use provisioners::Provisioners;
