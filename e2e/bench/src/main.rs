//! `tenantry-bench`: the benchmarks, by name.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tenantry_bench::{
    Beside, Builds, Documents, Noise, Outcome, builds, documents, growth, noise, peers, serve_baseline,
    tenants,
};

#[derive(Parser)]
enum Bench {
    /// One Tenant and a burst of 500.
    Tenants,
    /// Documents over HTTP, sessions, and what the control plane costs and how fast it follows.
    Documents(Documents),
    /// Documents beside servers that one might pick instead.
    Peers(Beside),
    /// What the others notice of a tenant that does its worst.
    Noise(Noise),
    /// This build beside another one, by turns.
    Builds(Builds),
    /// Fleets of several sizes: growth, rest, restart, rollout, deletion.
    Fleet {
        /// The sizes, each larger than the one before.
        #[arg(default_values_t = [100, 1000, 10_000])]
        sizes: Vec<usize>,
        /// Seconds that the last fleet is left alone; the others are for a fifth of that.
        #[arg(long, default_value_t = 600)]
        rest_seconds: u64,
    },
    /// The server that `documents` is compared with.
    #[command(hide = true)]
    Baseline {
        listen: SocketAddr,
        #[arg(env = "DATABASE_URL", hide_env_values = true)]
        database_url: String,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    match bench(Bench::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn bench(bench: Bench) -> Outcome<()> {
    let report = match bench {
        Bench::Tenants => tenants().await?,
        Bench::Documents(size) => documents(&size).await?,
        Bench::Peers(size) => peers(&size).await?,
        Bench::Noise(size) => noise(&size).await?,
        Bench::Builds(size) => builds(&size).await?,
        Bench::Fleet { sizes, rest_seconds } => growth(&sizes, Duration::from_secs(rest_seconds)).await?,
        Bench::Baseline { listen, database_url } => return serve_baseline(listen, &database_url).await,
    };
    let page = report.write(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))?;
    Ok(writeln!(std::io::stdout(), "{page}")?)
}
