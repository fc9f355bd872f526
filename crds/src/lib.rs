//! The contract with Kubernetes, shared by the operator, the control plane and the tests.
//!
//! Pure values only: no client and no I/O. What becomes an identifier somewhere else (a schema, a role, a Redis key,
//! an index uid) is a newtype from [`names`], made there and nowhere else.

#![allow(clippy::duplicated_attributes, reason = "each printer column repeats the keys of the one before")]

pub mod conditions;
pub mod core_app;
pub mod definition;
pub mod labels;
pub mod names;
pub mod reason;
pub mod reference;
pub mod v1alpha1;
