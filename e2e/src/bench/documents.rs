//! `make bench-documents`: documents over HTTP, with tokens and permissions.

use std::path::Path;
use std::time::Duration;

use super::crowd::{
    Ask, DOCUMENTS, User, by_id, crowd, insert, list, plain_by_id, plain_insert, plain_list, written,
};
use super::load::{CLIENTS, Run, median, run};
use super::report::{Budget, Report};
use super::{Outcome, durable_platform};
use crate::rig::{Platform, eventually};

const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(8);
const WARM_UP: Duration = Duration::from_secs(3);

/// What is asked for, with the rate that it must reach.
struct Case {
    name: &'static str,
    budget: f64,
    ours: Ask,
    baseline: Ask,
}

const CASES: [Case; 3] = [
    Case { name: "GET by id", budget: 10_000.0, ours: by_id, baseline: plain_by_id },
    Case { name: "filtered list of 20", budget: 6_000.0, ours: list, baseline: plain_list },
    Case { name: "insert with outbox and audit", budget: 4_000.0, ours: insert, baseline: plain_insert },
];

/// Runs the benchmark over as many tenants as each of `sizes` says.
///
/// # Errors
/// When a platform does not start, or any request fails.
pub async fn documents(sizes: &[usize]) -> Outcome<Report> {
    let mut report = Report::new(
        "documents",
        "Documents over HTTP",
        format!(
            "`make bench-documents`. Tenants with {DOCUMENTS} customers each, chosen at random for each request; {CLIENTS} \
             connections of `wrk` with one thread on the same cores as Postgres and the control plane. Each request has a token \
             of its tenant, checked, with the permissions of role `sales`. Each figure is the median of {ROUNDS} rounds of \
             {} s after a warm-up, ours and the baseline's by turns. The baseline is the usual way: axum and a pool of 16 \
             connections, BEGIN, SET LOCAL ROLE, the query and COMMIT as round trips of their own, the same row, outbox and audit \
             rows, but no token, no permission and no validation. Latencies are taken at about half of the budgeted \
             rate, and at about half of the rate reached: each connection pauses between two requests (a closed loop: the pause \
             does not shrink when an answer is late).",
            ROUND.as_secs()
        ),
    );
    for size in sizes {
        eprintln!("{size} tenants");
        let platform = durable_platform().await?;
        let users = crowd(&platform, *size).await?;
        let baseline = Baseline::start(&platform).await?;
        for case in &CASES {
            measure(&platform, &baseline, &mut report, case, &users).await?;
        }
    }
    Ok(report)
}

async fn measure(
    platform: &Platform<'_>,
    baseline: &Baseline,
    report: &mut Report,
    case: &Case,
    users: &[User],
) -> Outcome<()> {
    let (folder, url): (&Path, &str) = (platform.stack().folder()?, platform.url()?);
    let ours = written(folder, "ours", users, case.ours)?;
    let theirs = written(folder, "theirs", users, case.baseline)?;
    run(url, &ours, WARM_UP, Duration::ZERO).await?;
    run(&baseline.url, &theirs, WARM_UP, Duration::ZERO).await?;
    let (mut full, mut peer) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        full.push(run(url, &ours, ROUND, Duration::ZERO).await?);
        peer.push(run(&baseline.url, &theirs, ROUND, Duration::ZERO).await?);
    }
    let (name, rate) = (format!("{} tenants: {}", users.len(), case.name), median(&full, Run::rate));
    report
        .add(&name, rate, "requests/s")
        .within(Budget::AtLeast(case.budget))
        .against("the usual way", median(&peer, Run::rate));
    for (load, budget) in [(case.budget / 2.0, Some(15.0)), (rate / 2.0, None)] {
        let think = 1000.0 * CLIENTS as f64 / load - median(&full, |run| run.latency().0) / 4.0;
        let at_load = run(url, &ours, ROUND, Duration::from_secs_f64(think.max(0.0) / 1000.0)).await?;
        let figure = report.add(format!("{name}, p99 at {:.0}/s", at_load.rate()), at_load.latency().1, "ms");
        if let Some(most) = budget {
            figure.within(Budget::AtMost(most));
        }
    }
    Ok(())
}

/// The baseline server, a process of its own as ours is.
struct Baseline {
    url: String,
    _process: tokio::process::Child,
}

impl Baseline {
    async fn start(platform: &Platform<'_>) -> Outcome<Self> {
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let process = tokio::process::Command::new(std::env::current_exe()?)
            .args(["baseline", &address.to_string()])
            .env("DATABASE_URL", &platform.endpoints().database_url)
            .kill_on_drop(true)
            .spawn()?;
        let url = format!("http://{address}");
        eventually("the baseline answers", Duration::from_secs(10), || async {
            tokio::net::TcpStream::connect(address).await.map(|_| ())
        })
        .await?;
        Ok(Self { url, _process: process })
    }
}
