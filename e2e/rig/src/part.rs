//! Slow tests do one part of their work in a run. The seed of the run says which part.
//!
//! Seeds count upwards from run to run, so as many runs in a row as there are parts do all of the work.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::RigError;

/// The environment variable with the seed; without it, the seed is the number of the day.
const SEED: &str = "TENANTRY_SEED";

/// The environment variable that says how many parts there are; 1 is the whole in one run.
const PARTS: &str = "TENANTRY_PARTS";

const USUAL_PARTS: u64 = 3;

/// The seed of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed {
    number: u64,
    parts: u64,
}

impl Seed {
    /// The seed that the environment gives.
    pub fn of_this_run() -> Result<Self, RigError> {
        let number = number_in(SEED)?.unwrap_or_else(today);
        Ok(Self::new(number, number_in(PARTS)?.unwrap_or(USUAL_PARTS)))
    }

    /// A seed for work that is split into `parts`.
    pub fn new(number: u64, parts: u64) -> Self {
        Self { number, parts: parts.max(1) }
    }

    /// The part that this run does.
    pub fn part(self) -> Part {
        Part { number: self.number % self.parts, of: self.parts }
    }

    /// What random choices begin with. It is the same for the runs that do the parts of one whole.
    pub fn base(self) -> u64 {
        self.number / self.parts
    }

    /// The number itself, for work whose parts need not belong together.
    pub fn number(self) -> u64 {
        self.number
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, parts } = self;
        let part = self.part().number + 1;
        write!(f, "seed {number}: part {part} of {parts} ({SEED}={number} {PARTS}={parts} repeats it)")
    }
}

/// One of several parts of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    number: u64,
    of: u64,
}

impl Part {
    /// All of the work.
    pub const WHOLE: Self = Self { number: 0, of: 1 };

    /// Whether the piece at this place of the whole belongs to the part.
    pub fn has(self, place: usize) -> bool {
        place as u64 % self.of == self.number
    }

    /// The size of the part when `whole` is split evenly.
    pub fn share(self, whole: u64) -> u64 {
        whole / self.of
    }
}

fn number_in(variable: &str) -> Result<Option<u64>, RigError> {
    let Ok(text) = std::env::var(variable) else { return Ok(None) };
    let number = text.parse();
    number.map(Some).map_err(|_| RigError::Refused(format!("{variable} is {text:?}, which is no number")))
}

/// Days since 1970: runs on three days in a row have seeds in a row.
fn today() -> u64 {
    const SECONDS: u64 = 24 * 60 * 60;
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_in_a_row_do_each_piece_once() {
        for parts in 1..5 {
            for first in [0, 1, 2, 20_784, u64::MAX - 5] {
                for place in 0..50 {
                    let runs = (0..parts).map(|run| Seed::new(first + run, parts).part());
                    assert_eq!(runs.filter(|part| part.has(place)).count(), 1, "{place} of {parts}");
                }
            }
        }
    }

    #[test]
    fn parts_of_one_whole_begin_with_the_same() {
        let bases: Vec<u64> = (6..12).map(|number| Seed::new(number, 3).base()).collect();
        assert_eq!(bases, [2, 2, 2, 3, 3, 3]);
    }

    #[test]
    fn a_single_part_is_the_whole() {
        assert_eq!(Seed::new(4711, 1).part(), Part::WHOLE);
        assert_eq!(Seed::new(4711, 0).part(), Part::WHOLE);
        assert_eq!(Part::WHOLE.share(1_000_000), 1_000_000);
    }

    #[test]
    fn a_seed_says_how_to_repeat_it() {
        let text = "seed 7: part 2 of 3 (TENANTRY_SEED=7 TENANTRY_PARTS=3 repeats it)";
        assert_eq!(Seed::new(7, 3).to_string(), text);
    }
}
