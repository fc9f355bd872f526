//! Up to which row nothing can be added any more.
//!
//! Ids come from a sequence, and transactions commit in another order than they drew theirs. Whoever draws an id locks the
//! sequence until its transaction ends. So: read the last id drawn, then who holds the lock. When all of those are gone, every
//! row up to that id is there, or never will be.
//!
//! A transaction of a tenant's own login can add rows of that tenant only, and the tenant decides how long it takes. So it is that
//! tenant's horizon that waits for it ([`Horizons`]).

use std::collections::{BTreeMap, BTreeSet};

/// Up to which row nothing can be added any more, as far as was seen.
#[derive(Debug, Default)]
struct Horizon {
    safe: i64,
    /// An id that was the last one drawn, and who may still add a row up to it.
    waiting: Option<(i64, BTreeSet<String>)>,
}

impl Horizon {
    /// Takes in the last id drawn and the transactions that held the sequence after that.
    fn observe(&mut self, last: i64, holders: BTreeSet<String>) {
        if holders.is_empty() {
            (self.safe, self.waiting) = (last, None);
            return;
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
    }
}

/// A transaction that holds the sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its virtual id.
    pub transaction: String,
    /// The only role whose rows it can add; absent when it can add those of several tenants, or nothing is known of it.
    pub role: Option<String>,
}

/// The horizon of all tenants, and those of tenants whose own logins hold the sequence.
#[derive(Debug, Default)]
pub struct Horizons {
    shared: Horizon,
    of_role: BTreeMap<String, Horizon>,
    /// The last id of the observation before. Whoever was not seen then, had drawn none up to it.
    last: i64,
}

impl Horizons {
    /// Takes in the last id drawn and the transactions that held the sequence after that.
    pub fn observe(&mut self, last: i64, holders: Vec<Holder>) {
        let (mut shared, mut of_role): (BTreeSet<_>, BTreeMap<String, BTreeSet<_>>) = Default::default();
        for Holder { transaction, role } in holders {
            match role {
                Some(role) => of_role.entry(role).or_default().insert(transaction),
                None => shared.insert(transaction),
            };
        }
        self.shared.observe(last, shared);
        for role in of_role.keys() {
            let first = || Horizon { safe: self.last, waiting: None };
            self.of_role.entry(role.clone()).or_insert_with(first);
        }
        self.of_role.retain(|role, horizon| {
            horizon.observe(last, of_role.remove(role).unwrap_or_default());
            horizon.waiting.is_some()
        });
        self.last = last;
    }

    /// Up to which row nobody but tenants' own logins can add any.
    pub fn shared(&self) -> i64 {
        self.shared.safe
    }

    /// Up to which row none of `role` can come.
    pub fn of(&self, role: &str) -> i64 {
        self.of_role.get(role).map_or(self.shared.safe, |horizon| horizon.safe.min(self.shared.safe))
    }

    /// The roles of which rows up to `upto` may still come.
    pub fn behind(&self, upto: i64) -> impl Iterator<Item = &str> {
        self.of_role.iter().filter(move |(_, horizon)| horizon.safe < upto).map(|(role, _)| role.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holders(names: &[&str]) -> Vec<Holder> {
        names.iter().map(|name| Holder { transaction: (*name).to_owned(), role: None }).collect()
    }

    fn own(role: &str, name: &str) -> Holder {
        Holder { transaction: name.to_owned(), role: Some(role.to_owned()) }
    }

    fn observe(horizons: &mut Horizons, last: i64, names: &[&str]) -> i64 {
        horizons.observe(last, holders(names));
        horizons.shared()
    }

    #[test]
    fn an_id_is_safe_when_all_who_were_there_are_gone() {
        let mut horizons = Horizons::default();
        assert_eq!(observe(&mut horizons, 10, &["a", "b"]), 0);
        assert_eq!(observe(&mut horizons, 20, &["b", "c"]), 0, "b may still add a row");
        assert_eq!(observe(&mut horizons, 30, &["c", "d"]), 10, "a and b are gone");
        assert_eq!(observe(&mut horizons, 40, &["e"]), 30, "c and d are gone");
        assert_eq!(observe(&mut horizons, 40, &[]), 40);
    }

    #[test]
    fn one_that_never_ends_keeps_everything_back_and_others_do_not() {
        let mut horizons = Horizons::default();
        assert_eq!(observe(&mut horizons, 10, &[]), 10);
        for last in 11..100 {
            let other = last.to_string();
            assert_eq!(observe(&mut horizons, last, &["slow", &other]), 10);
        }
        assert_eq!(observe(&mut horizons, 100, &["x"]), 11, "the id that was waited for");
        assert_eq!(observe(&mut horizons, 101, &["y"]), 100);
    }

    #[test]
    fn traffic_without_a_pause_does_not_hold_it_back() {
        let mut horizons = Horizons::default();
        for n in 0..100_i64 {
            let names = [format!("{n}"), format!("{}", n + 1)];
            let safe = observe(&mut horizons, n, &[names[0].as_str(), names[1].as_str()]);
            assert!(safe >= n - 4, "{safe} at {n}");
        }
    }

    #[test]
    fn a_tenants_own_transaction_keeps_back_that_tenant() {
        let mut horizons = Horizons::default();
        horizons.observe(10, Vec::new());
        horizons.observe(20, vec![own("tenant_a", "t1")]);
        assert_eq!((horizons.shared(), horizons.of("tenant_a"), horizons.of("tenant_b")), (20, 10, 20));
        assert_eq!(horizons.behind(20).collect::<Vec<_>>(), ["tenant_a"]);
        assert_eq!(horizons.behind(10).count(), 0);
        horizons.observe(30, vec![own("tenant_a", "t2")]);
        assert_eq!((horizons.shared(), horizons.of("tenant_a")), (30, 20), "t1 is gone");
        horizons.observe(40, Vec::new());
        assert_eq!((horizons.of("tenant_a"), horizons.behind(40).count()), (40, 0));
    }

    #[test]
    fn the_first_look_knows_nothing_of_the_rows_before() {
        let mut horizons = Horizons::default();
        horizons.observe(20, vec![own("tenant_a", "t1")]);
        assert_eq!((horizons.shared(), horizons.of("tenant_a")), (20, 0));
    }
}
