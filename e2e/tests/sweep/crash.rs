//! Kill -9 before and after every side effect, in every group of scenarios that meets it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::future::join_all;
use tenantry_e2e::checkout::apply_crds;
use tenantry_e2e::cluster::Cluster;
use tenantry_e2e::program::{ProgramOptions, bootstrap, mortal_operator};
use tenantry_rig::kstatus::Observer;
use tenantry_rig::process::{Process, Sandbox};
use tenantry_rig::{Part, Seed, Stack, StackOptions, eventually};

use super::deaths::{Death, Passes, deaths, points, read};
use super::dump::{Dump, dump, files};
use super::scenario::{Scenario, objects, remove};

const LIMIT: Duration = Duration::from_secs(90);

/// Cases whose tenants are prepared, and removed, by one operator.
const AT_ONCE: usize = 8;

/// Sweeps only the deaths whose description contains one of these, as in `TENANTRY_SWEEP=redis.,search.create_key`, and all of
/// them in one run.
const FILTER: &str = "TENANTRY_SWEEP";

/// The deaths of one group, in a cluster of their own.
struct Sweep {
    cluster: Cluster,
    snapshots: PathBuf,
    sandbox: Sandbox,
    operators: usize,
    /// What differs after which death.
    different: Vec<String>,
    // It panics when a status was wrong, and the stack has to be there then.
    _observer: Observer,
    _stack: Stack,
}

/// The tenants of a group, each with what it goes through.
type Parts = Vec<(Scenario, String)>;

/// Each group has a private stack, since its operators die and no two operators may run in one cluster at once.
#[tokio::test]
#[ignore = "takes minutes; make sweep"]
async fn an_operator_that_dies_anywhere_leaves_nothing_undone_and_nothing_behind() {
    let filter = std::env::var(FILTER).unwrap_or_default();
    let seed = Seed::of_this_run().unwrap();
    let part = if filter.is_empty() { seed.part() } else { Part::WHOLE };
    eprintln!("deaths: {seed}");
    let started = Instant::now();
    let calm = join_all(Scenario::GROUPS.map(async |group| {
        let mut sweep = Sweep::start().await;
        let (passes, expected) = sweep.undisturbed(group).await;
        (passes, (sweep, expected))
    }));
    let (passes, sweeps): (Vec<Passes>, Vec<_>) = calm.await.into_iter().unzip();
    eprintln!("the undisturbed runs took {:?}", started.elapsed());
    let deaths = deaths(&points(), &passes)
        .map_err(|unmet| format!("no scenario comes past {unmet:?}: add one that does"));
    // Side by side, each in a cluster of its own: a death waits for rotations, replicas and programs that start.
    let lanes = Scenario::GROUPS.into_iter().zip(sweeps).zip(deaths.unwrap());
    let ends = join_all(lanes.map(|((group, (sweep, expected)), mut deaths)| {
        deaths.retain(|death| death.is_of(part) && is_named(&filter, &what(group, death)));
        sweep.all(group, deaths, expected)
    }))
    .await;
    let cases: usize = ends.iter().map(|(cases, _)| cases).sum();
    eprintln!("{cases} deaths in {:?}", started.elapsed());
    assert!(cases > 0, "nothing is called {filter}");
    let different: Vec<String> = ends.into_iter().flat_map(|(_, different)| different).collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
}

fn is_named(filter: &str, what: &str) -> bool {
    filter.split(',').any(|part| what.contains(part))
}

fn what(group: &[Scenario], death: &Death) -> String {
    format!("{group:?} with a death at {}, pass {}", death.point, death.number)
}

impl Sweep {
    async fn start() -> Self {
        let stack = Stack::private_with(
            "its operators die",
            StackOptions { second: true, ..StackOptions::default() },
        )
        .await
        .unwrap();
        apply_crds(stack.endpoints()).await.unwrap();
        bootstrap(stack.endpoints(), &ProgramOptions::default()).await.unwrap();
        let sandbox = Sandbox::create("sweep", None).unwrap();
        Self {
            cluster: Cluster::of(stack.endpoints()).await,
            snapshots: sandbox.folder().join("snapshots"),
            sandbox,
            operators: 0,
            different: Vec::new(),
            _observer: Observer::start(stack.endpoints()).unwrap(),
            _stack: stack,
        }
    }

    /// Dies all these deaths; how many there were, and what differs.
    async fn all(
        mut self,
        group: &[Scenario],
        deaths: Vec<Death>,
        expected: Vec<Dump>,
    ) -> (usize, Vec<String>) {
        let started = Instant::now();
        for some in deaths.chunks(AT_ONCE) {
            self.cases(group, some, &expected).await;
        }
        eprintln!("{group:?}: {} deaths in {:?}", deaths.len(), started.elapsed());
        (deaths.len(), std::mem::take(&mut self.different))
    }

    fn operator(&mut self, environment: &[(&str, &str)]) -> std::sync::Arc<Process> {
        self.operators += 1;
        let lease = format!("sweep-{}", self.operators);
        let url = format!("file://{}", self.snapshots.display());
        let mut all = vec![("TENANTRY__SNAPSHOTS__URL", url.as_str())];
        all.extend(environment);
        mortal_operator(&self.sandbox, &self.cluster.endpoints, &lease, &all).unwrap()
    }

    async fn end(&self, operator: &std::sync::Arc<Process>) {
        operator.kill().await.unwrap();
        self.sandbox.forget(operator);
    }

    /// What comes past, and what there is of each tenant in the end.
    async fn undisturbed(&mut self, group: &[Scenario]) -> (Passes, Vec<Dump>) {
        let parts: Parts =
            group.iter().map(|one| (*one, format!("calm{}", format!("{one:?}").to_lowercase()))).collect();
        self.prepared(&parts).await;
        let trace = self.sandbox.folder().join(format!("{group:?}"));
        self.begin(&parts).await;
        let mut environment = vec![("TENANTRY_KILL_TRACE", trace.to_str().unwrap())];
        environment.extend(group[0].environment());
        let operator = self.operator(&environment);
        self.done(&parts).await;
        // The first renewal comes after a second.
        let passes = eventually("the lease is renewed", LIMIT, async || {
            let passes = read(&trace);
            if passes.contains_key("lease.write.after") { Ok(passes) } else { Err("not yet") }
        })
        .await
        .unwrap();
        let mut found = Vec::new();
        for (scenario, name) in &parts {
            let all = self.at_rest(name).await;
            match scenario {
                Scenario::Delete => assert!(all.is_empty(), "{all:#?}"),
                Scenario::Archive => {
                    let is_file = |line: &String| line.starts_with("file ");
                    assert!(all.iter().all(is_file) && all.contains("file manifest.json 3 rows"), "{all:#?}");
                }
                Scenario::Release => {
                    // The queue's keys and the users of both accesses: what is left, and a record of all of it.
                    let number = |start: &str| all.iter().filter(|line| line.starts_with(start)).count();
                    assert_eq!((number("orphan "), number("user ")), (3, 2), "{all:#?}");
                }
                _ => assert!(all.iter().filter(|line| line.ends_with("opens true")).count() >= 3, "{all:#?}"),
            }
            found.push(all);
        }
        self.end(&operator).await;
        self.cleaned(&parts).await;
        (passes, found)
    }

    async fn cases(&mut self, group: &[Scenario], deaths: &[Death], expected: &[Dump]) {
        let mut cases = Vec::new();
        for (at, death) in deaths.iter().enumerate() {
            let (number, letters) = (self.operators, ["a", "b", "c", "d", "e", "f"]);
            let name = |letter: &str| format!("d{number}{letter}{at}x");
            let parts: Parts =
                group.iter().zip(letters).map(|(scenario, letter)| (*scenario, name(letter))).collect();
            cases.push((death, parts));
        }
        let all: Parts = cases.iter().flat_map(|(_, parts)| parts.clone()).collect();
        self.prepared(&all).await;
        for (death, parts) in &cases {
            self.case(&what(group, death), death, parts, expected).await;
        }
        self.cleaned(&all).await;
    }

    async fn case(&mut self, what: &str, death: &Death, parts: &Parts, expected: &[Dump]) {
        let started = Instant::now();
        let usual = parts[0].0.environment();
        self.begin(parts).await;
        let point = format!("{}:{}", death.point, death.number);
        let mut environment = vec![("TENANTRY_KILL_POINT", point.as_str())];
        environment.extend(usual);
        let dying = self.operator(&environment);
        // The second and later passes depend on what happened to come together in one write.
        let died = eventually(&format!("{what}: it dies"), LIMIT, async || match dying.exit_status() {
            Some(status) if !status.success() => Ok(true),
            Some(status) => Err(format!("{status}")),
            None if death.number > 1 && self.are_done(parts).await.is_ok() => Ok(false),
            None => Err("it lives".to_owned()),
        })
        .await
        .unwrap();
        self.end(&dying).await;

        let operator = self.operator(usual);
        self.done(parts).await;
        // While it runs: its own end is a death like another, and what fails is tried again and again.
        let all = join_all(parts.iter().map(|(_, name)| self.at_rest(name))).await;
        for (((scenario, name), expected), found) in parts.iter().zip(expected).zip(&all) {
            let lost: Vec<_> = expected.difference(found).collect();
            let more: Vec<_> = found.difference(expected).collect();
            if !lost.is_empty() || !more.is_empty() {
                let difference = format!("{what}: {scenario:?} of {name}: lost {lost:#?}, more {more:#?}");
                // At once, too: the end is far away.
                eprintln!("{difference}");
                self.different.push(difference);
            }
        }
        self.end(&operator).await;
        let fate = if died { "" } else { " (not met again)" };
        eprintln!("{what}{fate}: {:?}, {} differ so far", started.elapsed(), self.different.len());
    }

    /// Ready for what they go through, and no operator runs.
    async fn prepared(&mut self, parts: &Parts) {
        let made: Parts = parts.iter().filter(|(one, _)| *one != Scenario::Create).cloned().collect();
        if made.is_empty() {
            return;
        }
        for (scenario, name) in &made {
            scenario.make(&self.cluster, name).await;
        }
        let operator = self.operator(&[]);
        self.done(&made.iter().map(|(_, name)| (Scenario::Create, name.clone())).collect()).await;
        for (scenario, name) in &made {
            scenario.settle(&self.cluster, name).await;
        }
        self.end(&operator).await;
    }

    async fn begin(&self, parts: &Parts) {
        // As after a change of the key, so that there are logins to make.
        self.cluster.run_sql("ALTER ROLE tenantry_shard_00 PASSWORD 'another'").await;
        for (scenario, name) in parts {
            scenario.begin(&self.cluster, name, &self.snapshots).await;
        }
    }

    async fn are_done(&self, parts: &Parts) -> Result<(), String> {
        for (scenario, name) in parts {
            scenario
                .is_done(&self.cluster, name)
                .await
                .map_err(|why| format!("{scenario:?} {name}: {why}"))?;
        }
        Ok(())
    }

    async fn done(&self, parts: &Parts) {
        eventually("all is done", LIMIT, || self.are_done(parts)).await.unwrap();
    }

    /// What there is of a tenant when none of its steps is under way: its migrator is there only meanwhile, or was left behind.
    async fn at_rest(&self, name: &str) -> Dump {
        let resting = eventually("no step is under way", LIMIT, async || {
            let found = self.found(name).await;
            if found.iter().any(|line| line.contains("-migrate")) { Err("a migrator") } else { Ok(found) }
        });
        match resting.await {
            Ok(found) => found,
            Err(_) => self.found(name).await,
        }
    }

    async fn found(&self, name: &str) -> Dump {
        let mut found = dump(&self.cluster, name).await;
        found.extend(files(&self.snapshots, name));
        found
    }

    /// Whatever is left goes, and nothing of it may stay.
    async fn cleaned(&mut self, parts: &Parts) {
        let operator = self.operator(&[]);
        for (_, name) in parts {
            if !objects(&self.cluster, name).await.unwrap().is_empty() {
                remove(&self.cluster, name).await;
            }
        }
        self.done(&parts.iter().map(|(_, name)| (Scenario::Delete, name.clone())).collect()).await;
        self.end(&operator).await;
        for (scenario, name) in parts {
            scenario.clear(&self.cluster, name, &self.snapshots).await;
            assert_eq!(self.found(name).await, Dump::new(), "left of {name}");
        }
    }
}
