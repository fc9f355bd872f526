//! Indexes that have to wait. Their events stay in the outbox, all of them, so that none overtakes an older one.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

const FIRST: Duration = Duration::from_secs(1);
/// For what comes by itself: an index that is being built.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);

/// Who has to wait, and until when.
#[derive(Debug, Default)]
pub(super) struct Holds(HashMap<String, Held>);

#[derive(Debug)]
struct Held {
    until: Instant,
    next: Duration,
}

impl Holds {
    /// The index waits: the longer, the more often it had to.
    pub(super) fn hold(&mut self, key: &str, now: Instant) {
        let held = self.0.entry(key.to_owned()).or_insert(Held { until: now, next: FIRST });
        held.until = now + held.next;
        held.next = (held.next * 2).min(LONGEST);
    }

    /// The index waits for something that comes by itself.
    pub(super) fn pause(&mut self, key: &str, now: Instant) {
        self.0.insert(key.to_owned(), Held { until: now + PAUSE, next: FIRST });
    }

    /// The index works again.
    pub(super) fn release(&mut self, key: &str) {
        self.0.remove(key);
    }

    /// Those who still wait.
    pub(super) fn waiting(&self, now: Instant) -> Vec<String> {
        self.0.iter().filter(|(_, held)| held.until > now).map(|(key, _)| key.clone()).collect()
    }

    /// Forgets those who waited long ago: an index that is gone must not stay here.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.0.retain(|_, held| now < held.until + LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_and_ends() {
        let (mut holds, start) = (Holds::default(), Instant::now());
        holds.hold("a", start);
        assert_eq!(holds.waiting(start), ["a"]);
        assert!(holds.waiting(start + FIRST).is_empty());
        holds.hold("a", start);
        assert_eq!(holds.waiting(start + FIRST), ["a"]);
        (0..20).for_each(|_| holds.hold("a", start));
        assert!(holds.waiting(start + LONGEST).is_empty());
        holds.release("a");
        assert!(holds.waiting(start).is_empty());
        holds.hold("b", start);
        holds.sweep(start + LONGEST * 3);
        assert!(holds.0.is_empty());
    }
}
