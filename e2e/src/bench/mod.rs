//! Benchmarks: release builds on a private, durable stack; each figure beside a budget and, where there is a peer or a
//! baseline, a ratio against it from the same run.

mod apiserver;
mod baseline;
mod credentials;
mod crowd;
mod documents;
mod fleet;
mod growth;
mod load;
mod operator;
mod peers;
mod refresh;
mod registered;
mod report;
mod switch;
mod tenants;

use std::error::Error;

use crate::rig::program::ProgramOptions;
use crate::rig::{Platform, Stack, StackOptions};

pub use baseline::serve as serve_baseline;
pub use documents::{Documents, documents};
pub use growth::growth;
pub use peers::{Beside, peers};
pub use report::Report;
pub use tenants::tenants;

/// The result of a benchmark that may fail for any reason.
pub type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A platform that writes as it would in production: fsync on, everywhere.
async fn durable_platform() -> Outcome<Platform<'static>> {
    let stack = Stack::start(StackOptions { durable: true, ..StackOptions::default() }).await?;
    // A user of a bench stands for many. Counted all the same, as it costs.
    let limits = ["TENANTRY__LIMITS__USER_PER_MINUTE", "TENANTRY__LIMITS__TENANT_PER_MINUTE"];
    let settings = limits.map(|limit| (limit.to_owned(), "60000000".to_owned())).to_vec();
    let options = ProgramOptions { unobserved: true, settings, ..ProgramOptions::default() };
    Ok(Platform::start_with(stack, &options).await?)
}
