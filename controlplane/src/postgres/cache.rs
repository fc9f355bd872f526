//! The statements that a connection knows.

use std::collections::HashMap;

use tenantry_crds::names::SchemaName;

use super::statement::Template;

/// What names a statement: the same text in another tenant's schema is another statement.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct StatementKey {
    pub schema: SchemaName,
    pub template: Template,
}

/// A statement's name on the wire. Never used twice in a connection: a Parse whose fate was another than expected can then
/// not collide with a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StatementName(u64);

impl std::fmt::Display for StatementName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s{}", self.0)
    }
}

/// The statements that a connection knows, or will know once the Parse on the wire is answered. Bounded: the server keeps
/// about 24 kB for each.
#[derive(Debug)]
pub(super) struct StatementCache {
    known: HashMap<StatementKey, Entry>,
    capacity: usize,
    clock: u64,
    next_name: u64,
    to_close: Vec<StatementName>,
}

#[derive(Debug)]
struct Entry {
    name: StatementName,
    /// Its Parse was answered.
    parsed: bool,
    last_used: u64,
}

/// What the caller must do for the statement to be there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    /// It is there, or its Parse is on the wire before whatever comes next.
    Known(StatementName),
    /// Send a Parse first.
    Parse(StatementName),
}

impl StatementCache {
    pub fn new(capacity: usize) -> Self {
        Self { known: HashMap::new(), capacity, clock: 0, next_name: 0, to_close: Vec::new() }
    }

    /// The statement. With `trusting`, a Parse that is on the wire is taken to succeed: else whoever relies on it fails with it.
    pub fn lookup(&mut self, key: &StatementKey, trusting: bool) -> Lookup {
        self.clock += 1;
        if let Some(entry) = self.known.get_mut(key)
            && (entry.parsed || trusting)
        {
            entry.last_used = self.clock;
            return Lookup::Known(entry.name);
        }
        self.discard(key);
        if self.known.len() >= self.capacity {
            self.evict();
        }
        self.next_name += 1;
        let name = StatementName(self.next_name);
        self.known.insert(key.clone(), Entry { name, parsed: false, last_used: self.clock });
        Lookup::Parse(name)
    }

    /// The Parse of `name` was answered.
    pub fn parsed(&mut self, key: &StatementKey, name: StatementName) {
        if let Some(entry) = self.known.get_mut(key).filter(|entry| entry.name == name) {
            entry.parsed = true;
        }
    }

    /// The Parse of `name` did not happen. Groups behind it fail as well and ask again.
    pub fn forget(&mut self, key: &StatementKey, name: StatementName) {
        if self.known.get(key).is_some_and(|entry| entry.name == name) {
            self.known.remove(key);
        }
    }

    /// The statement cannot be used any more.
    pub fn discard(&mut self, key: &StatementKey) {
        if let Some(entry) = self.known.remove(key) {
            self.to_close.push(entry.name);
        }
    }

    /// Statements for the server to drop. Groups that use them are on the wire already, before this Close.
    pub fn take_closing(&mut self) -> Vec<StatementName> {
        std::mem::take(&mut self.to_close)
    }

    /// Drops the eighth that was not used for the longest time: one look at all entries pays for many misses.
    fn evict(&mut self) {
        let mut uses: Vec<u64> = self.known.values().map(|entry| entry.last_used).collect();
        let nth = (uses.len() / 8).min(uses.len().saturating_sub(1));
        let (_, newest_to_go, _) = uses.select_nth_unstable(nth);
        let newest_to_go = *newest_to_go;
        let closing = self.known.extract_if(|_, entry| entry.last_used <= newest_to_go);
        self.to_close.extend(closing.map(|(_, entry)| entry.name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::TemplateBuilder;
    use tenantry_crds::names::TenantName;

    fn key(tenant: &str, text: &str) -> StatementKey {
        StatementKey {
            schema: SchemaName::of(&TenantName::new(tenant).unwrap()),
            template: TemplateBuilder::new(text).build(),
        }
    }

    #[test]
    fn a_statement_is_parsed_once_for_each_schema() {
        let mut cache = StatementCache::new(8);
        assert_eq!(cache.lookup(&key("a", "x"), true), Lookup::Parse(StatementName(1)));
        assert_eq!(cache.lookup(&key("a", "x"), true), Lookup::Known(StatementName(1)));
        assert_eq!(cache.lookup(&key("b", "x"), true), Lookup::Parse(StatementName(2)));
    }

    #[test]
    fn what_was_not_parsed_is_parsed_anew_under_another_name() {
        let mut cache = StatementCache::new(8);
        cache.lookup(&key("a", "x"), true);
        cache.forget(&key("a", "x"), StatementName(1));
        assert_eq!(cache.lookup(&key("a", "x"), true), Lookup::Parse(StatementName(2)));
        // The news of the first attempt must not undo the second.
        cache.forget(&key("a", "x"), StatementName(1));
        assert_eq!(cache.lookup(&key("a", "x"), true), Lookup::Known(StatementName(2)));
        assert!(cache.take_closing().is_empty());
    }

    #[test]
    fn who_does_not_trust_a_parse_on_the_wire_sends_one_of_its_own() {
        let mut cache = StatementCache::new(8);
        cache.lookup(&key("a", "x"), true);
        assert_eq!(cache.lookup(&key("a", "x"), true), Lookup::Known(StatementName(1)));
        assert_eq!(cache.lookup(&key("a", "x"), false), Lookup::Parse(StatementName(2)));
        assert_eq!(cache.take_closing(), [StatementName(1)]);
        // The news of the first is not that of the second.
        cache.parsed(&key("a", "x"), StatementName(1));
        assert_eq!(cache.lookup(&key("a", "x"), false), Lookup::Parse(StatementName(3)));
        cache.parsed(&key("a", "x"), StatementName(3));
        assert_eq!(cache.lookup(&key("a", "x"), false), Lookup::Known(StatementName(3)));
    }

    #[test]
    fn a_full_cache_closes_what_was_not_used_for_the_longest_time() {
        let mut cache = StatementCache::new(4);
        for text in ["a", "b", "c", "d"] {
            cache.lookup(&key("t", text), true);
        }
        cache.lookup(&key("t", "a"), true);
        cache.lookup(&key("t", "e"), true);
        assert_eq!(cache.take_closing(), [StatementName(2)]);
        assert_eq!(cache.lookup(&key("t", "a"), true), Lookup::Known(StatementName(1)));
        assert!(matches!(cache.lookup(&key("t", "b"), true), Lookup::Parse(_)));
    }
}
