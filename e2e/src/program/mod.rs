//! Our own programs under test: `tenantry-operator` and `tenantry-controlplane`, as the child processes that a user
//! would run, with settings from the environment.

mod binary;
mod mortal;
mod settings;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

pub use mortal::mortal_operator;
pub use settings::{ProgramOptions, Settings};

use tenantry_rig::endpoints::http_client;
use tenantry_rig::kstatus::Observer;
use tenantry_rig::process::{Launch, Plan, Probe, Process, Sandbox, Server, Signal, captured, ports};
use tenantry_rig::stack::answers_ok;
use tenantry_rig::{Endpoints, RigError, SECOND};

/// The environment variable with the path of the control plane's program.
const COMMAND: &str = "TENANTRY";

/// How the environment variables begin that are settings of our programs.
const SETTINGS_PREFIX: &str = "TENANTRY__";

const OPERATOR: &str = "tenantry-operator";
const CONTROLPLANE: &str = "tenantry-controlplane";

/// A running program of ours.
#[derive(Debug)]
pub struct Program {
    // First: its panic on a broken rule unwinds through the others.
    _observer: Option<Observer>,
    server: Server,
    http_url: Option<String>,
    metrics_url: String,
}

impl Program {
    /// Starts `tenantry-operator run` and waits until it is ready. What it writes is held against the rules of status:
    /// dropping the program panics when one was broken.
    pub async fn operator(endpoints: &Endpoints, options: &ProgramOptions) -> Result<Self, RigError> {
        let program = Self::start(endpoints, options, OPERATOR, "run", Settings::operator).await?;
        let observer = if options.unobserved { None } else { Some(Observer::start(endpoints)?) };
        Ok(Self { _observer: observer, ..program })
    }

    /// Starts `tenantry-controlplane serve` and waits until it is ready.
    pub async fn serve(endpoints: &Endpoints, options: &ProgramOptions) -> Result<Self, RigError> {
        Self::start(endpoints, options, CONTROLPLANE, "serve", Settings::control_plane).await
    }

    /// Starts `tenantry-controlplane work` and waits until it is ready.
    pub async fn work(endpoints: &Endpoints, options: &ProgramOptions) -> Result<Self, RigError> {
        Self::start(endpoints, options, CONTROLPLANE, "work", Settings::control_plane).await
    }

    async fn start(
        endpoints: &Endpoints,
        options: &ProgramOptions,
        binary: &str,
        command: &str,
        settings: fn(&Endpoints, &ProgramOptions) -> Result<Settings, RigError>,
    ) -> Result<Self, RigError> {
        let program = binary::find(binary, options)?;
        let settings = settings(endpoints, options)?;
        let sandbox = Arc::new(Sandbox::create(binary, None)?);
        let http = http_client()?;
        let started = Server::launch(&sandbox, || {
            let [api, metrics] = ports::free()?;
            let listening = settings.clone().listening(command == "serve", api, metrics);
            let launch = Launch::new(format!("{binary}-{command}"), &program).args([command]);
            let launch = inherited_settings().fold(launch, Launch::without_env);
            let launch = listening.variables().fold(launch, |launch, (key, value)| launch.env(key, value));
            let metrics_url = format!("http://127.0.0.1:{metrics}");
            let ready = http.get(format!("{metrics_url}/readyz"));
            let probe: Probe = Box::new(move || {
                let request = ready.try_clone();
                Box::pin(async move { answers_ok(request).await })
            });
            Ok((Plan { launch, graceful: Signal::TERM, probe }, (api, metrics_url)))
        })
        .await;
        let (server, (api, metrics_url)) = started.inspect_err(|_| sandbox.keep())?;
        let http_url = (command == "serve").then(|| format!("http://127.0.0.1:{api}"));
        Ok(Self { _observer: None, server, http_url, metrics_url })
    }

    /// The process, to kill (SIGKILL), stop (SIGTERM), pause and start it again on the same ports.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The process that runs now, for its id and log.
    pub fn process(&self) -> Arc<Process> {
        self.server.process()
    }

    /// Where tenants' requests go; only of `serve`.
    pub fn http_url(&self) -> Option<&str> {
        self.http_url.as_deref()
    }

    /// Where `/livez`, `/readyz` and `/metrics` are.
    pub fn metrics_url(&self) -> &str {
        &self.metrics_url
    }
}

/// Runs `tenantry-operator bootstrap`: the operator's login and schema, once for each Postgres instance.
pub async fn bootstrap(endpoints: &Endpoints, options: &ProgramOptions) -> Result<(), RigError> {
    let settings = Settings::bootstrap(endpoints, options)?;
    run_to_end(OPERATOR, &["bootstrap"], &settings, options).await?;
    let Some(second) = &endpoints.second else { return Ok(()) };
    let settings = Settings::bootstrap_second(endpoints, second, options)?;
    run_to_end(OPERATOR, &["bootstrap", "--instance", SECOND], &settings, options).await.map(|_| ())
}

/// Runs `tenantry-controlplane token ARGS` and yields the token that it prints.
pub async fn token(
    endpoints: &Endpoints,
    options: &ProgramOptions,
    args: &[&str],
) -> Result<String, RigError> {
    let args: Vec<&str> = std::iter::once("token").chain(args.iter().copied()).collect();
    controlplane(endpoints, options, &args).await.map(|printed| printed.trim().to_owned())
}

/// Runs `tenantry-controlplane ARGS` to its end and yields what it prints.
pub async fn controlplane(
    endpoints: &Endpoints,
    options: &ProgramOptions,
    args: &[&str],
) -> Result<String, RigError> {
    run_to_end(CONTROLPLANE, args, &Settings::control_plane(endpoints, options)?, options).await
}

/// What a person at a shell needs to run the control plane's commands against this stack.
pub fn command_line(
    endpoints: &Endpoints,
    options: &ProgramOptions,
) -> Result<BTreeMap<String, String>, RigError> {
    let settings = Settings::control_plane(endpoints, options)?;
    let program = binary::find(CONTROLPLANE, options)?.display().to_string();
    let settings = settings.variables().map(|(key, value)| (key.to_owned(), value.to_owned()));
    Ok(settings.chain([(COMMAND.to_owned(), program)]).collect())
}

/// The settings of the shell that the rig was started from: a program under test gets its own and no others.
fn inherited_settings() -> impl Iterator<Item = OsString> {
    std::env::vars_os()
        .map(|(key, _)| key)
        .filter(|key| key.as_encoded_bytes().starts_with(SETTINGS_PREFIX.as_bytes()))
}

async fn run_to_end(
    binary: &str,
    args: &[&str],
    settings: &Settings,
    options: &ProgramOptions,
) -> Result<String, RigError> {
    const LIMIT: Duration = Duration::from_secs(60);
    let mut command = tokio::process::Command::new(binary::find(binary, options)?);
    for key in inherited_settings() {
        command.env_remove(key);
    }
    command.args(args).envs(settings.variables());
    captured(format!("{binary} {}", args.join(" ")), LIMIT, command).await
}
