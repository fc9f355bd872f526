//! The long ones: an operator that dies at every point, and manifests that nobody would write. `make sweep` runs them.
#![allow(clippy::unwrap_used, reason = "helpers of a test")]

mod abandoned;
mod crash;
mod deaths;
mod dump;
mod frozen;
mod hostile;
mod scenario;
mod sessions;
