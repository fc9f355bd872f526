//! `make bench-noise`: what the others notice of a tenant that does its worst.
//!
//! - [`others`]: requests at a pace, each measured from the moment when it was due
//! - [`tenant`]: the noisy one; [`attack`]: what it does
//! - [`cpu`]: what the noise costs, and the same spent outside Postgres

mod attack;
mod cpu;
mod others;
mod tenant;

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tenantry_e2e::Platform;

use super::crowd::crowd;
use super::operator::{metric, peak};
use super::report::{Budget, Report};
use super::{Outcome, Settings, platform_with, wal};
use attack::Attack;
use cpu::Spent;
use others::{Others, Paced};
use tenant::Noisy;

/// The part of the peak at which the others send.
const PART: f64 = 0.2;
/// Two slices of time on a lane, in milliseconds.
const TWO_SLICES: f64 = 200.0;
/// The memory limit of the chart, in MB.
const MEMORY: f64 = 512.0;
/// The noise goes on for so long before anything is measured.
const LEAD: Duration = Duration::from_secs(3);
/// After the noise: until nothing of it runs or waits any more. Slow statements end after 8.5 s, requests after 10 s.
const SETTLED: Duration = Duration::from_secs(12);

/// How large the benchmark is.
#[derive(Debug, Clone, clap::Args)]
pub struct Noise {
    /// Tenants beside the noisy one.
    #[arg(default_value_t = 20)]
    tenants: usize,
    /// Seconds that each part is measured.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Kinds of noise, all unless said.
    #[arg(long)]
    only: Vec<attack::Kind>,
    #[command(flatten)]
    settings: Settings,
}

/// Runs the benchmark.
///
/// # Errors
/// When the platform does not start, a tenant is not made, or the tenants are not on one shard of logins.
pub async fn noise(size: &Noise) -> Outcome<Report> {
    let platform = platform_with(&size.settings).await?;
    let users = crowd(&platform, size.tenants).await?;
    let noisy = Noisy::made(&platform).await?;
    one_shard(&platform).await?;
    wal::recycled(&platform.endpoints().database_url).await?;
    let measured = Duration::from_secs(size.seconds);
    let others = Others::of(&platform, &users).await?;
    let peak_rate = others.peak(Duration::from_secs(5)).await?;
    let rate = peak_rate * PART;
    eprintln!("{peak_rate:.0} requests/s at most, {rate:.0} from now on");

    let alone = watched(&platform, &others, rate, measured).await?;
    let attack = Attack::start(&platform, &noisy, &size.only)?;
    tokio::time::sleep(LEAD).await;
    let beside = watched(&platform, &others, rate, measured).await?;
    let said = attack.end();
    tokio::time::sleep(SETTLED).await;
    let cores = beside.spent.less(alone.spent).as_secs_f64() / measured.as_secs_f64();
    let burner = cpu::Burner::start(cores);
    let burnt = watched(&platform, &others, rate, measured).await?;
    let burnt_cores = burner.end().as_secs_f64() / measured.as_secs_f64();

    let mut report = Report::new("noise", "Beside a noisy tenant", method(size, rate));
    if !size.only.is_empty() {
        report = report.only(Some(""));
    }
    add(&mut report, &alone, &beside, &burnt);
    report
        .add("peak memory of the control plane", peak(platform.serve()?)?, "MB")
        .within(Budget::AtMost(MEMORY));
    report.add("CPU spent on the noise", cores, "cores");
    report.add("CPU burnt outside Postgres", burnt_cores, "cores");
    for (kind, answers) in said {
        let count: u64 = answers.values().sum();
        let kinds: Vec<String> = answers.iter().map(|(answer, count)| format!("{answer}: {count}")).collect();
        report.add(format!("noise: {kind}"), count as f64, "answers").noted(kinds.join(", "));
    }
    Ok(report)
}

fn method(size: &Noise, rate: f64) -> String {
    format!(
        "`make bench-noise`. {} tenants send {rate:.0} requests a second, a fifth of what {} clients come to without a pause: seven \
         in ten read by id, two list 20, one inserts. And {} people a second sign in. Each request has a moment when it is due, \
         whatever became of those before; its time counts from there. All tenants and the noisy one are on one shard of logins \
         with the lanes that are usual. *Noise*: {} *Burnt*: the same without the noise, and threads of the benchmark, not of Postgres, that \
         spin for as much CPU time as the noise cost in Postgres, the control plane and its clients (those of this run less those \
         of a run with the others alone); there are as many threads as cores. Each part is measured for {} s.{}",
        size.tenants,
        others::CLIENTS,
        others::SIGN_INS,
        attack::METHOD,
        size.seconds,
        size.settings.said(),
    )
}

/// What the others noticed, and what all of it cost.
struct Watched {
    paced: Paced,
    spent: Spent,
    /// Requests that a lane had no more time for.
    outlasted: f64,
}

async fn watched(
    platform: &Platform<'_>,
    others: &Others,
    rate: f64,
    measured: Duration,
) -> Outcome<Watched> {
    const OUTLASTED: &str = "tenantry_database_outlasted_total";
    let serve = platform.serve()?;
    let (before, outlasted) = (Spent::by(platform)?, metric(serve, OUTLASTED).await?);
    let paced = others.at_pace(rate, measured).await?;
    let outlasted = metric(serve, OUTLASTED).await? - outlasted;
    Ok(Watched { paced, spent: Spent::by(platform)?.less(before), outlasted })
}

fn add(report: &mut Report, alone: &Watched, beside: &Watched, burnt: &Watched) {
    for (part, Watched { paced, outlasted, .. }) in
        [("alone", alone), ("CPU burnt", burnt), ("noise", beside)]
    {
        let (sent, errors) = (paced.sent(), &paced.errors);
        let kinds: Vec<String> = errors.iter().map(|(error, count)| format!("{error}: {count}")).collect();
        let failed: u64 = errors.values().sum();
        let figure = report.add(format!("{part}: errors of the others"), failed as f64, "errors");
        figure.noted(format!("of {sent}; {}", kinds.join(", ")));
        if part == "noise" {
            figure.within(Budget::AtMost(0.0));
        }
        for (of, q) in [("p50", 0.5), ("p99", 0.99), ("longest", 1.0)] {
            report.add(format!("{part}: requests of the others, {of}"), paced.requests(q), "ms");
        }
        report.add(format!("{part}: sign-ins of the others, p99"), paced.sign_ins(0.99), "ms");
        report.add(format!("{part}: requests that went to slow connections"), *outlasted, "requests");
    }
    let more = beside.paced.requests(0.99) - burnt.paced.requests(0.99);
    report
        .add("p99 of the others by which noise is worse than CPU burnt", more, "ms")
        .within(Budget::AtMost(TWO_SLICES));
}

/// Makes sure that all tenants share their connections to Postgres.
async fn one_shard(platform: &Platform<'_>) -> Outcome<()> {
    let mut database = PgConnection::connect(&platform.endpoints().database_url).await?;
    let shards: i64 = sqlx::query_scalar("SELECT count(DISTINCT login_shard) FROM tenantry.tenant")
        .fetch_one(&mut database)
        .await?;
    database.close().await?;
    if shards == 1 { Ok(()) } else { Err(format!("the tenants are on {shards} shards").into()) }
}
