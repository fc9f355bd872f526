//! The whole platform: a stack with the CRDs applied, its database prepared, and our three processes on it.

use tenantry_rig::{Endpoints, RigError, Stack};
use tokio::sync::OnceCell;

use crate::checkout::apply_crds;
use crate::program::{Program, ProgramOptions, bootstrap, command_line};

/// The control plane's tenant API, in the env file.
const URL: &str = "TENANTRY_URL";
/// The control plane's probes and metrics, in the env file.
const METRICS_URL: &str = "TENANTRY_METRICS_URL";
/// The operator's probes and metrics, in the env file.
const OPERATOR_METRICS_URL: &str = "OPERATOR_METRICS_URL";

/// Whether an operator of a platform that somebody started serves this stack.
pub fn has_operator(endpoints: &Endpoints) -> bool {
    endpoints.programs.contains_key(OPERATOR_METRICS_URL)
}

/// A running platform, or a connection to one that somebody else started.
#[derive(Debug)]
pub struct Platform<'a> {
    // Fields drop in this order: the programs go before the servers that they use.
    programs: Option<Programs>,
    stack: StackOf<'a>,
    endpoints: Endpoints,
}

#[derive(Debug)]
enum StackOf<'a> {
    Owned(Box<Stack>),
    Borrowed(&'a Stack),
}

#[derive(Debug)]
struct Programs {
    work: Program,
    serve: Program,
    operator: Program,
}

static SHARED: OnceCell<Platform<'static>> = OnceCell::const_new();

impl Platform<'static> {
    /// A private platform on a private stack, for tests that break things.
    pub async fn start(stack: Stack) -> Result<Self, RigError> {
        Self::start_with(stack, &ProgramOptions::default()).await
    }

    /// The same, with other settings for the programs.
    pub async fn start_with(stack: Stack, options: &ProgramOptions) -> Result<Self, RigError> {
        let started = Self::start_programs(&stack, options).await;
        let (endpoints, programs) = started.inspect_err(|_| stack.keep_logs())?;
        Ok(Self { stack: StackOf::Owned(Box::new(stack)), endpoints, programs: Some(programs) })
    }

    /// The platform for tests, on [`Stack::shared`]: one operator serves the tenants of all tests, so each test takes
    /// its own tenants and apps.
    pub async fn shared() -> Result<&'static Self, RigError> {
        SHARED
            .get_or_try_init(|| async {
                let stack = Stack::shared().await?;
                let endpoints = stack.endpoints().clone();
                let (endpoints, programs) = if endpoints.programs.contains_key(URL) {
                    (endpoints, None)
                } else {
                    let (endpoints, programs) =
                        Self::start_programs(stack, &ProgramOptions::default()).await?;
                    (endpoints, Some(programs))
                };
                Ok(Self { stack: StackOf::Borrowed(stack), endpoints, programs })
            })
            .await
    }

    async fn start_programs(
        stack: &Stack,
        options: &ProgramOptions,
    ) -> Result<(Endpoints, Programs), RigError> {
        let mut endpoints = stack.endpoints().clone();
        tokio::try_join!(apply_crds(&endpoints), bootstrap(&endpoints, options))?;
        // The operator migrates the schema that the others read.
        let operator = Program::operator(&endpoints, options).await?;
        let (serve, work) =
            tokio::try_join!(Program::serve(&endpoints, options), Program::work(&endpoints, options))?;
        endpoints.programs = command_line(&endpoints, options)?;
        let addresses = [
            (URL, serve.http_url()),
            (METRICS_URL, Some(serve.metrics_url())),
            (OPERATOR_METRICS_URL, Some(operator.metrics_url())),
        ];
        let addresses =
            addresses.into_iter().filter_map(|(key, url)| Some((key.to_owned(), url?.to_owned())));
        endpoints.programs.extend(addresses);
        Ok((endpoints, Programs { work, serve, operator }))
    }
}

impl Platform<'_> {
    /// How to reach the servers and the programs.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// The stack beneath.
    pub fn stack(&self) -> &Stack {
        match &self.stack {
            StackOf::Owned(stack) => stack,
            StackOf::Borrowed(stack) => stack,
        }
    }

    /// The operator, to break it; only of a platform that this process started.
    pub fn operator(&self) -> Result<&Program, RigError> {
        Ok(&self.programs()?.operator)
    }

    /// The control plane's `serve`, to break it; only of a platform that this process started.
    pub fn serve(&self) -> Result<&Program, RigError> {
        Ok(&self.programs()?.serve)
    }

    /// The control plane's `work`, to break it; only of a platform that this process started.
    pub fn work(&self) -> Result<&Program, RigError> {
        Ok(&self.programs()?.work)
    }

    /// The URL of the tenant API.
    pub fn url(&self) -> Result<&str, RigError> {
        self.endpoints
            .programs
            .get(URL)
            .map(String::as_str)
            .ok_or_else(|| RigError::Refused("the control plane has no address".to_owned()))
    }

    /// Keeps all logs when the platform ends. A panic does so by itself.
    pub fn keep_logs(&self) {
        self.stack().keep_logs();
        for program in
            self.programs.iter().flat_map(|programs| [&programs.work, &programs.serve, &programs.operator])
        {
            program.server().keep_logs();
        }
    }

    fn programs(&self) -> Result<&Programs, RigError> {
        self.programs.as_ref().ok_or_else(|| {
            RigError::Refused(
                "a platform shared with others is not broken on purpose; use Platform::start".to_owned(),
            )
        })
    }
}
