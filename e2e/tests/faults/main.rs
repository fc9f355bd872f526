//! Faults on the wire between the operator and what it depends on: the status says what is wrong, nothing turns hot, the rest goes
//! on, and everything converges once it heals.
#![allow(clippy::unwrap_used, reason = "helpers of a test")]

#[path = "../tenant/backends.rs"]
#[allow(dead_code, reason = "shared with the tests of tenants")]
mod backends;
mod kubernetes;
mod leadership;
#[path = "../tenant/operated.rs"]
#[allow(dead_code, reason = "shared with the tests of tenants")]
mod operated;
mod servers;
mod status;
mod world;
