//! `run`: one stack around one command.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::process::{ExitCode, ExitStatus};

use rustix::process::{Pid, Signal, kill_process};
use tenantry_rig::RigError;
use tenantry_rig::endpoints::RIG_ENV;
use tenantry_rig::process::Sandbox;
use tokio::signal::unix::{SignalKind, signal};

use crate::What;

/// As a shell reports a Ctrl-C.
const INTERRUPTED: u8 = 130;

/// With `at_once` the command starts with the stack: [`Stack::shared`](tenantry_rig::Stack::shared) in it waits for the env file.
pub async fn run(what: What, at_once: bool, command: &[OsString]) -> Result<ExitCode, RigError> {
    let [program, args @ ..] = command else {
        return Err(RigError::Refused("no command to run".to_owned()));
    };
    let name = program.to_string_lossy().into_owned();
    let failed = |source| RigError::Spawn { name: name.clone(), source };
    // Taken before anything starts. A Ctrl-C reaches the command too, and the stack outlives it until it has ended.
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let sandbox = Sandbox::create("rig", None)?;
    let env_file = sandbox.folder().join("env");
    let mut starting = pin!(async {
        let started = what.start().await?;
        started.endpoints().write(&env_file)?;
        Ok::<_, RigError>(started)
    });
    let mut started = None;
    if !at_once {
        started = tokio::select! {
            outcome = &mut starting => Some(outcome?),
            _ = interrupt.recv() => return Ok(INTERRUPTED.into()),
            _ = terminate.recv() => return Ok(INTERRUPTED.into()),
        };
    }

    let mut child =
        tokio::process::Command::new(program).args(args).env(RIG_ENV, &env_file).spawn().map_err(failed)?;
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let end = || {
        if let Some(pid) = pid {
            // Fails only when the command has just ended.
            let _ = kill_process(pid, Signal::TERM);
        }
    };
    let status = loop {
        tokio::select! {
            status = child.wait() => break status.map_err(failed)?,
            outcome = &mut starting, if started.is_none() => match outcome {
                Ok(stack) => started = Some(stack),
                Err(error) => {
                    end();
                    child.wait().await.map_err(failed)?;
                    return Err(error);
                }
            },
            _ = interrupt.recv() => {}
            _ = terminate.recv() => end(),
        }
    };
    if let Some(started) = started.filter(|_| !status.success()) {
        started.keep_logs();
    }
    Ok(exit_code(status))
}

/// As a shell reports it: 128 and the signal's number for a command that a signal ended.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
