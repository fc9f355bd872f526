//! `run`: one stack around one command.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};

use rustix::process::{Pid, Signal, kill_process};
use tenantry_rig::RigError;
use tenantry_rig::endpoints::RIG_ENV;
use tenantry_rig::process::Sandbox;
use tokio::signal::unix::{SignalKind, signal};

use crate::What;

pub async fn run(what: What, command: &[OsString]) -> Result<ExitCode, RigError> {
    let [program, args @ ..] = command else {
        return Err(RigError::Refused("no command to run".to_owned()));
    };
    let name = program.to_string_lossy().into_owned();
    let failed = |source| RigError::Spawn { name: name.clone(), source };
    // Taken before anything starts. A Ctrl-C reaches the command too, and the stack outlives it until it has ended.
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let stopped = || Ok(ExitCode::from(130));
    let started = tokio::select! {
        started = what.start() => started?,
        _ = interrupt.recv() => return stopped(),
        _ = terminate.recv() => return stopped(),
    };
    let sandbox = Sandbox::create("rig", None)?;
    let env_file = sandbox.folder().join("env");
    started.endpoints().write(&env_file)?;

    let mut child =
        tokio::process::Command::new(program).args(args).env(RIG_ENV, &env_file).spawn().map_err(failed)?;
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let status = loop {
        tokio::select! {
            status = child.wait() => break status.map_err(failed)?,
            _ = interrupt.recv() => {}
            _ = terminate.recv() => if let Some(pid) = pid {
                // Fails only when the command has just ended.
                let _ = kill_process(pid, Signal::TERM);
            },
        }
    };
    if !status.success() {
        started.keep_logs();
    }
    Ok(exit_code(status))
}

/// As a shell reports it: 128 and the signal's number for a command that a signal ended.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
