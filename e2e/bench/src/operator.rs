//! What the operator costs, and what it says of itself.

use std::time::Duration;

use tenantry_e2e::Platform;
use tenantry_e2e::program::Program;
use tenantry_rig::endpoints::http_client;
use tenantry_rig::eventually;

use super::Outcome;

/// The operator of a platform.
pub struct Operator<'a>(&'a Program);

impl<'a> Operator<'a> {
    /// Of a platform that this process started.
    pub fn of(platform: &'a Platform<'_>) -> Outcome<Self> {
        Ok(Self(platform.operator()?))
    }

    /// Resident memory, in megabytes.
    pub fn resident(&self) -> Outcome<f64> {
        resident(self.0)
    }

    /// CPU time so far.
    pub fn cpu(&self) -> Outcome<Duration> {
        cpu(self.0.process().pid())
    }

    /// See [`metric`].
    pub async fn metric(&self, start: &str) -> Outcome<f64> {
        metric(self.0, start).await
    }

    /// Waits until everything that came before was seen to.
    pub async fn until_caught_up(&self, limit: Duration) -> Outcome<()> {
        let caught_up = || async {
            let caught_up = self.metric("tenantry_caught_up").await.map_err(|error| error.to_string())?;
            if caught_up == 1.0 { Ok(()) } else { Err("not yet".to_owned()) }
        };
        Ok(eventually("the operator has caught up", limit, caught_up).await?)
    }

    /// Waits until no pass ended for ten seconds.
    pub async fn until_quiet(&self) -> Outcome<()> {
        const QUIET: Duration = Duration::from_secs(10);
        self.until_caught_up(Duration::from_secs(600)).await?;
        for _ in 0..60 {
            let before = self.metric("controller_runtime_reconcile_total").await?;
            tokio::time::sleep(QUIET).await;
            if self.metric("controller_runtime_reconcile_total").await? == before {
                return Ok(());
            }
        }
        Err("the operator does not come to rest".into())
    }
}

/// The sum of a program's series that start so.
pub async fn metric(program: &Program, start: &str) -> Outcome<f64> {
    let text = http_client()?.get(format!("{}/metrics", program.metrics_url())).send().await?.text().await?;
    let values = text.lines().filter(|line| line.starts_with(start));
    // Not `sum`: that of nothing is -0.
    Ok(values.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).fold(0.0, |all, one| all + one))
}

/// CPU time of a process so far, with that of its children that have ended.
pub fn cpu(pid: u32) -> Outcome<Duration> {
    // Linux counts in hundredths of a second on every architecture that we run on.
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name of the program may hold spaces; what follows it starts with the state, field 3.
    let (_, fields) = stat.rsplit_once(')').ok_or("the process has no stat")?;
    let ticks: Vec<u32> =
        fields.split_whitespace().skip(11).take(4).map(str::parse).collect::<Result<_, _>>()?;
    Ok(TICK * ticks.iter().sum())
}

/// Resident memory of a program, in megabytes.
pub fn resident(program: &Program) -> Outcome<f64> {
    memory(program, "VmRSS:")
}

/// The most that has been resident of a program since it started, in megabytes.
pub fn peak(program: &Program) -> Outcome<f64> {
    memory(program, "VmHWM:")
}

fn memory(program: &Program, what: &str) -> Outcome<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.process().pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    let line = line.ok_or_else(|| format!("the process has no {what}"))?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}
