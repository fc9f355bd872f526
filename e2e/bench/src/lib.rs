//! Benchmarks: release builds on a private, durable stack; each figure beside a budget and, where there is a peer or a
//! baseline, a ratio against it from the same run.

mod apiserver;
mod baseline;
mod builds;
mod credentials;
mod crowd;
mod documents;
mod fleet;
mod growth;
mod load;
mod noise;
mod operator;
mod peers;
mod refresh;
mod registered;
mod report;
mod switch;
mod tenants;
mod wal;

use std::error::Error;
use std::path::PathBuf;

use tenantry_e2e::Platform;
use tenantry_e2e::program::ProgramOptions;
use tenantry_rig::{Stack, StackOptions};

pub use baseline::serve as serve_baseline;
pub use builds::{Builds, builds};
pub use documents::{Documents, documents};
pub use growth::growth;
pub use noise::{Noise, noise};
pub use peers::{Beside, peers};
pub use report::Report;
pub use tenants::tenants;

/// The result of a benchmark that may fail for any reason.
pub type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Settings of the control plane that differ from what a bench usually has.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Settings {
    /// A setting of the control plane by its environment variable, as in `TENANTRY__DATABASE__CONNECTIONS_PER_SHARD=2`; it is
    /// said so on the page.
    #[arg(long = "set", value_parser = setting)]
    set: Vec<(String, String)>,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| name.starts_with("TENANTRY__"));
    pair.map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "TENANTRY__NAME=VALUE".to_owned())
}

impl Settings {
    /// What the page says of them.
    fn said(&self) -> String {
        self.set.iter().map(|(name, value)| format!(" With `{name}={value}`.")).collect()
    }
}

/// A platform that writes as it would in production: fsync on, everywhere, and each request logged as JSON.
async fn durable_platform() -> Outcome<Platform<'static>> {
    platform_with(&Settings::default()).await
}

/// The same with other settings.
async fn platform_with(settings: &Settings) -> Outcome<Platform<'static>> {
    platform_of(settings, None).await
}

/// The same with the programs in a folder, as another build has them.
async fn platform_of(settings: &Settings, programs: Option<PathBuf>) -> Outcome<Platform<'static>> {
    let stack = Stack::start(StackOptions { durable: true, ..StackOptions::default() }).await?;
    let usual = [
        // A user of a bench stands for many. Counted all the same, as it costs.
        ("TENANTRY__LIMITS__USER_PER_MINUTE", "60000000"),
        ("TENANTRY__LIMITS__TENANT_PER_MINUTE", "60000000"),
        ("TENANTRY__LIMITS__ADDRESS_PER_MINUTE", "60000000"),
        ("TENANTRY__LOG__FORMAT", "json"),
    ];
    let usual = usual.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let settings = usual.into_iter().chain(settings.set.iter().cloned()).collect();
    let options = ProgramOptions { unobserved: true, settings, programs, ..ProgramOptions::default() };
    Ok(Platform::start_with(stack, &options).await?)
}
