//! The control plane from outside: who is let in, what it bounds, documents, search, jobs, sign-in, client libraries, the guide, and Tenants by REST.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod admin;
mod audit;
mod auth;
mod bounds;
mod clients;
mod degraded;
mod describe;
mod dialects;
mod documents;
mod guide;
mod jobs;
mod limits;
mod matrix;
mod owasp;
mod placement;
mod search;
mod secrets;
mod sign_in;
mod stranger;
mod traces;
mod writes;
