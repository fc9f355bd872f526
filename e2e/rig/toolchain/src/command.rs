use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::progress::Progress;
use crate::{Guarded, ToolError, tail};

/// Runs one installation step with visible progress; its output goes to a file in `scratch` and, when the step
/// fails, its end goes into the error. The step ends with this process.
pub fn run(step: &str, expect: &str, scratch: &Path, command: &Command) -> Result<(), ToolError> {
    let log = scratch.join("output.log");
    let output = File::create(&log).map_err(ToolError::io("creating", &log))?;
    let errors = output.try_clone().map_err(ToolError::io("opening", &log))?;
    let failed = |source| ToolError::Spawn { name: step.to_owned(), source };
    let mut progress = Progress::start(step, expect);
    let mut child = Guarded::spawn(command, output.into(), errors.into()).map_err(failed)?;
    let status = loop {
        match child.try_wait().map_err(failed)? {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(100)),
        }
        progress.tick();
    };
    if !status.success() {
        return Err(ToolError::Step { step: step.to_owned(), status, tail: tail(&log, 25) });
    }
    progress.done();
    Ok(())
}
