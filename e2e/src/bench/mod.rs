//! Benchmarks: release builds on a private, durable stack; each figure beside a budget and, where there is a peer or a
//! baseline, a ratio against it from the same run.

mod apiserver;
mod baseline;
mod crowd;
mod documents;
mod fleet;
mod growth;
mod load;
mod operator;
mod peers;
mod report;
mod tenants;

use std::error::Error;

use crate::rig::program::ProgramOptions;
use crate::rig::{Platform, Stack, StackOptions};

pub use baseline::serve as serve_baseline;
pub use documents::documents;
pub use growth::growth;
pub use peers::peers;
pub use report::Report;
pub use tenants::tenants;

/// The result of a benchmark that may fail for any reason.
pub type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A platform that writes as it would in production: fsync on, everywhere.
async fn durable_platform() -> Outcome<Platform<'static>> {
    let stack = Stack::start(StackOptions { durable: true, ..StackOptions::default() }).await?;
    let unobserved = ProgramOptions { unobserved: true, ..ProgramOptions::default() };
    Ok(Platform::start_with(stack, &unobserved).await?)
}
