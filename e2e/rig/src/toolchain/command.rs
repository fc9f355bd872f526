use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Progress;
use crate::RigError;
use crate::process::tail;

/// Runs one installation step with visible progress; its output goes to a file in `scratch` and, when the step
/// fails, its end goes into the error.
#[allow(clippy::disallowed_methods, reason = "an installation has no runtime")]
pub fn run(step: &str, expect: &str, scratch: &Path, command: &mut Command) -> Result<(), RigError> {
    let log = scratch.join("output.log");
    let output = File::create(&log).map_err(RigError::io("creating", &log))?;
    let errors = output.try_clone().map_err(RigError::io("opening", &log))?;
    let mut progress = Progress::start(step, expect);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .map_err(|source| RigError::Spawn { name: step.to_owned(), source })?;
    let status = loop {
        match child.try_wait().map_err(|source| RigError::Spawn { name: step.to_owned(), source })? {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(100)),
        }
        progress.tick();
    };
    if !status.success() {
        return Err(RigError::Step { step: step.to_owned(), status, tail: tail(&log, 25) });
    }
    progress.done();
    Ok(())
}
