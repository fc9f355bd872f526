//! The bound on background passes. Pure.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

/// Background passes: resyncs, rollouts, repairs and retries. At most so many run at a time; the others wait in the order in
/// which they asked, outside of kube's slots, so that a change of a manifest always finds one.
#[derive(Debug)]
pub(super) struct Share {
    limit: usize,
    running: usize,
    order: VecDeque<String>,
    waiting: HashMap<String, Instant>,
    /// A place is kept for them until they come for it.
    called: HashSet<String>,
}

/// What a background pass is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It runs, after it waited for so long. [`Share::leave`] ends it.
    Run(Duration),
    /// It is called when its turn comes.
    Wait,
}

impl Share {
    pub(super) fn of(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            running: 0,
            order: VecDeque::new(),
            waiting: HashMap::new(),
            called: HashSet::new(),
        }
    }

    /// `name` wants to run.
    pub(super) fn ask(&mut self, name: &str, now: Instant) -> Answer {
        if self.called.remove(name) {
            let since = self.waiting.remove(name).unwrap_or(now);
            return Answer::Run(now.saturating_duration_since(since));
        }
        if self.running < self.limit && self.waiting.is_empty() {
            self.running += 1;
            return Answer::Run(Duration::ZERO);
        }
        if !self.waiting.contains_key(name) {
            self.waiting.insert(name.to_owned(), now);
            self.order.push_back(name.to_owned());
        }
        Answer::Wait
    }

    /// A pass that ran has ended; whom to call.
    pub(super) fn leave(&mut self) -> Option<String> {
        self.running = self.running.saturating_sub(1);
        self.call()
    }

    /// `name` does not want to run any more: it got a pass in another way, or is gone. Whom to call in its place.
    pub(super) fn withdraw(&mut self, name: &str) -> Option<String> {
        self.waiting.remove(name);
        if self.called.remove(name) { self.leave() } else { None }
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn call(&mut self) -> Option<String> {
        while self.running < self.limit {
            let name = self.order.pop_front()?;
            // Who withdrew is still in the order.
            if self.waiting.contains_key(&name) && !self.called.contains(&name) {
                self.running += 1;
                self.called.insert(name.clone());
                return Some(name);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Answer = Answer::Run(Duration::ZERO);

    #[test]
    fn who_waits_is_called_in_order_and_nobody_takes_its_place() {
        let (mut share, now) = (Share::of(2), Instant::now());
        assert_eq!([share.ask("a", now), share.ask("b", now)], [RUN, RUN]);
        for name in ["c", "d", "c"] {
            assert_eq!(share.ask(name, now), Answer::Wait);
        }
        assert_eq!(share.waiting(), 2);
        assert_eq!(share.leave().as_deref(), Some("c"));
        assert_eq!(share.ask("e", now), Answer::Wait, "the place is kept");
        let later = now + Duration::from_secs(3);
        assert_eq!(share.ask("c", later), Answer::Run(Duration::from_secs(3)));
        assert_eq!(share.leave().as_deref(), Some("d"));
        assert_eq!(share.leave().as_deref(), Some("e"));
    }

    #[test]
    fn who_is_gone_leaves_its_place_to_the_next() {
        let (mut share, now) = (Share::of(1), Instant::now());
        assert_eq!(share.ask("a", now), RUN);
        for name in ["b", "c", "d"] {
            share.ask(name, now);
        }
        assert_eq!(share.withdraw("c"), None);
        assert_eq!(share.leave().as_deref(), Some("b"));
        assert_eq!(share.withdraw("b").as_deref(), Some("d"));
        assert_eq!(share.ask("d", now), RUN);
        assert_eq!(share.leave(), None);
        assert_eq!(share.ask("e", now), RUN);
    }

    /// However they come and go, no place is lost and everybody runs.
    #[test]
    fn no_place_is_ever_lost() {
        use rand::{RngExt, SeedableRng, rngs::StdRng};
        let (mut share, mut random, now) = (Share::of(3), StdRng::seed_from_u64(7), Instant::now());
        let (mut running, mut called) = (0_usize, Vec::new());
        for step in 0..20_000 {
            match random.random_range(0..5) {
                0..2 => {
                    let name = format!("t{}", random.random_range(0..50));
                    if !called.contains(&name) && share.ask(&name, now) != Answer::Wait {
                        running += 1;
                    }
                }
                2 if !called.is_empty() => {
                    let name = called.swap_remove(random.random_range(0..called.len()));
                    if random.random() {
                        assert_ne!(share.ask(&name, now), Answer::Wait, "{step}");
                        running += 1;
                    } else {
                        called.extend(share.withdraw(&name));
                    }
                }
                3 if running > 0 => {
                    running -= 1;
                    called.extend(share.leave());
                }
                _ => called.extend(share.withdraw(&format!("x{step}"))),
            }
            assert!(running + called.len() <= 3);
            assert!(share.waiting() == called.len() || running + called.len() == 3, "idle while some wait");
        }
    }
}
