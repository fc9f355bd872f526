//! Kill -9 before and after every side effect, in every scenario that meets it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use tenantry_e2e::rig::kstatus::Observer;
use tenantry_e2e::rig::process::{Process, Sandbox};
use tenantry_e2e::rig::program::{ProgramOptions, bootstrap, mortal_operator};
use tenantry_e2e::rig::{Stack, StackOptions, eventually};

use super::dump::{Dump, dump};
use super::operated::Cluster;
use super::scenario::{Scenario, objects, remove};

const LIMIT: Duration = Duration::from_secs(90);

/// An operator meets these before it sees any object: once is enough.
const OF_EVERY_START: [&str; 3] = ["lease.", "epoch.", "platform."];

struct Sweep {
    cluster: Cluster,
    sandbox: Sandbox,
    operators: usize,
    // Last: it panics when a status was wrong.
    _observer: Observer,
}

/// How often a scenario comes past each point.
type Passes = BTreeMap<String, u32>;

#[tokio::test]
#[ignore = "takes minutes; make sweep"]
async fn an_operator_that_dies_anywhere_leaves_nothing_undone_and_nothing_behind() {
    let stack = Stack::start(StackOptions::default()).await.unwrap();
    stack.endpoints().apply_crds().await.unwrap();
    bootstrap(stack.endpoints(), &ProgramOptions::default()).await.unwrap();
    let mut sweep = Sweep {
        cluster: Cluster::of(stack.endpoints()).await,
        sandbox: Sandbox::create("sweep", None).unwrap(),
        operators: 0,
        _observer: Observer::start(stack.endpoints()).unwrap(),
    };
    let started = Instant::now();
    let (mut unmet, mut cases) = (points(), 0);
    for scenario in Scenario::ALL {
        let (passes, expected) = sweep.undisturbed(scenario).await;
        unmet.retain(|point| !passes.contains_key(point));
        for (point, times) in &passes {
            if scenario != Scenario::Create && OF_EVERY_START.iter().any(|start| point.starts_with(start)) {
                continue;
            }
            for number in BTreeSet::from([1, *times]) {
                sweep.case(scenario, point, number, &expected).await;
                cases += 1;
            }
        }
    }
    eprintln!("{cases} deaths in {:?}", started.elapsed());
    assert_eq!(unmet, BTreeSet::new(), "no scenario comes past these points: add one that does");
}

impl Sweep {
    fn operator(&mut self, environment: &[(&str, &str)]) -> std::sync::Arc<Process> {
        self.operators += 1;
        let lease = format!("sweep-{}", self.operators);
        mortal_operator(&self.sandbox, &self.cluster.endpoints, &lease, environment).unwrap()
    }

    /// What comes past, and what there is in the end.
    async fn undisturbed(&mut self, scenario: Scenario) -> (Passes, Dump) {
        let name = format!("calm{}", format!("{scenario:?}").to_lowercase());
        self.prepared(scenario, &name).await;
        let trace = self.sandbox.folder().join(&name);
        scenario.begin(&self.cluster, &name).await;
        let operator = self.operator(&[("TENANTRY_KILL_TRACE", trace.to_str().unwrap())]);
        self.done(scenario, &name).await;
        // The first renewal comes after a second.
        let passes = eventually("the lease is renewed", LIMIT, async || {
            let passes = read(&trace);
            if passes.contains_key("lease.write.after") { Ok(passes) } else { Err("not yet") }
        })
        .await
        .unwrap();
        operator.kill().await.unwrap();
        let found = dump(&self.cluster, &name).await;
        assert_eq!(found.is_empty(), scenario == Scenario::Delete, "{found:?}");
        self.cleaned(&name).await;
        (passes, found)
    }

    async fn case(&mut self, scenario: Scenario, point: &str, number: u32, expected: &Dump) {
        let started = Instant::now();
        let name = format!("dies{}x", self.operators);
        let what = format!("{scenario:?} with a death at {point}, pass {number}");
        self.prepared(scenario, &name).await;
        scenario.begin(&self.cluster, &name).await;
        let dying = self.operator(&[("TENANTRY_KILL_POINT", &format!("{point}:{number}"))]);
        // The second and later passes depend on what happened to come together in one write.
        let died = eventually(&format!("{what}: it dies"), LIMIT, async || match dying.exit_status() {
            Some(status) if !status.success() => Ok(true),
            Some(status) => Err(format!("{status}")),
            None if number > 1 && scenario.is_done(&self.cluster, &name).await.is_ok() => Ok(false),
            None => Err("it lives".to_owned()),
        })
        .await
        .unwrap();
        dying.kill().await.unwrap();
        self.sandbox.forget(&dying);

        let operator = self.operator(&[]);
        self.done(scenario, &name).await;
        operator.kill().await.unwrap();
        self.sandbox.forget(&operator);
        let found = dump(&self.cluster, &name).await;
        let differs: Vec<_> = found.symmetric_difference(expected).collect();
        assert!(differs.is_empty(), "{what}: {differs:#?}");
        self.cleaned(&name).await;
        let fate = if died { "" } else { " (not met again)" };
        eprintln!("{what}{fate}: {:?}", started.elapsed());
    }

    /// Ready for the scenario, and no operator runs.
    async fn prepared(&mut self, scenario: Scenario, name: &str) {
        if scenario == Scenario::Create {
            return;
        }
        scenario.prepare(&self.cluster, name).await;
        let operator = self.operator(&[]);
        self.done(Scenario::Create, name).await;
        operator.kill().await.unwrap();
        self.sandbox.forget(&operator);
    }

    async fn done(&self, scenario: Scenario, name: &str) {
        eventually(&format!("{name}: {scenario:?} is done"), LIMIT, || scenario.is_done(&self.cluster, name))
            .await
            .unwrap();
    }

    /// Whatever is left of the case goes, and nothing of it may stay.
    async fn cleaned(&mut self, name: &str) {
        if !objects(&self.cluster, name).await.unwrap().is_empty() {
            remove(&self.cluster, name).await;
            let operator = self.operator(&[]);
            self.done(Scenario::Delete, name).await;
            operator.kill().await.unwrap();
            self.sandbox.forget(&operator);
        }
        assert_eq!(dump(&self.cluster, name).await, Dump::new(), "left of {name}");
    }
}

fn read(trace: &Path) -> Passes {
    let mut passes = Passes::new();
    for line in std::fs::read_to_string(trace).unwrap_or_default().lines() {
        *passes.entry(line.to_owned()).or_default() += 1;
    }
    passes
}

/// The points that stand in the operator's sources.
fn points() -> BTreeSet<String> {
    fn visit(folder: &Path, points: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path, points);
            } else if path.file_name().is_some_and(|name| name != "killpoint.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                for use_ in text.split("killpoint!(").skip(1) {
                    let name = use_.split('"').nth(1).unwrap();
                    for side in ["before", "after"] {
                        assert!(points.insert(format!("{name}.{side}")), "{name} stands at two places");
                    }
                }
            }
        }
    }
    let mut points = BTreeSet::new();
    visit(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../operator/src"), &mut points);
    assert!(points.len() > 20, "{points:?}");
    points
}
