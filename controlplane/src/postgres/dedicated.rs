//! Which tenants have connections of their own at this time. Pure.

use std::collections::HashMap;

use tenantry_crds::names::TenantRole;

/// A connection of one tenant.
pub(super) trait Connection: Clone {
    /// Whether it takes groups.
    fn is_open(&self) -> bool;
    /// Whether its tenant has no group anywhere.
    fn is_idle(&self) -> bool;
}

/// The connections of single tenants. When as many are open as may be, those of the tenant that was idle for the longest time
/// make room.
#[derive(Debug)]
pub(super) struct Book<C> {
    most: usize,
    most_per_tenant: usize,
    tenants: HashMap<TenantRole, Entry<C>>,
    clock: u64,
}

#[derive(Debug)]
struct Entry<C> {
    connections: Vec<C>,
    last_used: u64,
}

impl<C: Connection> Book<C> {
    /// As many connections at most, and as many of one tenant.
    pub fn new(most: usize, most_per_tenant: usize) -> Self {
        Self { most, most_per_tenant: most_per_tenant.max(1), tenants: HashMap::new(), clock: 0 }
    }

    /// The `n`-th connection of `tenant`, or the last that it may have; opened if there is room, else another one of the
    /// tenant's. Nothing when it has none and all others are busy.
    pub fn nth(&mut self, tenant: &TenantRole, n: usize, open: impl FnOnce() -> C) -> Option<C> {
        self.clock += 1;
        let wanted = n.min(self.most_per_tenant - 1);
        if let Some(entry) = self.tenants.get_mut(tenant) {
            entry.last_used = self.clock;
            if let Some(connection) = entry.connections.get(wanted).filter(|connection| connection.is_open())
            {
                return Some(connection.clone());
            }
        }
        self.tenants.retain(|_, entry| {
            entry.connections.retain(Connection::is_open);
            !entry.connections.is_empty()
        });
        let own = self.tenants.get(tenant).map_or(&[][..], |entry| &entry.connections);
        let there = own.get(wanted).cloned();
        let instead = own.last().cloned();
        if there.is_some() {
            return there;
        }
        if !self.make_room(tenant) {
            return instead;
        }
        let connection = open();
        let entry = self
            .tenants
            .entry(tenant.clone())
            .or_insert_with(|| Entry { connections: Vec::new(), last_used: 0 });
        entry.last_used = self.clock;
        entry.connections.push(connection.clone());
        Some(connection)
    }

    fn make_room(&mut self, tenant: &TenantRole) -> bool {
        let open: usize = self.tenants.values().map(|entry| entry.connections.len()).sum();
        if open < self.most {
            return true;
        }
        let idle = |entry: &Entry<C>| entry.connections.iter().all(Connection::is_idle);
        let oldest = self
            .tenants
            .iter()
            .filter(|(role, entry)| *role != tenant && idle(entry))
            .min_by_key(|(_, entry)| entry.last_used)
            .map(|(role, _)| role.clone());
        oldest.is_some_and(|role| self.tenants.remove(&role).is_some())
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use super::*;
    use tenantry_crds::names::TenantName;

    #[derive(Debug, Clone)]
    struct Fake(Rc<(u32, Cell<bool>, Cell<bool>)>);

    impl Fake {
        fn new(n: u32) -> Self {
            Self(Rc::new((n, Cell::new(true), Cell::new(true))))
        }

        fn busy(self) -> Self {
            self.0.2.set(false);
            self
        }
    }

    impl Connection for Fake {
        fn is_open(&self) -> bool {
            self.0.1.get()
        }

        fn is_idle(&self) -> bool {
            self.0.2.get()
        }
    }

    fn role(name: &str) -> TenantRole {
        TenantRole::of(&TenantName::new(name).unwrap())
    }

    #[test]
    fn a_tenant_keeps_its_connections_and_has_no_more_than_its_share() {
        let mut book = Book::new(8, 2);
        let numbers: Vec<_> = [0, 0, 1, 2, 5, 0]
            .iter()
            .zip(1..)
            .map(|(n, number)| book.nth(&role("a"), *n, || Fake::new(number)).unwrap().0.0)
            .collect();
        assert_eq!(numbers, [1, 1, 3, 3, 3, 1]);
    }

    #[test]
    fn the_tenant_that_was_idle_for_the_longest_time_makes_room() {
        let mut book = Book::new(3, 2);
        for (tenant, n) in [("a", 1), ("b", 2), ("c", 3)] {
            book.nth(&role(tenant), 0, || Fake::new(n)).unwrap();
        }
        book.nth(&role("a"), 0, || Fake::new(9)).unwrap();
        assert_eq!(book.nth(&role("d"), 0, || Fake::new(4)).unwrap().0.0, 4);
        let mut left: Vec<_> = book.tenants.keys().map(ToString::to_string).collect();
        left.sort();
        assert_eq!(left, ["tenant_a", "tenant_c", "tenant_d"]);
    }

    #[test]
    fn busy_connections_are_left_alone() {
        let mut book = Book::new(2, 2);
        let a = book.nth(&role("a"), 0, || Fake::new(1).busy()).unwrap();
        let b = book.nth(&role("b"), 0, || Fake::new(2).busy()).unwrap();
        assert!(book.nth(&role("c"), 0, || Fake::new(3)).is_none());
        assert_eq!(book.nth(&role("b"), 1, || Fake::new(4)).unwrap().0.0, 2, "the one that it has");
        b.0.1.set(false);
        assert_eq!(book.nth(&role("c"), 0, || Fake::new(5)).unwrap().0.0, 5, "one that closed is no more");
        drop(a);
    }
}
