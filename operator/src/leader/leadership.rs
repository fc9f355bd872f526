//! Leadership as the rest of the operator sees it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::error::Error;

/// Proof that this process leads, as far as it can know: its lease was renewed within the lease's duration, by the local
/// monotonic clock. Only the epoch makes changes safe: every Postgres transaction checks it with `tenantry.fence`.
#[derive(Debug, Clone)]
pub struct Leadership(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    epoch: i64,
    start: Instant,
    /// Milliseconds after `start` until which the lease is ours. 0 once it was given up.
    until: AtomicU64,
}

impl Leadership {
    /// Leads in `epoch`, with a lease that holds for `duration` from `renewed` on.
    pub fn new(epoch: i64, renewed: Instant, duration: Duration) -> Self {
        let leadership = Self(Arc::new(Inner { epoch, start: Instant::now(), until: AtomicU64::new(0) }));
        leadership.renewed(renewed, duration);
        leadership
    }

    /// The fence: the argument of `tenantry.fence`.
    pub fn epoch(&self) -> i64 {
        self.0.epoch
    }

    /// Call before every side effect that no transaction fences.
    ///
    /// # Errors
    /// [`Error::Fenced`] when the lease has run out or was given up.
    pub fn check(&self) -> Result<(), Error> {
        let now = u64::try_from(self.0.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        if now < self.0.until.load(Ordering::Acquire) { Ok(()) } else { Err(Error::Fenced) }
    }

    /// The lease was renewed by a request that was sent at `sent`.
    pub(super) fn renewed(&self, sent: Instant, duration: Duration) {
        let until = (sent + duration).saturating_duration_since(self.0.start);
        self.0.until.store(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
    }

    /// The lease is not ours any more.
    pub(super) fn give_up(&self) {
        self.0.until.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leads_until_the_lease_runs_out_or_is_given_up() {
        let now = Instant::now();
        let leadership = Leadership::new(7, now, Duration::from_secs(60));
        assert_eq!(leadership.epoch(), 7);
        assert!(leadership.check().is_ok());
        leadership.give_up();
        assert!(matches!(leadership.check(), Err(Error::Fenced)));
        leadership.renewed(now, Duration::ZERO);
        assert!(leadership.check().is_err());
    }
}
