//! Load by `wrk`, with requests made beforehand.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;

use super::Outcome;
use super::report::quantile;

/// Connections that send at the same time.
pub const CLIENTS: usize = 64;

/// A request as `load.lua` reads it.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method.
    pub method: &'static str,
    /// The path with its query.
    pub path: String,
    /// The bearer token; empty for none.
    pub token: String,
    /// The tenant.
    pub tenant: String,
    /// The JSON body; empty for none.
    pub body: String,
}

/// What a run came to.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Run {
    requests: u64,
    micros: u64,
    failed: u64,
    p50: u64,
    p99: u64,
}

impl Run {
    /// Answers in a second.
    pub fn rate(&self) -> f64 {
        self.requests as f64 / (self.micros as f64 / 1e6)
    }

    /// Latency in milliseconds: the median and the 99th percentile.
    pub fn latency(&self) -> (f64, f64) {
        (self.p50 as f64 / 1000.0, self.p99 as f64 / 1000.0)
    }
}

/// The median of a figure over some runs.
pub fn median(runs: &[Run], of: impl Fn(&Run) -> f64) -> f64 {
    quantile(&runs.iter().map(of).collect::<Vec<_>>(), 0.5)
}

/// Writes requests down for [`run`].
///
/// # Errors
/// When the file cannot be written.
pub fn write_requests(path: &Path, requests: &[Request]) -> Outcome<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    for Request { method, path, token, tenant, body } in requests {
        writeln!(file, "{method}\t{path}\t{token}\t{tenant}\t{body}")?;
    }
    Ok(file.flush()?)
}

/// Sends requests drawn at random from the file for `duration`; each connection pauses for `pause` on average between two.
///
/// # Errors
/// When `wrk` is missing, or any request fails or is answered with an error.
pub async fn run(url: &str, requests: &Path, duration: Duration, pause: Duration) -> Outcome<Run> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/bench/load.lua");
    let output = Command::new("wrk")
        .args([
            "-t1",
            &format!("-c{CLIENTS}"),
            &format!("-d{}s", duration.as_secs()),
            "--timeout",
            "10s",
            "-s",
            script,
            url,
            "--",
        ])
        .arg(requests)
        .arg(pause.as_millis().to_string())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(duration + Duration::from_secs(60), output)
        .await?
        .map_err(|error| format!("wrk cannot be started ({error}); install it: apt-get install wrk"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let Some(result) = text.lines().find_map(|line| line.strip_prefix("RESULT ")) else {
        return Err(format!("wrk gave no result: {text}{}", String::from_utf8_lossy(&output.stderr)).into());
    };
    let run: Run = serde_json::from_str(result)?;
    if run.failed > 0 || run.requests == 0 {
        return Err(format!("{} of {} requests failed", run.failed, run.requests).into());
    }
    Ok(run)
}
