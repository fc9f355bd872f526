//! The long ones: an operator that dies at every point, and manifests that nobody would write. `make sweep` runs them.
#![allow(clippy::unwrap_used, reason = "helpers of a test")]

mod abandoned;
#[path = "../tenant/backends.rs"]
#[allow(dead_code, reason = "shared with the tests of tenants")]
mod backends;
mod crash;
mod dump;
mod frozen;
mod hostile;
#[path = "../tenant/operated.rs"]
#[allow(dead_code, reason = "shared with the tests of tenants")]
mod operated;
mod scenario;
