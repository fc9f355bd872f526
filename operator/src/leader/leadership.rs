//! Leadership as the rest of the operator sees it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::error::Error;

/// Whether the Lease is ours, as far as this process can know: it was renewed recently, by the local monotonic clock.
#[derive(Debug, Clone)]
pub struct Tenure(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    start: Instant,
    /// Milliseconds after `start` until which the lease is ours. 0 once it was given up.
    until: AtomicU64,
}

impl Tenure {
    pub(super) fn new() -> Self {
        Self(Arc::new(Inner { start: Instant::now(), until: AtomicU64::new(0) }))
    }

    /// A tenure without a lease behind it.
    #[cfg(test)]
    pub fn lasting(duration: Duration) -> Self {
        let tenure = Self::new();
        tenure.renewed(Instant::now(), duration);
        tenure
    }

    /// The lease was renewed by a request that was sent at `sent`; it holds for `duration` from then on.
    pub(super) fn renewed(&self, sent: Instant, duration: Duration) {
        let until = (sent + duration).saturating_duration_since(self.0.start);
        self.0.until.store(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
    }

    /// The lease is not ours any more.
    pub(super) fn give_up(&self) {
        self.0.until.store(0, Ordering::Release);
    }

    /// # Errors
    /// [`Error::Fenced`] when the lease has run out or was given up.
    pub(super) fn check(&self) -> Result<(), Error> {
        let now = u64::try_from(self.0.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        if now < self.0.until.load(Ordering::Acquire) { Ok(()) } else { Err(Error::Fenced) }
    }
}

/// The right to change things. The tenure alone is no mutual exclusion: a process that was frozen may wake up with work in its
/// hands. So every Postgres transaction checks the epoch of its cell with `tenantry.fence`.
#[derive(Debug, Clone)]
pub struct Leadership {
    tenure: Tenure,
}

impl Leadership {
    /// Leads as long as `tenure` lasts.
    pub fn new(tenure: Tenure) -> Self {
        Self { tenure }
    }

    /// Call before every side effect that no transaction fences.
    ///
    /// # Errors
    /// [`Error::Fenced`] when the lease has run out or was given up.
    pub fn check(&self) -> Result<(), Error> {
        self.tenure.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leads_until_the_lease_runs_out_or_is_given_up() {
        let (tenure, now) = (Tenure::new(), Instant::now());
        let leadership = Leadership::new(tenure.clone());
        assert!(matches!(leadership.check(), Err(Error::Fenced)));
        tenure.renewed(now, Duration::from_secs(60));
        assert!(leadership.check().is_ok());
        tenure.give_up();
        assert!(leadership.check().is_err());
        tenure.renewed(now, Duration::ZERO);
        assert!(leadership.check().is_err());
    }
}
