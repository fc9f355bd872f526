//! Faults on the wire between the operator and what it depends on: the status says what is wrong, nothing turns hot, the rest goes
//! on, and everything converges once it heals.
#![allow(clippy::unwrap_used, reason = "helpers of a test")]

mod crash;
mod durability;
mod kubernetes;
mod leadership;
mod rig;
mod servers;
mod status;
mod world;
