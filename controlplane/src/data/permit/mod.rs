//! What a caller may do with documents of a type. Pure.
//!
//! Permissions add up: each names actions, fields and the documents that it is about, and whoever has several may do what any of
//! them allows. They are compiled once for each set of roles, so a request only fills in who calls and when.
//!
//! - [`condition`]: which documents, as a condition over their columns
//! - [`grants`]: the permissions of a type, compiled for a set of roles
//! - [`rights`]: those of one caller at this moment
//! - [`referred`]: what a document may refer to

mod condition;
mod grants;
mod referred;
mod rights;
#[cfg(test)]
mod tests;

pub use condition::{Condition, Test, Tested};
pub use grants::Grants;
pub use referred::Referred;
pub use rights::{Allowed, Rights, Visible};
