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
/// Connections of a run at a pace.
pub const PACED: usize = 256;

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

/// Writes requests down for [`Effort::run`].
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

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub enum Script {
    /// Requests drawn at random from the file.
    Random,
    /// The refresh tokens of the file and their successors, each of them once.
    Refresh,
}

/// How much is measured.
#[derive(Debug, Clone, clap::Args)]
pub struct Effort {
    /// Seconds that a round lasts.
    #[arg(long, default_value_t = 8)]
    pub seconds: u64,
    /// Rounds of which the median is taken.
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Measures only what has this in its name, as in `GET by id`, and writes no page.
    #[arg(long)]
    pub only: Option<String>,
}

impl Effort {
    /// As many requests as [`CLIENTS`] come to without a pause, before anything counts.
    pub async fn warm_up(&self, url: &str, script: Script, requests: &Path) -> Outcome<Run> {
        wrk(url, script, requests, Flow { seconds: self.seconds.div_ceil(3), ..self.flat_out() }).await
    }

    /// As many requests as [`CLIENTS`] come to without a pause.
    pub async fn run(&self, url: &str, script: Script, requests: &Path) -> Outcome<Run> {
        wrk(url, script, requests, self.flat_out()).await
    }

    /// About `rate` requests a second, from so many connections ([`PACED`]) that a late answer holds no other request up.
    pub async fn paced(&self, url: &str, script: Script, requests: &Path, rate: f64) -> Outcome<Run> {
        let pause = Duration::from_secs_f64(PACED as f64 / rate);
        wrk(url, script, requests, Flow { connections: PACED, pause, seconds: self.seconds }).await
    }

    fn flat_out(&self) -> Flow {
        Flow { connections: CLIENTS, pause: Duration::ZERO, seconds: self.seconds }
    }
}

struct Flow {
    connections: usize,
    /// On average, between two requests of a connection.
    pause: Duration,
    seconds: u64,
}

/// Whether `wrk` is there; to be asked before the hours that need it.
///
/// # Errors
/// When it is missing.
pub async fn ensure() -> Outcome<()> {
    let found = Command::new("wrk").arg("-v").stdin(Stdio::null()).output().await;
    found.map(|_| ()).map_err(|error| missing(&error))
}

fn missing(error: &std::io::Error) -> Box<dyn std::error::Error + Send + Sync> {
    format!("wrk cannot be started ({error}); install it: apt-get install wrk").into()
}

async fn wrk(url: &str, script: Script, requests: &Path, flow: Flow) -> Outcome<Run> {
    let script = match script {
        Script::Random => concat!(env!("CARGO_MANIFEST_DIR"), "/src/load.lua"),
        Script::Refresh => concat!(env!("CARGO_MANIFEST_DIR"), "/src/refresh.lua"),
    };
    let Flow { connections, pause, seconds } = flow;
    let output = Command::new("wrk")
        .args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "--timeout", "10s"])
        .args(["-s", script, url, "--"])
        .arg(requests)
        .arg(pause.as_millis().to_string())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(seconds + 60), output)
        .await?
        .map_err(|error| missing(&error))?;
    let said = || String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout);
    let Some(result) = text.lines().find_map(|line| line.strip_prefix("RESULT ")) else {
        return Err(format!("wrk gave no result: {text}{}", said()).into());
    };
    let run: Run = serde_json::from_str(result)?;
    if run.requests == 0 {
        return Err(format!("no request was answered within {seconds} s {}", said()).into());
    }
    if run.failed > 0 {
        return Err(format!("{} of {} requests failed: {}", run.failed, run.requests, said()).into());
    }
    Ok(run)
}
