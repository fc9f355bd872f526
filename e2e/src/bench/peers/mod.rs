//! `make bench-peers`: documents beside servers that one might pick instead, on the same PostgreSQL and the same rows.
//!
//! - [`fastapi`], [`postgraphile`]: the peers; [`server`]: what they have in common

mod fastapi;
mod postgraphile;
mod server;

use std::time::Duration;

use super::crowd::{Ask, by_id, crowd, insert, list, written};
use super::load::{CLIENTS, Run, median, run};
use super::report::{Budget, Report};
use super::{Outcome, durable_platform};
use crate::rig::toolchain::Toolchain;

const TENANTS: usize = 200;
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(8);
const WARM_UP: Duration = Duration::from_secs(3);

/// What is asked for: our requests, and how many times the best peer's rate is ours to reach.
const CASES: [(&str, Ask, f64); 3] =
    [("GET by id", by_id, 3.0), ("filtered list of 20", list, 2.5), ("insert", insert, 2.0)];

/// Runs the benchmark.
///
/// # Errors
/// When the platform or a peer does not start, or any request fails.
pub async fn peers() -> Outcome<Report> {
    let platform = durable_platform().await?;
    let users = crowd(&platform, TENANTS).await?;
    let folder = platform.stack().folder()?.to_owned();
    let installed = Toolchain::ensure_peers().await?;
    let peers = [
        fastapi::start(&installed, &platform, &folder).await?,
        postgraphile::start(&installed, &platform, &folder, &users[0]).await?,
    ];
    let setups: Vec<String> =
        peers.iter().map(|peer| format!("*{}*: {}.", peer.about.name, peer.about.setup)).collect();
    let mut report = Report::new(
        "peers",
        "Beside others",
        format!(
            "`make bench-peers`. {TENANTS} tenants, chosen at random for each request; {CLIENTS} connections of `wrk` with one \
             thread on the same two cores as PostgreSQL and the server. Ours checks a token and the permissions of role `sales`, \
             and an insert writes its outbox and audit rows, too; a peer's writes its row alone. Each figure is the median of \
             {ROUNDS} rounds of {} s after a warm-up, everybody's by turns. {}",
            ROUND.as_secs(),
            setups.join(" "),
        ),
    );
    for (at, (name, ours, times)) in CASES.into_iter().enumerate() {
        let url = platform.url()?;
        let own = written(&folder, "ours", &users, ours)?;
        run(url, &own, WARM_UP, Duration::ZERO).await?;
        let mut theirs = Vec::new();
        for (n, peer) in peers.iter().enumerate() {
            let served = &users[..users.len().min(peer.about.tenants)];
            let requests = written(&folder, &format!("peer-{n}"), served, peer.about.requests[at])?;
            run(&peer.url, &requests, WARM_UP, Duration::ZERO).await?;
            theirs.push((peer, requests, Vec::new()));
        }
        let mut mine = Vec::new();
        for _ in 0..ROUNDS {
            mine.push(run(url, &own, ROUND, Duration::ZERO).await?);
            for (peer, requests, runs) in &mut theirs {
                runs.push(run(&peer.url, requests, ROUND, Duration::ZERO).await?);
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
