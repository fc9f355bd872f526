//! `tenantry-rig`: the real stack for people and scripts.

mod background;
mod foreground;

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tenantry_e2e::Platform;
use tenantry_rig::toolchain::Toolchain;
use tenantry_rig::{RigError, Stack, StackOptions};

/// Runs the real stack (etcd, kube-apiserver, PostgreSQL, Redis, Meilisearch) and Tenantry on it, without containers.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts the stack in the background, with the samples applied, and writes the env file.
    Up {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        what: What,
        #[command(flatten)]
        lifetime: Lifetime,
    },
    /// Stops what `up` started.
    Down {
        #[command(flatten)]
        place: Place,
    },
    /// Starts a stack, runs a command with TENANTRY_RIG_ENV set, and stops the stack. Its exit code is the command's.
    Run {
        #[command(flatten)]
        what: What,
        /// Starts the command together with the stack: for one that waits for the env file by itself, as our tests do.
        #[arg(long)]
        at_once: bool,
        /// The command and its arguments.
        #[arg(trailing_var_arg = true, required = true)]
        command: Vec<OsString>,
    },
    /// Finds or installs the tools, Helm among them, and prints where they are.
    Tools,
    /// The process behind `up`.
    #[command(hide = true)]
    Hold {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        what: What,
        #[command(flatten)]
        lifetime: Lifetime,
    },
}

/// Where the files of a stack in the background are.
#[derive(Args, Clone)]
struct Place {
    /// The folder of the env file, the process id and the log.
    #[arg(long, default_value = ".rig")]
    folder: PathBuf,
}

/// When a stack in the background ends, if not by `down`.
#[derive(Args, Clone, Copy)]
struct Lifetime {
    /// It stops when the process with this id has ended.
    #[arg(long, value_name = "PID")]
    until: Option<NonZeroU32>,
}

/// What is started.
#[derive(Args, Clone, Copy)]
struct What {
    /// Only the servers: no CRDs, no programs of ours.
    #[arg(long)]
    stack_only: bool,
    /// Writes survive a power failure (fsync on), for measurements.
    #[arg(long)]
    durable: bool,
}

/// A stack with or without our programs on it.
enum Started {
    Stack(Box<Stack>),
    Platform(Box<Platform<'static>>),
}

impl What {
    async fn start(self) -> Result<Started, RigError> {
        let stack = Stack::start(StackOptions { durable: self.durable, ..StackOptions::default() }).await?;
        if self.stack_only {
            Ok(Started::Stack(Box::new(stack)))
        } else {
            Platform::start(stack).await.map(|platform| Started::Platform(Box::new(platform)))
        }
    }
}

impl Started {
    fn endpoints(&self) -> &tenantry_rig::Endpoints {
        match self {
            Self::Stack(stack) => stack.endpoints(),
            Self::Platform(platform) => platform.endpoints(),
        }
    }

    fn keep_logs(&self) {
        match self {
            Self::Stack(stack) => stack.keep_logs(),
            Self::Platform(platform) => platform.keep_logs(),
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Up { place, what, lifetime } => background::up(&place.folder, what, lifetime).await,
        Command::Down { place } => background::down(&place.folder).await,
        Command::Hold { place, what, lifetime } => background::hold(&place.folder, what, lifetime).await,
        Command::Run { what, at_once, command } => foreground::run(what, at_once, &command).await,
        Command::Tools => tools().await,
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("rig: {}", error.chain());
        ExitCode::FAILURE
    })
}

#[allow(clippy::print_stdout, reason = "what the user asked for")]
async fn tools() -> Result<ExitCode, RigError> {
    let mut paths = Toolchain::ensure().await?.paths();
    paths.push(Toolchain::ensure_helm().await?);
    for path in paths {
        println!("{}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}
