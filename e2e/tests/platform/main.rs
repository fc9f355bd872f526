//! The platform from the cluster's side: what the API server accepts, what the charts install, and what becomes of a Tenant.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod charts;
mod crds;
mod tenant;
