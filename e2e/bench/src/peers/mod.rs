//! `make bench-peers`: documents beside servers that one might pick instead, on the same PostgreSQL and the same rows.
//!
//! - [`fastapi`], [`postgraphile`]: the peers; [`server`]: what they have in common

mod fastapi;
mod postgraphile;
mod server;

use tenantry_rig::toolchain::Toolchain;

use super::crowd::{Ask, by_id, crowd, insert, list, written};
use super::load::{self, CLIENTS, Effort, Run, Script, median};
use super::report::{Budget, Report};
use super::{Outcome, Settings, platform_with, wal};

/// How large the benchmark is.
#[derive(Debug, Clone, clap::Args)]
pub struct Beside {
    /// Tenants.
    #[arg(default_value_t = 200)]
    tenants: usize,
    #[command(flatten)]
    effort: Effort,
    #[command(flatten)]
    settings: Settings,
}

/// What is asked for.
struct Case {
    name: &'static str,
    ours: Ask,
    /// How many times the best peer's rate is ours to reach.
    times: f64,
    /// Whether the answer has what was asked for.
    holds: fn(&str) -> bool,
}

const CASES: [Case; 3] = [
    Case { name: "GET by id", ours: by_id, times: 3.0, holds: |answer| answer.contains("\"c0@") },
    Case {
        name: "filtered list of 20",
        ours: list,
        times: 2.5,
        holds: |answer| answer.matches("\"active\"").count() == 20,
    },
    Case { name: "insert", ours: insert, times: 2.0, holds: |answer| answer.contains("99.5") },
];

/// Runs the benchmark.
///
/// # Errors
/// When the platform or a peer does not start, or any request fails.
pub async fn peers(size: &Beside) -> Outcome<Report> {
    load::ensure().await?;
    // The first time, it takes a while.
    let installed = Toolchain::ensure_peers().await?;
    let (tenants, effort) = (size.tenants, &size.effort);
    let platform = platform_with(&size.settings).await?;
    let users = crowd(&platform, tenants).await?;
    wal::recycled(&platform.endpoints().database_url).await?;
    let folder = platform.stack().folder()?.to_owned();
    let peers = [
        fastapi::start(&installed, &platform, &users[0]).await?,
        postgraphile::start(&installed, &platform, &users[0]).await?,
    ];
    let setups: Vec<String> =
        peers.iter().map(|peer| format!("*{}*: {}.", peer.about.name, peer.about.setup)).collect();
    let mut report = Report::new(
        "peers",
        "Beside others",
        format!(
            "`make bench-peers`. {tenants} tenants, chosen at random for each request; {CLIENTS} connections of `wrk` with one \
             thread on the same two cores as PostgreSQL and the server. Ours checks a token and the permissions of role `sales`, \
             and an insert writes its outbox and audit rows, too; a peer's writes its row alone. Each figure is the median of \
             {} rounds of {} s after a warm-up, everybody's by turns. {} {}{}",
            effort.rounds,
            effort.seconds,
            wal::METHOD,
            setups.join(" "),
            size.settings.said(),
        ),
    )
    .only(effort.only.as_deref());
    for (at, Case { name, ours, times, holds }) in CASES.into_iter().enumerate() {
        if !report.wants(name) {
            continue;
        }
        let url = platform.url()?;
        server::answers(url, &server::first(ours, &users[0])?, holds).await?;
        let own = written(&folder, "ours", &users, ours)?;
        effort.warm_up(url, Script::Random, &own).await?;
        let mut theirs = Vec::new();
        for (n, peer) in peers.iter().enumerate() {
            let served = &users[..users.len().min(peer.about.tenants)];
            server::answers(&peer.url, &server::first(peer.about.requests[at], &users[0])?, holds).await?;
            let requests = written(&folder, &format!("peer-{n}"), served, peer.about.requests[at])?;
            effort.warm_up(&peer.url, Script::Random, &requests).await?;
            theirs.push((peer, requests, Vec::new()));
        }
        let mut mine = Vec::new();
        for _ in 0..effort.rounds {
            mine.push(effort.run(url, Script::Random, &own).await?);
            for (peer, requests, runs) in &mut theirs {
                runs.push(effort.run(&peer.url, Script::Random, requests).await?);
            }
        }
        let rate = median(&mine, Run::rate);
        let (best, fastest) = theirs
            .iter()
            .map(|(peer, _, runs)| (median(runs, Run::rate), *peer))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .ok_or("there is no peer")?;
        report.add(name, rate, "requests/s").against(&fastest.about.name, best);
        for (peer, _, runs) in &theirs {
            report.add(format!("{name}: {}", peer.about.name), median(runs, Run::rate), "requests/s");
        }
        report
            .add(format!("{name}: times the best of them"), rate / best, "times")
            .within(Budget::AtLeast(times));
    }
    Ok(report)
}
