//! What the parts of a sweep promise, for passes that are made up.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tenantry_rig::Seed;

use super::*;

const GROUPS: usize = 3;
const PARTS: u64 = 3;

/// What three groups may come past: each effect is met by one of them at least, and some effects by several of them.
fn made_up(points: &BTreeSet<String>, random: &mut StdRng) -> Vec<Passes> {
    let mut groups = vec![Passes::new(); GROUPS];
    for point in points {
        let always = random.random_range(0..GROUPS);
        for (number, passes) in groups.iter_mut().enumerate() {
            if number == always || random.random_bool(0.4) {
                passes.insert(point.clone(), random.random_range(1..6));
            }
        }
    }
    groups
}

fn in_part<'a>(deaths: &'a [Death], seed: &Seed) -> impl Iterator<Item = &'a Death> {
    let part = seed.part();
    deaths.iter().filter(move |death| death.is_of(part))
}

fn three_from(first: u64) -> [Seed; 3] {
    [0, 1, 2].map(|run| Seed::new(first + run, PARTS))
}

#[test]
fn parts_are_disjoint_and_three_in_a_row_are_everything() {
    let (points, mut random) = (points(), StdRng::seed_from_u64(1));
    for first in 0..100 {
        for deaths in deaths(&points, &made_up(&points, &mut random)).unwrap() {
            let mut met: Vec<Death> =
                three_from(first).iter().flat_map(|seed| in_part(&deaths, seed).cloned()).collect();
            met.sort();
            let mut all = deaths;
            all.sort();
            assert_eq!(met, all);
        }
    }
}

#[test]
fn three_runs_in_a_row_meet_each_point_though_each_run_comes_past_others() {
    let (points, mut random) = (points(), StdRng::seed_from_u64(2));
    for first in 0..100 {
        let mut met = BTreeSet::new();
        for seed in three_from(first) {
            let groups = deaths(&points, &made_up(&points, &mut random)).unwrap();
            let deaths = groups.iter().flat_map(|deaths| in_part(deaths, &seed));
            met.extend(deaths.filter(|death| death.number == 1).map(|death| death.point.clone()));
        }
        assert_eq!(met, points);
    }
}

#[test]
fn the_first_pass_and_the_last_are_in_different_parts() {
    let points = points();
    let passes: Passes = points.iter().cloned().map(|point| (point, 5)).collect();
    for seed in three_from(0) {
        for deaths in deaths(&points, std::slice::from_ref(&passes)).unwrap() {
            let met: Vec<&str> = in_part(&deaths, &seed).map(|death| death.point.as_str()).collect();
            let different: BTreeSet<&str> = met.iter().copied().collect();
            assert_eq!(different.len(), met.len());
        }
    }
}

/// Of groups that meet everything, as near as the points that die once allow. Those that do not meet whole areas, whose names stand
/// side by side.
#[test]
fn parts_are_of_one_size() {
    let points = points();
    let passes: Passes = points.iter().cloned().map(|point| (point, 5)).collect();
    for deaths in deaths(&points, &vec![passes; GROUPS]).unwrap() {
        let sizes = three_from(0).map(|seed| in_part(&deaths, &seed).count());
        let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
        assert!(5 * most <= 6 * least, "a part is a fifth larger than another: {sizes:?}");
    }
}

#[test]
fn a_point_that_no_group_meets_is_named() {
    let points = points();
    let mut groups = made_up(&points, &mut StdRng::seed_from_u64(3));
    for passes in &mut groups {
        passes.remove("postgres.apply.before");
    }
    let unmet = deaths(&points, &groups).unwrap_err();
    assert_eq!(unmet, BTreeSet::from(["postgres.apply.before".to_owned()]));
}

#[test]
fn a_point_dies_first_and_last_in_one_group_and_last_in_the_others() {
    let points = BTreeSet::from(["lease.write.after".to_owned(), "redis.streams.before".to_owned()]);
    let passes = |lease, streams| -> Passes { points.iter().cloned().zip([lease, streams]).collect() };
    let groups = deaths(&points, &[passes(3, 1), passes(2, 4)]).unwrap();
    let numbers = |deaths: &[Death]| -> Vec<(String, u32)> {
        deaths.iter().map(|death| (death.point.clone(), death.number)).collect()
    };
    let [lease, streams] = ["lease.write.after", "redis.streams.before"].map(str::to_owned);
    assert_eq!(numbers(&groups[0]), [(lease.clone(), 1), (lease, 3), (streams.clone(), 1)]);
    assert_eq!(numbers(&groups[1]), [(streams, 4)]);
}
