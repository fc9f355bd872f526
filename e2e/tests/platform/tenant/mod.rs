//! Tenants from outside: manifests go in, and what is in Postgres, Redis, the search engine and the status comes out.
//!
//! All tests share one operator on one stack, so each takes apps and tenants of its own.

mod access;
mod conflicts;
mod departure;
mod drift;
mod dry_run;
mod evolution;
mod life;
mod lifecycle;
mod migrations;
mod outage;
mod rollout;
mod schema_evolution;
mod search;
mod snapshot;
