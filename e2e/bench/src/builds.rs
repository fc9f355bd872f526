//! `make bench-builds BESIDE=FOLDER`: this build and another one, each on a stack of its own, by turns.
//!
//! A machine that is shared changes from one minute to the next by more than a build does. So both are up at the same time, each
//! round measures the one and the other at once after it, and what counts is the median of the rounds' ratios.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tenantry_e2e::Platform;

use super::crowd::{Ask, User, by_id, crowd, dedicated_crowd, insert, list, written};
use super::fleet::{Fleet, names};
use super::load::{self, Effort, Run, Script};
use super::refresh::Sessions;
use super::report::{Budget, Report, quantile};
use super::{Outcome, Settings, platform_of, wal};

/// The least part of the other build's rate.
const LEAST: f64 = 0.97;
/// Tenants with connections of their own.
const DEDICATED: usize = 16;
/// Tenants that are made one after the other in a round.
const ONE_BY_ONE: usize = 10;
/// Tenants that are made at once in a round.
const BURST: usize = 50;
const LIMIT: Duration = Duration::from_secs(120);

const CASES: [(&str, Ask); 3] =
    [("GET by id", by_id), ("filtered list of 20", list), ("insert with outbox and audit", insert)];

/// What is compared, and how often.
#[derive(Debug, Clone, clap::Args)]
pub struct Builds {
    /// The folder with the programs of the other build.
    beside: PathBuf,
    /// Tenants.
    #[arg(long, default_value_t = 200)]
    tenants: usize,
    /// Seconds that a measurement lasts.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Rounds of which the median is taken.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Measures only what has this in its name.
    #[arg(long)]
    only: Option<String>,
    #[command(flatten)]
    settings: Settings,
}

/// One of the builds.
struct Build {
    platform: Platform<'static>,
    users: Vec<User>,
    fleet: Fleet,
}

/// Runs the benchmark. It writes no page.
///
/// # Errors
/// When a platform does not start, or any request fails.
pub async fn builds(size: &Builds) -> Outcome<Report> {
    load::ensure().await?;
    let effort = Effort { seconds: size.seconds, rounds: size.rounds, only: None };
    let method = format!(
        "{} tenants on each; {} rounds of {} s for each figure, this build and the other one by turns; the middle half of the rounds \
         in brackets.{}",
        size.tenants,
        size.rounds,
        size.seconds,
        size.settings.said()
    );
    let mut report =
        Report::new("builds", "Two builds", method).only(Some(size.only.as_deref().unwrap_or("")));
    let ours = Build::start(size, None).await?;
    let theirs = Build::start(size, Some(size.beside.clone())).await?;
    for (name, ask) in CASES {
        if report.wants(name) {
            documents(&ours, &theirs, &mut report, &effort, name, ask).await?;
        }
    }
    if report.wants("refresh") {
        refresh(&ours, &theirs, &mut report, &effort).await?;
    }
    if report.wants("dedicated") {
        dedicated(&ours, &mut report, &effort).await?;
    }
    if report.wants("tenants") {
        tenants(&ours, &theirs, &mut report, size.rounds).await?;
    }
    Ok(report)
}

impl Build {
    async fn start(size: &Builds, programs: Option<PathBuf>) -> Outcome<Self> {
        let platform = platform_of(&size.settings, programs).await?;
        let users = crowd(&platform, size.tenants).await?;
        wal::recycled(&platform.endpoints().database_url).await?;
        let fleet = Fleet::watch(platform.endpoints().kube_client().await?);
        Ok(Self { platform, users, fleet })
    }

    fn folder(&self) -> Outcome<&Path> {
        Ok(self.platform.stack().folder()?)
    }

    fn requests(&self, ask: Ask) -> Outcome<PathBuf> {
        written(self.folder()?, "asked", &self.users, ask)
    }

    /// Seconds that each of some new tenants takes, the median, and tenants a second in a burst. They are gone afterwards.
    async fn made(&self, round: usize) -> Outcome<(f64, f64)> {
        let one_by_one = names(&format!("one{round}"), ONE_BY_ONE);
        let mut times = Vec::with_capacity(ONE_BY_ONE);
        for name in &one_by_one {
            times.push(self.fleet.create_one(name).await?.as_secs_f64());
        }
        let burst = names(&format!("burst{round}"), BURST);
        let (began, ready) = self.fleet.create(&burst, LIMIT).await?;
        let last = ready.iter().max().map_or(Duration::ZERO, |last| last.duration_since(began));
        self.fleet.delete(&[one_by_one, burst].concat(), LIMIT).await?;
        Ok((quantile(&times, 0.5), BURST as f64 / last.as_secs_f64()))
    }
}

/// What two builds came to in turn.
#[derive(Debug, Default)]
struct Pairs(Vec<(f64, f64)>);

impl Pairs {
    /// Adds the median of the ratios, which must not be below [`LEAST`].
    fn report(&self, report: &mut Report, name: &str, unit: &'static str) {
        let ratios: Vec<f64> = self.0.iter().map(|(ours, theirs)| ours / theirs).collect();
        let median = |of: fn(&(f64, f64)) -> f64| quantile(&self.0.iter().map(of).collect::<Vec<_>>(), 0.5);
        let said = format!(
            "{:.3} to {:.3}; {:.1} and {:.1} {unit}",
            quantile(&ratios, 0.25),
            quantile(&ratios, 0.75),
            median(|pair| pair.0),
            median(|pair| pair.1),
        );
        let figure = report.add(name, quantile(&ratios, 0.5), "of the other");
        figure.within(Budget::AtLeast(LEAST)).noted(said);
    }
}

async fn documents(
    ours: &Build,
    theirs: &Build,
    report: &mut Report,
    effort: &Effort,
    name: &str,
    ask: Ask,
) -> Outcome<()> {
    let (our_url, their_url) = (ours.platform.url()?, theirs.platform.url()?);
    let (our_requests, their_requests) = (ours.requests(ask)?, theirs.requests(ask)?);
    effort.warm_up(our_url, Script::Random, &our_requests).await?;
    effort.warm_up(their_url, Script::Random, &their_requests).await?;
    let mut pairs = Pairs::default();
    for _ in 0..effort.rounds {
        let one = effort.run(our_url, Script::Random, &our_requests).await?;
        let other = effort.run(their_url, Script::Random, &their_requests).await?;
        pairs.0.push((one.rate(), other.rate()));
    }
    pairs.report(report, name, "requests/s");
    Ok(())
}

async fn refresh(ours: &Build, theirs: &Build, report: &mut Report, effort: &Effort) -> Outcome<()> {
    let mut pairs = Pairs::default();
    let (our_people, their_people) = (
        Sessions::of(&ours.platform, &ours.users).await?,
        Sessions::of(&theirs.platform, &theirs.users).await?,
    );
    let run = async |build: &Build, people: &Sessions| -> Outcome<Run> {
        effort.run(build.platform.url()?, Script::Refresh, &people.fresh().await?).await
    };
    // The first of each warms up.
    run(ours, &our_people).await?;
    run(theirs, &their_people).await?;
    for _ in 0..effort.rounds {
        let (one, other) = (run(ours, &our_people).await?, run(theirs, &their_people).await?);
        pairs.0.push((one.rate(), other.rate()));
    }
    pairs.report(report, "refresh", "requests/s");
    Ok(())
}

/// Tenants with connections of their own beside as many that share them, on this build.
async fn dedicated(ours: &Build, report: &mut Report, effort: &Effort) -> Outcome<()> {
    let own = dedicated_crowd(&ours.platform, DEDICATED).await?;
    let shared = ours.users.get(..DEDICATED).unwrap_or(&ours.users);
    let url = ours.platform.url()?;
    for (name, ask) in CASES {
        let own = written(ours.folder()?, "own", &own, ask)?;
        let shared = written(ours.folder()?, "shared", shared, ask)?;
        effort.warm_up(url, Script::Random, &own).await?;
        effort.warm_up(url, Script::Random, &shared).await?;
        let (mut rates, mut beside) = (Vec::new(), Vec::new());
        for _ in 0..effort.rounds {
            rates.push(effort.run(url, Script::Random, &own).await?);
            beside.push(effort.run(url, Script::Random, &shared).await?);
        }
        report
            .add(
                format!("dedicated, {DEDICATED} tenants: {name}"),
                load::median(&rates, Run::rate),
                "requests/s",
            )
            .against("shared", load::median(&beside, Run::rate));
    }
    Ok(())
}

async fn tenants(ours: &Build, theirs: &Build, report: &mut Report, rounds: usize) -> Outcome<()> {
    let (mut one, mut burst) = (Pairs::default(), Pairs::default());
    for round in 0..rounds {
        let (our, their) = (ours.made(round).await?, theirs.made(round).await?);
        one.0.push((1.0 / our.0, 1.0 / their.0));
        burst.0.push((our.1, their.1));
    }
    one.report(report, "tenants one by one", "tenants/s");
    burst.report(report, &format!("tenants in a burst of {BURST}"), "tenants/s");
    Ok(())
}
