//! The command line.

use std::{path::PathBuf, process::ExitCode, sync::Arc, thread};

use clap::{Parser, Subcommand};
use secrecy::SecretString;
use tenantry_config::{
    probes::{self, Readiness},
    settings, shutdown, telemetry,
};
use tenantry_crds::names::InstanceName;
use tokio::runtime;
use tokio_util::sync::CancellationToken;

use crate::{
    bootstrap,
    metrics::Metrics,
    run::{self, PART},
};

/// Converges Tenants, Apps and SearchIndexes.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Converge until asked to stop. One of several replicas leads.
    Run {
        /// A YAML file with settings; TENANTRY__SECTION__KEY in the environment wins over it.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Prepare a Postgres instance, once: the operator's login, with the password of the instance's URL, and its schema.
    Bootstrap {
        /// The instance: the one of database.url, or one of instances.postgres.
        #[arg(long, value_name = "NAME", default_value = "default")]
        instance: InstanceName,
        /// The database as its administrator: postgres://USER:PASSWORD@HOST:PORT/DATABASE.
        #[arg(long, value_name = "URL", env = "TENANTRY_ADMIN_DATABASE_URL", hide_env_values = true, value_parser = secret)]
        admin_url: SecretString,
        /// A YAML file with settings; TENANTRY__SECTION__KEY in the environment wins over it.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

/// What ends a command early.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs what the command line says.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Run { config } => {
            tenantry_config::load(config.as_deref()).map_err(Failure::from).and_then(operate)
        }
        Command::Bootstrap { instance, admin_url, config } => tenantry_config::load(config.as_deref())
            .map_err(Failure::from)
            .and_then(|settings| prepare(&admin_url, &settings, &instance)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Logs may not have started; whoever started the process reads standard error anyway.
            eprintln!("tenantry-operator: {}", chain(&*failure));
            ExitCode::FAILURE
        }
    }
}

fn operate(settings: settings::Operator) -> Result<(), Failure> {
    let _log = telemetry::start(&settings.log)?;
    let settings = Arc::new(settings);
    let (metrics, readiness) = (Metrics::new()?, Readiness::of(&[PART]));
    let runtime = runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        let shutdown = shutdown::on_signal()?;
        serve_probes(&settings, &metrics, &readiness)?;
        run::run(settings, metrics, &readiness, shutdown).await.map_err(Failure::from)
    });
    // A pass that hangs must not keep a process alive that does not lead any more.
    runtime.shutdown_background();
    done
}

/// On a thread of their own: passes that use up the workers' time must not make the kubelet think that we are dead. They are
/// served until the process exits.
#[allow(clippy::disallowed_methods, reason = "without probes nobody would see that this process is not well")]
fn serve_probes(
    settings: &settings::Operator,
    metrics: &Metrics,
    readiness: &Readiness,
) -> std::io::Result<()> {
    let (listen, registry, readiness) = (settings.metrics.listen, metrics.registry(), readiness.clone());
    let own = runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("probes".to_owned()).spawn(move || {
        let served = own.block_on(probes::serve(listen, readiness, registry, CancellationToken::new()));
        if let Err(error) = served {
            tracing::error!(error = &error as &(dyn std::error::Error + 'static), address = %listen, "no probes");
            std::process::exit(1);
        }
    })?;
    Ok(())
}

fn prepare(
    admin_url: &SecretString,
    settings: &settings::Operator,
    instance: &InstanceName,
) -> Result<(), Failure> {
    let _log = telemetry::start(&settings.log)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(bootstrap::run(admin_url, settings, instance))?;
    Ok(())
}

#[allow(clippy::unnecessary_wraps, reason = "the shape that clap asks for")]
fn secret(text: &str) -> Result<SecretString, std::convert::Infallible> {
    Ok(SecretString::from(text))
}

fn chain(failure: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(failure), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
