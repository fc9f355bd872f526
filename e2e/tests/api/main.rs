//! The control plane from outside: who is let in, search, jobs, and Tenants by REST.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod admin;
mod audit;
mod auth;
mod degraded;
mod describe;
mod documents;
mod jobs;
mod limits;
mod matrix;
mod owasp;
mod placement;
mod search;
mod stranger;
mod traces;
mod world;
mod writes;
