use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::RigError;

/// Runs a command to its end, at most for `limit`; yields what it printed on standard output.
pub async fn captured(what: String, limit: Duration, mut command: Command) -> Result<String, RigError> {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = match tokio::time::timeout(limit, output).await {
        Ok(Ok(output)) => output,
        Ok(Err(source)) => return Err(RigError::Spawn { name: what, source }),
        Err(_) => return Err(RigError::Timeout { what, waited: limit, last: "still running".to_owned() }),
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let printed = [output.stdout, output.stderr].concat();
    let output_text = String::from_utf8_lossy(&printed).into_owned();
    Err(RigError::Command { command: what, status: output.status, output: output_text })
}
