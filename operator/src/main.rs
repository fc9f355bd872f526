//! Program 1: converges Tenants, Apps and SearchIndexes.

mod backend;
mod catalog;
mod context;
mod driver;
mod error;
mod leader;
mod metrics;

fn main() {}
