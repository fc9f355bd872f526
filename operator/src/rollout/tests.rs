//! The state machine: what it admits, when it stops, and what never happens whatever the order of events.

use std::{collections::BTreeSet, sync::Arc};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tenantry_crds::{reason::Reason, v1alpha1::RolloutStage};
use tenantry_migrations::logins::LoginShard;

use super::{
    machine::Rollout,
    member::{Failure, Standing},
    policy::Pace,
};
use crate::catalog::Version;

const CANARY: Standing = Standing { canary: true, aside: false, stalled: false };
const PLAIN: Standing = Standing { canary: false, aside: false, stalled: false };
const ASIDE: Standing = Standing { canary: false, aside: true, stalled: false };
const STALLED: Standing = Standing { canary: false, aside: false, stalled: true };

fn version(text: &str) -> Version {
    Version::new(text)
}

/// Everybody is at 1.0.0, and 2.0.0 was just published.
fn rollout(max_parallel: usize, pause_on_failure: bool, tenants: &[(&str, Standing)]) -> Rollout {
    let mut rollout = Rollout::to(version("1.0.0"));
    rollout.pace(Pace { max_parallel, pause_on_failure });
    for (tenant, standing) in tenants {
        rollout.learn(tenant, Some(version("1.0.0")));
        rollout.observe(tenant, Some(*standing));
    }
    rollout.retarget(version("2.0.0"));
    rollout
}

fn next(rollout: &mut Rollout) -> Vec<String> {
    rollout.next(|_| true).iter().map(ToString::to_string).collect()
}

fn fail(rollout: &mut Rollout, tenant: &str) {
    rollout.failed(tenant, Failure::new(version("2.0.0"), Reason::DataConflict, "3 rows"));
}

fn stage(rollout: &Rollout) -> (RolloutStage, String) {
    let progress = rollout.progress();
    (progress.stage, progress.fraction())
}

#[test]
fn neighbours_in_a_shard_go_together() {
    let mut rollout =
        rollout(9, true, &[("a", PLAIN), ("b", PLAIN), ("c", PLAIN), ("d", STALLED), ("e", CANARY)]);
    for (tenant, shard) in [("a", 1), ("b", 0), ("c", 1), ("d", 0), ("e", 1), ("unknown", 0)] {
        rollout.bound(tenant, LoginShard::new(shard));
    }
    assert_eq!(next(&mut rollout), ["e"]);
    rollout.reached("e", version("2.0.0"));
    assert_eq!(next(&mut rollout), ["b", "a", "c", "d"]);
    assert_eq!(stage(&rollout).1, "1/5", "a tenant without the app has no part in it");
}

#[test]
fn canaries_go_first_and_all_of_them() {
    let mut rollout =
        rollout(2, true, &[("a", PLAIN), ("b", CANARY), ("c", CANARY), ("d", CANARY), ("e", PLAIN)]);
    assert_eq!(next(&mut rollout), ["b", "c"]);
    assert_eq!(stage(&rollout), (RolloutStage::Canary, "0/5".into()));
    rollout.reached("b", version("2.0.0"));
    assert_eq!(next(&mut rollout), ["d"]);
    rollout.reached("d", version("2.0.0"));
    assert!(next(&mut rollout).is_empty(), "c is still under way");
    rollout.reached("c", version("2.0.0"));
    assert_eq!(next(&mut rollout), ["a", "e"]);
    assert_eq!(stage(&rollout), (RolloutStage::Waves, "3/5".into()));
    for tenant in ["a", "e"] {
        rollout.reached(tenant, version("2.0.0"));
    }
    assert_eq!(stage(&rollout), (RolloutStage::Complete, "5/5".into()));
}

#[test]
fn one_failure_pauses_and_its_end_resumes() {
    let mut rollout = rollout(2, true, &[("a", PLAIN), ("b", PLAIN), ("c", PLAIN)]);
    assert_eq!(next(&mut rollout), ["a", "b"]);
    fail(&mut rollout, "a");
    rollout.reached("b", version("2.0.0"));
    assert!(next(&mut rollout).is_empty());
    assert_eq!(stage(&rollout), (RolloutStage::Paused, "1/3".into()));
    let message = rollout.progress().message();
    assert!(message.contains("a failed with DataConflict (3 rows)"), "{message}");
    assert_eq!(rollout.wanted("a"), Some(&version("2.0.0")), "it is tried again");
    assert_eq!(rollout.wanted("c"), Some(&version("1.0.0")));
    rollout.reached("a", version("2.0.0"));
    assert_eq!(next(&mut rollout), ["c"]);
}

#[test]
fn another_version_resumes_and_everybody_starts_from_what_it_has() {
    let mut rollout = rollout(1, true, &[("a", PLAIN), ("b", PLAIN)]);
    next(&mut rollout);
    fail(&mut rollout, "a");
    assert_eq!(rollout.retarget(version("2.0.1")), ["a".into()] as [Arc<str>; 1]);
    assert_eq!(rollout.wanted("a"), Some(&version("1.0.0")));
    assert_eq!(next(&mut rollout), ["a"]);
    assert_eq!(rollout.wanted("a"), Some(&version("2.0.1")));
    // Back to where everybody is.
    rollout.retarget(version("1.0.0"));
    assert_eq!(stage(&rollout), (RolloutStage::Complete, "2/2".into()));
}

#[test]
fn without_pause_the_others_go_on_but_nothing_passes_a_failed_canary() {
    let mut waves = rollout(1, false, &[("a", PLAIN), ("b", PLAIN)]);
    next(&mut waves);
    fail(&mut waves, "a");
    assert_eq!(next(&mut waves), ["b"]);
    assert_eq!(stage(&waves).0, RolloutStage::Waves);
    waves.reached("b", version("2.0.0"));
    assert_eq!(stage(&waves), (RolloutStage::Paused, "1/2".into()), "only a person can go on");

    let mut canary = rollout(1, false, &[("a", CANARY), ("b", CANARY), ("c", PLAIN)]);
    next(&mut canary);
    fail(&mut canary, "a");
    assert_eq!(next(&mut canary), ["b"]);
    canary.reached("b", version("2.0.0"));
    assert!(next(&mut canary).is_empty());
    assert_eq!(stage(&canary), (RolloutStage::Paused, "1/3".into()));
}

#[test]
fn who_is_aside_or_gone_holds_nobody_up() {
    let mut rollout = rollout(1, true, &[("a", PLAIN), ("b", PLAIN), ("c", ASIDE)]);
    assert_eq!(next(&mut rollout), ["a"]);
    rollout.observe("a", Some(ASIDE));
    assert_eq!(next(&mut rollout), ["b"]);
    fail(&mut rollout, "b");
    rollout.observe("b", None);
    assert_eq!(stage(&rollout), (RolloutStage::Complete, "0/0".into()));
    rollout.observe("a", Some(PLAIN));
    assert_eq!(next(&mut rollout), ["a"], "back in the queue");
}

#[test]
fn who_is_stalled_already_goes_last() {
    let mut rollout = rollout(1, true, &[("a", STALLED), ("b", PLAIN)]);
    assert_eq!(next(&mut rollout), ["b"]);
    rollout.reached("b", version("2.0.0"));
    assert_eq!(next(&mut rollout), ["a"]);
}

#[test]
fn who_waits_for_another_app_takes_no_slot_and_comes_back() {
    let mut rollout = rollout(1, true, &[("a", PLAIN), ("b", PLAIN)]);
    let admitted = rollout.next(|tenant| tenant != "a");
    assert_eq!(admitted, ["b".into()] as [Arc<str>; 1]);
    assert_eq!(rollout.progress().waiting, 1);
    rollout.reached("b", version("2.0.0"));
    assert_eq!(stage(&rollout).0, RolloutStage::Waves);
    assert!(next(&mut rollout).is_empty());
    rollout.reconsider("a");
    assert_eq!(next(&mut rollout), ["a"]);
}

#[test]
fn a_tenant_that_is_new_to_the_app_has_no_part_until_it_has_a_version() {
    let mut rollout = rollout(1, true, &[]);
    rollout.observe("new", Some(PLAIN));
    assert_eq!(rollout.wanted("new"), None);
    assert_eq!(stage(&rollout), (RolloutStage::Complete, "0/0".into()));
    rollout.reached("new", version("2.0.0"));
    assert_eq!(stage(&rollout), (RolloutStage::Complete, "1/1".into()));
}

/// Of a tenant whose rows came from a snapshot the pass tells only now.
#[test]
fn a_tenant_that_comes_in_behind_the_target_moves_the_rollout() {
    let mut rollout = rollout(1, true, &[("a", PLAIN)]);
    assert_eq!(next(&mut rollout), ["a"]);
    rollout.reached("a", version("2.0.0"));
    rollout.observe("restored", Some(PLAIN));
    assert!(rollout.learn("restored", Some(version("1.0.0"))));
    assert_eq!(next(&mut rollout), ["restored"]);
    assert!(!rollout.learn("restored", Some(version("1.0.0"))), "the same again is no news");
}

#[test]
fn a_pass_that_began_before_the_admission_does_not_end_it() {
    let mut rollout = rollout(1, true, &[("a", PLAIN), ("b", PLAIN)]);
    assert_eq!(next(&mut rollout), ["a"]);
    assert!(!rollout.reached("a", version("1.0.0")));
    assert!(next(&mut rollout).is_empty());
    assert_eq!(rollout.wanted("a"), Some(&version("2.0.0")));
}

/// A fleet under random events, and a model that only knows who was admitted and who is where.
struct World {
    rollout: Rollout,
    random: StdRng,
    pace: Pace,
    target: u32,
    canaries: BTreeSet<String>,
    in_flight: BTreeSet<String>,
    failed: BTreeSet<String>,
    at: Vec<u32>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let pace = Pace { max_parallel: random.random_range(1..6), pause_on_failure: random.random() };
        let (number, mut canaries) = (random.random_range(1..40), BTreeSet::new());
        let mut rollout = Rollout::to(version("1.0.0"));
        rollout.pace(pace);
        for n in 0..number {
            let name = format!("t{n}");
            let canary = random.random_bool(0.2);
            if canary {
                canaries.insert(name.clone());
            }
            rollout.learn(&name, Some(version("1.0.0")));
            rollout.observe(&name, Some(Standing { canary, ..PLAIN }));
        }
        let (in_flight, failed) = (BTreeSet::new(), BTreeSet::new());
        Self { rollout, random, pace, target: 1, canaries, in_flight, failed, at: vec![1; number] }
    }

    fn target(&self) -> Version {
        version(&format!("{}.0.0", self.target))
    }

    fn is_done(&self, tenant: &str) -> bool {
        let number: usize = tenant[1..].parse().unwrap();
        self.at[number] == self.target && !self.failed.contains(tenant)
    }

    fn pick(&mut self, from: &BTreeSet<String>) -> Option<String> {
        let at = (!from.is_empty()).then(|| self.random.random_range(0..from.len()))?;
        from.iter().nth(at).cloned()
    }

    fn succeed(&mut self, tenant: &str) {
        self.rollout.reached(tenant, self.target());
        self.in_flight.remove(tenant);
        self.failed.remove(tenant);
        self.at[tenant[1..].parse::<usize>().unwrap()] = self.target;
    }

    fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..50 => {
                if let Some(tenant) = self.pick(&self.in_flight.clone()) {
                    self.succeed(&tenant);
                }
            }
            50..60 => {
                if let Some(tenant) = self.pick(&self.in_flight.clone()) {
                    let failure = Failure::new(self.target(), Reason::DataConflict, "no");
                    self.rollout.failed(&tenant, failure);
                    self.in_flight.remove(&tenant);
                    self.failed.insert(tenant);
                }
            }
            60..75 => {
                if let Some(tenant) = self.pick(&self.failed.clone()) {
                    self.succeed(&tenant);
                }
            }
            75..78 => {
                self.target += 1;
                self.rollout.retarget(self.target());
                self.in_flight.clear();
                self.failed.clear();
            }
            _ => self.admit(),
        }
    }

    fn admit(&mut self) {
        let canaries_done = self.canaries.iter().all(|tenant| self.is_done(tenant));
        let admitted = next(&mut self.rollout);
        if self.pace.pause_on_failure && !self.failed.is_empty() {
            assert_eq!(admitted, [""; 0], "a paused rollout admits nobody");
        }
        for tenant in admitted {
            assert!(canaries_done || self.canaries.contains(&tenant), "{tenant} passed a canary");
            assert!(!self.is_done(&tenant) && self.in_flight.insert(tenant));
        }
        assert!(self.in_flight.len() <= self.pace.max_parallel);
    }

    /// Everything that failed is solved.
    fn finish(&mut self) {
        for _ in 0..200 {
            for tenant in self.failed.clone().iter().chain(&self.in_flight.clone()) {
                self.succeed(tenant);
            }
            self.admit();
        }
        assert_eq!(stage(&self.rollout).0, RolloutStage::Complete);
        assert!(self.at.iter().all(|at| *at == self.target));
    }
}

#[test]
fn whatever_happens_the_limits_hold_and_a_solved_rollout_ends() {
    for seed in 0..300 {
        let mut world = World::new(seed);
        for _ in 0..300 {
            world.step();
        }
        world.finish();
    }
}
