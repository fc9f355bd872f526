//! Up to which row nothing can be added any more.
//!
//! Ids come from a sequence, and transactions commit in another order than they drew theirs. Whoever draws an id locks the
//! sequence until its transaction ends. So: read the last id drawn, then who holds the lock. When all of those are gone, every
//! row up to that id is there, or never will be.

use std::collections::BTreeSet;

/// Up to which row nothing can be added any more, as far as was seen.
#[derive(Debug, Default)]
pub struct Horizon {
    safe: i64,
    /// An id that was the last one drawn, and who may still add a row up to it.
    waiting: Option<(i64, BTreeSet<String>)>,
}

impl Horizon {
    /// Takes in the last id drawn and the transactions that held the sequence after that; yields the id up to which no row can
    /// come any more.
    pub fn observe(&mut self, last: i64, holders: BTreeSet<String>) -> i64 {
        if holders.is_empty() {
            (self.safe, self.waiting) = (last, None);
            return last;
        }
        match &mut self.waiting {
            Some((id, waits)) => {
                waits.retain(|holder| holders.contains(holder));
                if waits.is_empty() {
                    self.safe = *id;
                    self.waiting = Some((last, holders));
                }
            }
            None => self.waiting = Some((last, holders)),
        }
        self.safe
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holders(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn an_id_is_safe_when_all_who_were_there_are_gone() {
        let mut horizon = Horizon::default();
        assert_eq!(horizon.observe(10, holders(&["a", "b"])), 0);
        assert_eq!(horizon.observe(20, holders(&["b", "c"])), 0, "b may still add a row");
        assert_eq!(horizon.observe(30, holders(&["c", "d"])), 10, "a and b are gone");
        assert_eq!(horizon.observe(40, holders(&["e"])), 30, "c and d are gone");
        assert_eq!(horizon.observe(40, holders(&[])), 40);
    }

    #[test]
    fn traffic_without_a_pause_does_not_hold_it_back() {
        let mut horizon = Horizon::default();
        for n in 0..100_i64 {
            let names = [format!("{n}"), format!("{}", n + 1)];
            let safe = horizon.observe(n, holders(&[names[0].as_str(), names[1].as_str()]));
            assert!(safe >= n - 4, "{safe} at {n}");
        }
    }
}
