//! Program 1: converges Tenants, Apps and SearchIndexes.
//!
//! `cli` -> `run` -> `leader` -> `controllers` -> `driver` -> `tenant`, `app`, `search_index` -> `backend`

mod access;
mod app;
mod backend;
mod bootstrap;
mod catalog;
mod cli;
mod connect;
mod context;
mod controllers;
mod drift;
mod driver;
mod error;
mod events;
mod killpoint;
mod leader;
mod metrics;
mod placement;
mod rollout;
mod run;
mod search_index;
mod snapshot;
mod takeover;
mod tenant;
mod triggers;
mod watchdog;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // rustls panics at the first connection when two providers are linked and none was chosen. A second choice cannot be.
    let _chosen = rustls::crypto::ring::default_provider().install_default();
    cli::main()
}
