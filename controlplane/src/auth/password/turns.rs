//! Whose password is hashed next. Pure.
//!
//! Tenants take turns by the time that they have used (start-time fair queueing): whoever has used the least comes next, so one
//! sign-in of a tenant waits for about one hash of another tenant, however many of that one's wait. Nobody gathers time while
//! there is nothing to do.

use std::collections::{HashMap, VecDeque};

use uuid::Uuid;

use super::price::Price;

/// What there is to share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Hashes that are worked on at once.
    pub places: usize,
    /// Memory that they may take together.
    pub memory_kib: u64,
    /// Passwords that may wait. A tenant's may take as many places as stay free for others.
    pub waiting: usize,
    /// What a hash made here costs.
    pub own: Price,
}

impl Bounds {
    /// Places that one tenant may take at once: where there are several, it never takes the last one.
    const fn of_tenant(&self) -> usize {
        if self.places > 1 { self.places - 1 } else { 1 }
    }
}

/// What waits and what runs. `T` is who waits.
#[derive(Debug)]
pub(super) struct Turns<T> {
    bounds: Bounds,
    lines: HashMap<Uuid, Line<T>>,
    waiting: usize,
    running: usize,
    running_kib: u64,
    running_costly: bool,
    /// When the work that was begun last could begin, in the time that tenants use.
    clock: u64,
}

#[derive(Debug)]
struct Line<T> {
    waiting: VecDeque<(Price, T)>,
    running: usize,
    /// Up to when the tenant has used its share.
    used: u64,
}

impl<T> Turns<T> {
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            lines: HashMap::new(),
            waiting: 0,
            running: 0,
            running_kib: 0,
            running_costly: false,
            clock: 0,
        }
    }

    /// Takes work in; `gone` says of whoever waits that nobody wants the work any more.
    ///
    /// # Errors
    /// Hands `who` back when as many wait as may.
    pub fn wait(&mut self, tenant: Uuid, price: Price, who: T, gone: impl Fn(&T) -> bool) -> Result<(), T> {
        if !self.has_room(tenant) {
            for line in self.lines.values_mut() {
                line.waiting.retain(|(_, who)| !gone(who));
            }
            self.waiting = self.lines.values().map(|line| line.waiting.len()).sum();
            if !self.has_room(tenant) {
                return Err(who);
            }
        }
        let clock = self.clock;
        let line = self.lines.entry(tenant).or_insert_with(|| Line {
            waiting: VecDeque::new(),
            running: 0,
            used: clock,
        });
        line.waiting.push_back((price, who));
        self.waiting += 1;
        Ok(())
    }

    fn has_room(&self, tenant: Uuid) -> bool {
        let own = self.lines.get(&tenant).map_or(0, |line| line.waiting.len());
        own + self.waiting + 2 <= self.bounds.waiting
    }

    /// The next piece of work, if one can begin. It runs until [`Self::finish`]. Whoever is gone is left out.
    pub fn next(&mut self, gone: impl Fn(&T) -> bool) -> Option<(Uuid, Price, T)> {
        if self.running >= self.bounds.places {
            return None;
        }
        for line in self.lines.values_mut() {
            while line.waiting.front().is_some_and(|(_, who)| gone(who)) {
                line.waiting.pop_front();
                self.waiting -= 1;
            }
        }
        let (bounds, costly) = (self.bounds, self.running_costly);
        let may_begin = |line: &Line<T>| {
            line.running < bounds.of_tenant()
                && line.waiting.front().is_some_and(|(price, _)| !costly || !price.is_costly(bounds.own))
        };
        let ready = self.lines.iter_mut().filter(|(_, line)| may_begin(line));
        let (tenant, line) = ready.min_by_key(|(tenant, line)| (line.used, **tenant))?;
        let (price, _) = line.waiting.front()?;
        // Work that needs more memory than is left waits for it, and nobody overtakes it: else it would wait for ever.
        if self.running > 0 && self.running_kib + u64::from(price.memory_kib) > bounds.memory_kib {
            return None;
        }
        let (price, who) = line.waiting.pop_front()?;
        self.clock = self.clock.max(line.used);
        line.used = self.clock.saturating_add(price.micros);
        line.running += 1;
        self.waiting -= 1;
        self.running += 1;
        self.running_kib += u64::from(price.memory_kib);
        self.running_costly |= price.is_costly(bounds.own);
        Some((*tenant, price, who))
    }

    /// Work of `tenant` has ended.
    pub fn finish(&mut self, tenant: Uuid, price: Price) {
        self.running -= 1;
        self.running_kib -= u64::from(price.memory_kib);
        if price.is_costly(self.bounds.own) {
            self.running_costly = false;
        }
        if let Some(line) = self.lines.get_mut(&tenant) {
            line.running -= 1;
        }
        // Whoever has nothing here and used no more than others is as good as new.
        let (clock, idle) = (self.clock, self.running == 0 && self.waiting == 0);
        self.lines
            .retain(|_, line| line.running > 0 || !line.waiting.is_empty() || (line.used > clock && !idle));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Price = Price { micros: 30_000, memory_kib: 19 * 1024 };
    const COSTLY: Price = Price { micros: 800_000, memory_kib: 0 };
    const NOISY: Uuid = Uuid::from_u128(1);
    const QUIET: Uuid = Uuid::from_u128(2);
    const OTHER: Uuid = Uuid::from_u128(3);

    fn turns(places: usize) -> Turns<u32> {
        Turns::new(Bounds { places, memory_kib: 96 * 1024, waiting: 256, own: OWN })
    }

    fn wait(turns: &mut Turns<u32>, tenant: Uuid, price: Price, count: u32) {
        for n in 0..count {
            turns.wait(tenant, price, n, |_| false).unwrap();
        }
    }

    fn next(turns: &mut Turns<u32>) -> Option<(Uuid, Price)> {
        turns.next(|_| false).map(|(tenant, price, _)| (tenant, price))
    }

    #[test]
    fn one_sign_in_waits_for_one_hash_of_another_tenant_with_fifty() {
        let mut turns = turns(1);
        wait(&mut turns, NOISY, OWN, 50);
        assert_eq!(next(&mut turns), Some((NOISY, OWN)));
        wait(&mut turns, QUIET, OWN, 1);
        assert_eq!(next(&mut turns), None, "there is one place");
        turns.finish(NOISY, OWN);
        assert_eq!(next(&mut turns), Some((QUIET, OWN)));
        turns.finish(QUIET, OWN);
        assert_eq!(next(&mut turns), Some((NOISY, OWN)));
    }

    #[test]
    fn a_tenant_pays_for_its_hashes_by_their_cost() {
        let mut turns = turns(1);
        wait(&mut turns, NOISY, COSTLY, 50);
        wait(&mut turns, QUIET, OWN, 50);
        let mut micros = HashMap::from([(NOISY, 0), (QUIET, 0)]);
        for _ in 0..30 {
            let (tenant, price) = next(&mut turns).unwrap();
            *micros.get_mut(&tenant).unwrap() += price.micros;
            turns.finish(tenant, price);
        }
        // 1 of 800 ms and 27 or 28 of 30 ms.
        assert!(micros[&NOISY] <= 2 * COSTLY.micros && micros[&QUIET] >= 800_000, "{micros:?}");
    }

    #[test]
    fn a_tenant_never_takes_the_last_of_several_places() {
        let mut turns = turns(3);
        wait(&mut turns, NOISY, OWN, 50);
        assert!(next(&mut turns).is_some() && next(&mut turns).is_some());
        assert_eq!(next(&mut turns), None);
        wait(&mut turns, QUIET, OWN, 1);
        assert_eq!(next(&mut turns), Some((QUIET, OWN)), "at once");
    }

    #[test]
    fn one_costly_hash_runs_at_a_time_and_others_pass_it() {
        let mut turns = turns(4);
        wait(&mut turns, NOISY, COSTLY, 2);
        wait(&mut turns, QUIET, COSTLY, 1);
        assert_eq!(next(&mut turns), Some((NOISY, COSTLY)));
        assert_eq!(next(&mut turns), None);
        wait(&mut turns, OTHER, OWN, 1);
        assert_eq!(next(&mut turns), Some((OTHER, OWN)));
        turns.finish(NOISY, COSTLY);
        assert_eq!(next(&mut turns), Some((QUIET, COSTLY)));
    }

    #[test]
    fn memory_is_bounded_and_what_needs_much_of_it_is_not_overtaken() {
        let large = Price { micros: 60_000, memory_kib: 64 * 1024 };
        let mut turns = turns(8);
        wait(&mut turns, NOISY, OWN, 8);
        let begun = std::iter::from_fn(|| next(&mut turns)).count();
        assert_eq!(begun, 5, "of 19 MiB in 96");
        wait(&mut turns, QUIET, large, 1);
        turns.finish(NOISY, OWN);
        assert_eq!(next(&mut turns), None, "it waits for memory, and nobody comes before it");
        turns.finish(NOISY, OWN);
        turns.finish(NOISY, OWN);
        turns.finish(NOISY, OWN);
        assert_eq!(next(&mut turns), Some((QUIET, large)));
        assert_eq!(next(&mut turns), None, "64 and 19 and 19 are more than 96");
    }

    #[test]
    fn work_of_those_who_are_gone_never_begins_and_gives_its_place_free() {
        let mut turns = turns(1);
        wait(&mut turns, NOISY, OWN, 20);
        assert_eq!(turns.next(|n| *n < 19).map(|(_, _, n)| n), Some(19));
        assert_eq!(turns.waiting, 0);
    }

    #[test]
    fn a_tenant_may_wait_in_half_of_the_places_and_others_in_what_is_left() {
        let mut turns = turns(1);
        wait(&mut turns, NOISY, OWN, 128);
        assert!(turns.wait(NOISY, OWN, 0, |_| false).is_err());
        wait(&mut turns, QUIET, OWN, 64);
        assert!(turns.wait(QUIET, OWN, 0, |_| false).is_err());
        wait(&mut turns, OTHER, OWN, 1);
        assert!(turns.wait(NOISY, OWN, 0, |_| true).is_ok(), "places of those who are gone are free");
    }

    #[test]
    fn nothing_is_kept_of_tenants_that_are_done() {
        let mut turns = turns(2);
        wait(&mut turns, NOISY, OWN, 3);
        wait(&mut turns, QUIET, OWN, 1);
        while let Some((tenant, price)) = next(&mut turns) {
            turns.finish(tenant, price);
        }
        assert!(turns.lines.is_empty() && turns.running_kib == 0);
    }
}
