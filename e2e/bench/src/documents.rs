//! `make bench-documents`: documents over HTTP, with tokens and permissions.

use std::path::Path;
use std::time::Duration;

use tenantry_e2e::Platform;
use tenantry_rig::eventually;

use super::crowd::{
    Ask, DOCUMENTS, User, by_id, crowd, insert, list, plain_by_id, plain_insert, plain_list, written,
};
use super::load::{self, CLIENTS, Effort, PACED, Run, Script, median};
use super::refresh::{self, refresh};
use super::registered::{self, registered};
use super::report::{Budget, Report};
use super::switch::{self, switch};
use super::{Outcome, Settings, platform_with, wal};

/// Milliseconds, at half of the budgeted rate.
const LATENCY: f64 = 15.0;

/// How large the benchmark is.
#[derive(Debug, Clone, clap::Args)]
pub struct Documents {
    /// Tenants, a run for each number.
    #[arg(default_values_t = [200, 2000])]
    tenants: Vec<usize>,
    /// Tenants in the registry when the control plane's memory is looked at.
    #[arg(long, default_value_t = 10_000)]
    registered: usize,
    /// Tenants that are created, suspended and resumed one after the other.
    #[arg(long, default_value_t = 20)]
    switched: usize,
    #[command(flatten)]
    effort: Effort,
    #[command(flatten)]
    settings: Settings,
}

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

/// Runs the benchmark; what does not depend on the number of tenants, beside the last of them.
///
/// # Errors
/// When a platform does not start, or any request fails.
pub async fn documents(size: &Documents) -> Outcome<Report> {
    load::ensure().await?;
    let effort = &size.effort;
    let mut report = Report::new(
        "documents",
        "Documents over HTTP",
        format!(
            "`make bench-documents`. Tenants with {DOCUMENTS} customers each, chosen at random for each request; {CLIENTS} \
             connections of `wrk` with one thread on the same cores as Postgres and the control plane. Each request has a token \
             of its tenant, checked, with the permissions of role `sales`. Each figure is the median of {} rounds of \
             {} s after a warm-up, ours and the baseline's by turns. The baseline is the usual way: axum and a pool of 16 \
             connections, BEGIN, SET LOCAL ROLE, the query and COMMIT as round trips of their own, the same row, outbox and audit \
             rows, but no token, no permission and no validation. Latencies are taken at a pace, with the rate in brackets that \
             was come to: {PACED} connections that pause at random between two requests, so many that a late answer hardly holds up \
             those that come after it. {}\n\n{} {} {}{}",
            effort.rounds,
            effort.seconds,
            wal::METHOD,
            refresh::METHOD,
            switch::METHOD,
            registered::METHOD,
            size.settings.said(),
        ),
    )
    .only(effort.only.as_deref());
    for (n, tenants) in size.tenants.iter().enumerate() {
        eprintln!("{tenants} tenants");
        let platform = platform_with(&size.settings).await?;
        let users = crowd(&platform, *tenants).await?;
        wal::recycled(&platform.endpoints().database_url).await?;
        let baseline = Baseline::start(&platform).await?;
        for case in &CASES {
            if report.wants(case.name) {
                measure(&platform, &baseline, &mut report, effort, case, &users).await?;
            }
        }
        drop(baseline);
        if report.wants("refresh") {
            refresh(&platform, &mut report, effort, &users).await?;
        }
        if effort.only.is_some() {
            continue;
        }
        if n + 1 == size.tenants.len() {
            switch(&platform, &mut report, size.switched).await?;
            registered(&platform, &mut report, size.registered, &users).await?;
        }
    }
    Ok(report)
}

async fn measure(
    platform: &Platform<'_>,
    baseline: &Baseline,
    report: &mut Report,
    effort: &Effort,
    case: &Case,
    users: &[User],
) -> Outcome<()> {
    let (folder, url): (&Path, &str) = (platform.stack().folder()?, platform.url()?);
    let ours = written(folder, "ours", users, case.ours)?;
    let theirs = written(folder, "theirs", users, case.baseline)?;
    effort.warm_up(url, Script::Random, &ours).await?;
    effort.warm_up(&baseline.url, Script::Random, &theirs).await?;
    let (mut full, mut peer) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        full.push(effort.run(url, Script::Random, &ours).await?);
        peer.push(effort.run(&baseline.url, Script::Random, &theirs).await?);
    }
    let (name, rate) = (format!("{} tenants: {}", users.len(), case.name), median(&full, Run::rate));
    report
        .add(&name, rate, "requests/s")
        .within(Budget::AtLeast(case.budget))
        .against("the usual way", median(&peer, Run::rate));
    for (of, half, budget) in
        [("the budget", case.budget / 2.0, Some(LATENCY)), ("the rate reached", rate / 2.0, None)]
    {
        let paced = effort.paced(url, Script::Random, &ours, half).await?;
        let figure = report.add(format!("{name}, p99 at half of {of}"), paced.latency().1, "ms");
        figure.noted(format!("{:.0}/s", paced.rate()));
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
