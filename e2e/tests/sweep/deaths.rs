//! Where operators die: which deaths there are, and which of them belong to a part of the sweep. Pure, so that the promise about
//! parts can be proved without a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tenantry_rig::Part;

/// An operator meets these before it sees any object: once is enough.
const OF_EVERY_START: [&str; 3] = ["lease.", "epoch.", "platform."];

/// Around each transaction of a provisioner, whose own point says what it is for: once is enough, too.
const AROUND_OTHERS: &str = "postgres.transaction.";

/// How often a group comes past each point.
pub type Passes = BTreeMap<String, u32>;

/// A death: where, and at which pass.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Death {
    pub point: String,
    pub number: u32,
    /// Its place in the whole sweep, which says the part that it belongs to.
    place: usize,
}

impl Death {
    pub fn is_of(&self, part: Part) -> bool {
        part.has(self.place)
    }
}

/// The deaths of each group: at the first pass of a point and at the last in the first group that meets it, and at the last in
/// the groups after that one. Fails with the points that no group meets.
///
/// The place of a death follows from the name of its point, from the group and from whether it is the first pass, and from nothing
/// that differs between two runs: passes depend on what came together in one write. So each point is met in as many runs in a row
/// as there are parts. The deaths of one point have places in a row and belong to different parts.
pub fn deaths(points: &BTreeSet<String>, groups: &[Passes]) -> Result<Vec<Vec<Death>>, BTreeSet<String>> {
    let mut unmet = points.clone();
    let mut all = Vec::new();
    for (group, passes) in groups.iter().enumerate() {
        let of_group = points.iter().enumerate().filter_map(|(home, point)| {
            let times = *passes.get(point)?;
            let death = |number, turn| Death { point: point.clone(), number, place: home + turn };
            let new = unmet.contains(point);
            let first = new.then(|| death(1, 0));
            let last = if new { times > 1 } else { !once_is_enough(point) };
            Some(first.into_iter().chain(last.then(|| death(times, 1 + group))))
        });
        all.push(of_group.flatten().collect());
        unmet.retain(|point| !passes.contains_key(point));
    }
    if unmet.is_empty() { Ok(all) } else { Err(unmet) }
}

fn once_is_enough(point: &str) -> bool {
    point.starts_with(AROUND_OTHERS) || OF_EVERY_START.iter().any(|start| point.starts_with(start))
}

/// The points that a traced operator came past.
pub fn read(trace: &Path) -> Passes {
    let mut passes = Passes::new();
    for line in std::fs::read_to_string(trace).unwrap_or_default().lines() {
        *passes.entry(line.to_owned()).or_default() += 1;
    }
    passes
}

/// The points that stand in the operator's sources.
pub fn points() -> BTreeSet<String> {
    let mut points = BTreeSet::new();
    visit(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../operator/src"), &mut points);
    assert!(points.len() > 20, "{points:?}");
    points
}

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

#[cfg(test)]
mod tests;
