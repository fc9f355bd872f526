//! Program 2: serves tenant traffic from the provisioned state.
//!
//! - [`serve`]: the role that answers requests; [`http`] has the routes and their layers
//! - [`worker`]: the role that brings documents into the search indexes
//! - [`registry`]: the tenants, in memory; [`auth`]: who calls, and for which tenant
//! - [`data`], [`search`], [`jobs`], [`audit`], [`admin`]: what is served
//! - [`rate`]: how many requests may come; [`load`]: what they may hold at once
//! - [`describe`]: what the API says of itself
//! - [`duty`]: what one process at a time does
//! - [`instances`]: the Postgres, Redis and search instances, and which of them a tenant has
//! - [`postgres`]: tenants' traffic; [`database`]: all that is the same for every tenant

mod admin;
mod audit;
mod auth;
mod cli;
mod data;
mod database;
mod describe;
mod duty;
mod error;
#[cfg(test)]
mod fixture;
mod http;
mod instances;
mod issue;
mod jobs;
mod load;
#[cfg(test)]
mod on_servers;
mod postgres;
mod rate;
mod registry;
mod search;
mod serve;
mod start;
mod state;
mod vault;
mod worker;

use std::{io::Write, process::ExitCode};

use clap::Parser;
use tenantry_config::{settings, shutdown, telemetry};

use crate::{
    cli::{Cli, Command},
    error::Chain,
    start::StartError,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The log may not have been started yet, and a person is likely to read this.
            let _ = writeln!(std::io::stderr(), "tenantry-controlplane: {}", Chain(&error));
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<(), StartError> {
    rustls::crypto::ring::default_provider().install_default().map_err(|_| StartError::Crypto)?;
    let settings: settings::ControlPlane = tenantry_config::load(cli.config.as_deref())?;
    let _log = telemetry::start(&settings.log)?;
    match cli.command {
        Command::Serve => serve::serve(settings, shutdown::on_signal().map_err(StartError::Signals)?).await,
        Command::Work => worker::work(settings, shutdown::on_signal().map_err(StartError::Signals)?).await,
        Command::Openapi => {
            writeln!(std::io::stdout(), "{:#}", describe::of_nobody()).map_err(StartError::Output)
        }
        Command::Audit { command } => audit::run(&settings, command).await,
        Command::Token(args) => {
            let token = issue::token(&settings, args).await?;
            writeln!(std::io::stdout(), "{token}").map_err(StartError::Output)
        }
    }
}
