//! The contract with Postgres, shared by the operator and the control plane.
//!
//! - [`platform`]: the schema `tenantry` as migrations
//! - [`changes`]: what changed in it since a look
//! - [`bootstrap`]: what a database administrator does once
//! - [`logins`]: the logins, their names and their derived passwords
//! - [`layout`]: the table of a document type, column by column
//! - [`registry`]: the provisioned state as typed records
//! - [`mark`]: the ownership mark on schemas and roles
//! - [`sql`]: quoting of names and values

pub mod bootstrap;
pub mod changes;
pub mod layout;
pub mod logins;
pub mod mark;
pub mod platform;
pub mod registry;
pub mod sql;
