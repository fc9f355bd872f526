//! What one transaction seals.

use std::collections::BTreeMap;

use super::horizon::Horizons;

/// Ids that one transaction seals at most, of all tenants and of one that is late.
pub const WINDOW: i64 = 2000;

/// What one transaction seals: the rows of all tenants in a window of ids, but for those that are late.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// The window: above `after`, up to `upto`.
    pub after: i64,
    pub upto: i64,
    /// The tenants that are not sealed as part of the window, each with a window of its own, which can be empty.
    pub apart: BTreeMap<String, (i64, i64)>,
    /// Whether there is more to seal right after this.
    pub more: bool,
}

impl Round {
    /// The next round, when all tenants are sealed up to `sealed` and those of `late` up to what it says.
    pub fn plan(sealed: i64, late: &BTreeMap<String, i64>, horizons: &Horizons) -> Self {
        let safe = horizons.shared().max(sealed);
        let upto = safe.min(sealed + WINDOW);
        let mut round = Self { after: sealed, upto, apart: BTreeMap::new(), more: upto < safe };
        let behind = horizons.behind(upto).map(|role| (role, sealed));
        let late = late.iter().map(|(role, upto)| (role.as_str(), *upto));
        // What is known of a tenant that is late counts, and not that it is behind again.
        for (role, after) in behind.chain(late) {
            let goal = horizons.of(role).min(upto).max(after);
            let end = goal.min(after + WINDOW);
            round.more |= end < goal;
            round.apart.insert(role.to_owned(), (after, end));
        }
        round
    }

    /// Whether there is nothing to seal.
    pub fn is_empty(&self) -> bool {
        self.after == self.upto && self.apart.values().all(|(after, end)| after == end)
    }

    /// Up to which row the tenant is sealed afterwards.
    pub fn end_of(&self, role: &str) -> i64 {
        self.apart.get(role).map_or(self.upto, |(_, end)| *end)
    }

    /// The tenants that are late afterwards, and up to which row they are sealed.
    pub fn late(&self) -> BTreeMap<String, i64> {
        let late = self.apart.iter().filter(|(_, (_, end))| *end < self.upto);
        late.map(|(role, (_, end))| (role.clone(), *end)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::horizon::Holder;

    fn seen(last: i64, holders: &[(&str, Option<&str>)]) -> Horizons {
        let mut horizons = Horizons::default();
        horizons.observe(0, Vec::new());
        horizons.observe(last, holders_of(holders));
        horizons
    }

    fn holders_of(holders: &[(&str, Option<&str>)]) -> Vec<Holder> {
        let holder = |(transaction, role): &(&str, Option<&str>)| Holder {
            transaction: (*transaction).to_owned(),
            role: role.map(str::to_owned),
        };
        holders.iter().map(holder).collect()
    }

    fn late(of: &[(&str, i64)]) -> BTreeMap<String, i64> {
        of.iter().map(|(role, upto)| ((*role).to_owned(), *upto)).collect()
    }

    #[test]
    fn a_backlog_is_sealed_in_windows() {
        let round = Round::plan(10, &late(&[]), &seen(5000, &[]));
        assert_eq!((round.after, round.upto, round.more), (10, 10 + WINDOW, true));
        let round = Round::plan(4000, &late(&[]), &seen(5000, &[]));
        assert_eq!((round.upto, round.more, round.is_empty()), (5000, false, false));
        assert!(Round::plan(5000, &late(&[]), &seen(5000, &[])).is_empty());
    }

    #[test]
    fn a_transaction_of_many_tenants_keeps_all_back() {
        assert!(Round::plan(0, &late(&[]), &seen(50, &[("t", None)])).is_empty());
    }

    #[test]
    fn a_transaction_of_one_tenant_makes_that_one_late() {
        let round = Round::plan(0, &late(&[]), &seen(50, &[("t", Some("a"))]));
        assert_eq!((round.upto, round.end_of("b"), round.end_of("a")), (50, 50, 0));
        assert_eq!(round.late(), late(&[("a", 0)]));
    }

    #[test]
    fn a_tenant_that_is_late_catches_up_in_windows_when_its_transaction_is_gone() {
        let round = Round::plan(5000, &late(&[("a", 100)]), &seen(5000, &[]));
        assert_eq!((round.apart["a"], round.more), ((100, 100 + WINDOW), true));
        assert_eq!(round.late(), late(&[("a", 100 + WINDOW)]));
        let round = Round::plan(5000, &late(&[("a", 4000)]), &seen(5000, &[]));
        assert_eq!((round.apart["a"], round.late(), round.is_empty()), ((4000, 5000), late(&[]), false));
    }

    #[test]
    fn a_tenant_that_is_late_goes_on_where_it_is() {
        let round = Round::plan(40, &late(&[("a", 5)]), &seen(50, &[("t", Some("a"))]));
        assert_eq!((round.upto, round.apart["a"]), (50, (5, 5)), "what it knows of itself is less");
    }
}
