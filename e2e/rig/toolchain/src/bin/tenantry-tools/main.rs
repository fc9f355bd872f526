//! `tenantry-tools`: installs the programs of the stack, while something else is being built if one likes.

mod request;

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus, Stdio};

use tenantry_toolchain::{Guarded, Programs, ToolError, beside, chain, helm};

use request::{Request, Tools, USAGE};

/// Why this program fails.
enum Failure {
    Tool(ToolError),
    Command(ExitStatus),
}

fn main() -> ExitCode {
    let Some(request) = Request::read(std::env::args_os().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    // Whatever still runs when this process ends is ended by its guard.
    match serve(request) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Tool(error)) => {
            eprintln!("rig: {}", chain(&error));
            ExitCode::FAILURE
        }
        Err(Failure::Command(status)) => exit_code(status),
    }
}

fn serve(request: Request) -> Result<(), Failure> {
    let Request { tools, command } = request;
    let install = move || install(tools).map_err(Failure::Tool);
    match command {
        Some((program, arguments)) => beside(install, move || run(&program, &arguments)).map(drop),
        None => install().map(|paths| print(&paths)),
    }
}

fn install(tools: Tools) -> Result<Vec<PathBuf>, ToolError> {
    let mut paths = Programs::ensure()?.paths();
    if tools == Tools::All {
        paths.push(helm()?);
    }
    Ok(paths)
}

fn run(program: &OsString, arguments: &[OsString]) -> Result<(), Failure> {
    let name = program.to_string_lossy().into_owned();
    let failed = |source| Failure::Tool(ToolError::Spawn { name: name.clone(), source });
    let mut command = Command::new(program);
    command.args(arguments);
    let mut child = Guarded::spawn(&command, Stdio::inherit(), Stdio::inherit()).map_err(failed)?;
    let status = child.wait().map_err(failed)?;
    if status.success() { Ok(()) } else { Err(Failure::Command(status)) }
}

#[allow(clippy::print_stdout, reason = "what the user asked for")]
fn print(paths: &[PathBuf]) {
    for path in paths {
        println!("{}", path.display());
    }
}

/// As a shell reports it: 128 and the signal's number for a command that a signal ended.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
